/* The log as a whole: numbers, chain, links, projections, over random histories. */
#include "eventd/event_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/access/store_walk.h"
#include "common/api/records/event_log.h"
#include "common/api/records/live_fold.h"
#include "common/api/records/run_end.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/wire/writer.h"
#include "eventd/heads.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_fixture.h"

TestSuite(event_store, .init = fixture_open, .fini = fixture_close);

static unsigned random_seed(void)
{
    const char *given = getenv("SOLO_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)clock_wall_ns();
    fprintf(stderr, "seed %u (set SOLO_TEST_SEED to repeat)\n", seed);
    return seed;
}

static struct event read_event(uint64_t id, struct arena *arena)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct event event;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_read(&txn, id, arena, &event), STATUS_OK, "event %llu",
                 (unsigned long long)id);
    return event;
}

Test(event_store, numbers_begin_at_1_and_have_no_gaps)
{
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.x", "", "", (struct span){ 0 });
    for (uint64_t i = 1; i <= 10; i++)
        cr_expect_eq(must_append(&call, &request), i);
    fixture_reopen();
    cr_expect_eq(must_append(&call, &request), 11);
}

Test(event_store, a_refused_request_takes_no_number)
{
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    struct event_append_request good = request_of("app.x", "", "", (struct span){ 0 });
    struct event_append_request bad = request_of("bogus", "", "", (struct span){ 0 });
    cr_expect_eq(must_append(&call, &good), 1);
    cr_expect_eq(append_one(&call, &bad, &outcome), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(must_append(&call, &good), 2);
}

Test(event_store, an_aborted_turn_leaves_nothing)
{
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    struct event_append_request request = request_of("app.x", "acme", "thing", (struct span){ 0 });
    must_append(&call, &request);
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
    cr_expect_eq(outcome.first_id, 2);
    event_store_abort(&store);
    cr_expect_eq(must_append(&call, &request), 2, "the number was not used");
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    struct event event = read_event(2, &arena);
    cr_expect_eq(event.previous_of_subject, 1, "links know nothing of what was aborted");
    cr_expect_eq(event.previous_of_tenant, 1);
    cr_expect_eq(event.previous_of_type, 1);
}

Test(event_store, a_spoiled_turn_is_not_committed)
{
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    struct event_append_request request = request_of("app.x", "", "", (struct span){ 0 });
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
    event_store_spoil(&store, STATUS_DATA_LOSS);
    cr_expect_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_DATA_LOSS);
    cr_expect_eq(event_store_commit(&store), STATUS_DATA_LOSS);
    cr_expect_eq(must_append(&call, &request), 1);
}

Test(event_store, the_epoch_counts_starts)
{
    uint64_t epoch = store.epoch;
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.x", "", "", (struct span){ 0 });
    fixture_reopen();
    cr_expect_eq(store.epoch, epoch + 1);
    cr_expect_eq(read_event(must_append(&call, &request), &arena).epoch, epoch + 1);
}

/* The first questions find in memory what the start has read. */
Test(event_store, a_start_keeps_what_it_read)
{
    fixture_reopen();
    cr_expect(store.late.is_loaded);
}

Test(event_store, what_was_said_comes_back)
{
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    struct rpc_call call = call_of_daemon("deployd");
    struct uuid id = uuid_draw();
    call_identify(&call, &id, "body");
    struct event_append_request request =
        request_of("service_started", "acme", "service/acme/api", payload_generation(7));
    struct rpc_call before = call_of_operator();
    struct event_append_request filler = request_of("app.x", "", "", (struct span){ 0 });
    must_append(&before, &filler);
    request.causation_id = 1;
    request.source = "tenantd/acme";
    request.incarnation = span_of("one incarnation!", 16);
    request.source_number = 1;
    uint64_t begin_ns = clock_wall_ns();
    struct event event = read_event(must_append(&call, &request), &arena);
    cr_expect_str_eq(event.type, "service_started");
    cr_expect_str_eq(event.tenant, "acme");
    cr_expect_str_eq(event.subject, "service/acme/api");
    cr_expect_eq(event.causation_id, 1);
    cr_expect(event.has_request_id);
    cr_expect_eq(memcmp(&event.request_id, &id, sizeof id), 0);
    cr_expect_str_eq(event.source, "tenantd/acme");
    cr_expect_eq(event.source_number, 1);
    cr_expect_geq(event.wall_ns, begin_ns);
    struct span payload = payload_generation(7);
    cr_expect(span_equal(event.payload, payload));
}

/* --- random histories --- */

enum { TENANTS = 3, SERVICES = 3 };

/* The newest number of anything, found by looking at every event. */
static uint64_t newest_before(uint64_t id, const char *tenant, const char *type,
                              const char *subject)
{
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    while (--id > 0) {
        arena_reset(&arena);
        struct event event = read_event(id, &arena);
        if ((tenant == NULL || strcmp(event.tenant, tenant) == 0) &&
            (type == NULL || strcmp(event.type, type) == 0) &&
            (subject == NULL || strcmp(event.subject, subject) == 0))
            return id;
    }
    return 0;
}

static void expect_links(uint64_t last)
{
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    for (uint64_t id = 1; id <= last; id++) {
        arena_reset(&arena);
        struct event event = read_event(id, &arena);
        cr_expect_eq(event.id, id);
        cr_expect_eq(event.previous_of_type, newest_before(id, NULL, event.type, NULL));
        cr_expect_eq(event.previous_of_tenant,
                     event.tenant[0] == '\0' ? 0 : newest_before(id, event.tenant, NULL, NULL));
        cr_expect_eq(event.previous_of_subject,
                     event.subject[0] == '\0' ? 0 : newest_before(id, NULL, NULL, event.subject));
    }
}

static void expect_heads(uint64_t last)
{
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    for (uint64_t id = 1; id <= last; id++) {
        uint64_t head;
        arena_reset(&arena);
        struct event event = read_event(id, &arena);
        cr_assert_eq(event_log_head(&txn, HEAD_OF_TYPE, event.type, &head), STATUS_OK);
        cr_expect_eq(head, newest_before(last + 1, NULL, event.type, NULL));
        if (event.subject[0] == '\0')
            continue;
        cr_assert_eq(event_log_head(&txn, HEAD_OF_SUBJECT, event.subject, &head), STATUS_OK);
        cr_expect_eq(head, newest_before(last + 1, NULL, NULL, event.subject));
    }
}

struct row {
    struct live_row row;
    bool is_wanted;
};

static size_t live_rows;

static enum status count_row(void *context, const char *tenant, const char *name,
                             const struct live_row *row)
{
    struct row *folded = (struct row *)context + (tenant[1] - '0') * SERVICES + (name[1] - '0');
    live_rows++;
    cr_expect(folded->is_wanted, "%s/%s", tenant, name);
    cr_expect_eq(folded->row.generation, row->generation);
    cr_expect_eq(folded->row.since, row->since);
    cr_expect_eq(folded->row.previous, row->previous);
    cr_expect(hash_equal(&folded->row.spec_hash, &row->spec_hash));
    return STATUS_OK;
}

/* The table against the fold of the whole log, done here. */
static void expect_live(uint64_t last)
{
    static struct row rows[TENANTS * SERVICES];
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    memset(rows, 0, sizeof rows);
    for (uint64_t id = 1; id <= last; id++) {
        char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
        arena_reset(&arena);
        struct event event = read_event(id, &arena);
        enum event_type type = event_type_parse(event.type);
        if (!event_type_folds(type) || type == EVENT_tenant_created)
            continue;
        cr_assert(subject_to_service(event.subject, tenant, name));
        struct row *row = &rows[(tenant[1] - '0') * SERVICES + (name[1] - '0')];
        struct live_row after;
        enum fold_change change;
        cr_assert_eq(live_fold(row->is_wanted ? &row->row : NULL, type, &event, &after, &change),
                     STATUS_OK);
        if (change == FOLD_PUT)
            row->row = after;
        if (change != FOLD_NOTHING)
            row->is_wanted = change == FOLD_PUT;
    }
    size_t wanted = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        wanted += rows[i].is_wanted;
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t count;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    live_rows = 0;
    cr_assert_eq(live_each(&txn, count_row, rows), STATUS_OK);
    cr_assert_eq(live_count(&txn, &count), STATUS_OK);
    cr_expect_eq(live_rows, wanted);
    cr_expect_eq(count, wanted);
}

/* One random event of one random service; `newest` are the last deploys. */
static void append_random(unsigned *seed, uint64_t newest[TENANTS * SERVICES])
{
    static const char *const types[] = {
        "service_deployed",  "service_deployed", "service_deployment_failed",
        "service_completed", "service_killed",   "service_started",
        "app.note"
    };
    char tenant[8], name[8], subject[SUBJECT_BYTES];
    int t = rand_r(seed) % TENANTS, s = rand_r(seed) % SERVICES;
    snprintf(tenant, sizeof tenant, "t%d", t);
    snprintf(name, sizeof name, "s%d", s);
    const char *type = types[(size_t)rand_r(seed) % COUNT_OF(types)];
    uint64_t *deployed = &newest[t * SERVICES + s];
    bool is_deploy = strcmp(type, "service_deployed") == 0;
    uint64_t named = *deployed == 0 || rand_r(seed) % 4 == 0 ? 1 : *deployed;
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    struct event_append_request request =
        request_of(type, tenant, subject_of_service(subject, tenant, name),
                   is_deploy ? payload_deploy(name) : payload_generation(named));
    cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK, "%s",
                 call.problem.message);
    if (is_deploy)
        *deployed = outcome.first_id;
}

Test(event_store, random_histories_keep_every_promise, .timeout = 120)
{
    unsigned seed = random_seed();
    uint64_t newest[TENANTS * SERVICES] = { 0 };
    uint64_t checked;
    for (int turn = 0; turn < 40; turn++) {
        cr_assert_eq(event_store_begin(&store), STATUS_OK);
        uint64_t kept[TENANTS * SERVICES];
        memcpy(kept, newest, sizeof kept);
        for (int i = rand_r(&seed) % 8; i >= 0; i--)
            append_random(&seed, newest);
        if (rand_r(&seed) % 5 == 0) {
            event_store_abort(&store);
            memcpy(newest, kept, sizeof newest);
        } else {
            cr_assert_eq(event_store_commit(&store), STATUS_OK);
        }
        if (rand_r(&seed) % 10 == 0)
            fixture_reopen();
    }
    uint64_t last = store.committed_id;
    cr_assert_gt(last, 20);
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
        cr_expect_eq(event_log_verify(&txn, 1, UINT64_MAX, &checked), STATUS_OK);
        cr_expect_eq(checked, last);
        cr_expect_eq(event_log_verify(&txn, last - 5, 3, &checked), STATUS_OK);
        cr_expect_eq(checked, 3);
    }
    expect_links(last);
    expect_heads(last);
    expect_live(last);
}

Test(event_store, more_subjects_than_the_cache_holds_keep_their_links)
{
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    enum { SUBJECTS = HEAD_SLOTS + 300 };
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(event_store_begin(&store), STATUS_OK);
        for (int i = 0; i < SUBJECTS; i++) {
            char subject[32];
            snprintf(subject, sizeof subject, "thing/%d", i);
            struct event_append_request request =
                request_of("app.x", "", subject, (struct span){ 0 });
            cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
        }
        cr_assert_eq(event_store_commit(&store), STATUS_OK);
    }
    for (uint64_t id = 1; id <= 2 * SUBJECTS; id++) {
        arena_reset(&arena);
        struct event event = read_event(id, &arena);
        cr_expect_eq(event.previous_of_subject, id <= SUBJECTS ? 0 : id - SUBJECTS);
        cr_expect_eq(event.previous_of_type, id - 1);
    }
}

/* --- damage --- */

static void delete_raw(unsigned table, struct span key)
{
    MDB_txn *txn;
    MDB_val k = { key.size, (void *)(uintptr_t)key.data };
    cr_assert_eq(mdb_txn_begin(store.db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_del(txn, store.db.tables[table], &k, NULL), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

static void deploy_some(void)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct event_append_request request =
        request_of("tenant_created", "t0", "tenant/t0", payload_index(4));
    must_append(&call, &request);
    request = request_of("service_deployed", "t0", "service/t0/s0", payload_deploy("a"));
    must_append(&call, &request);
    request = request_of("service_deployed", "t0", "service/t0/s1", payload_deploy("b"));
    must_append(&call, &request);
}

Test(event_store, a_missing_live_row_is_folded_anew_and_the_log_says_so)
{
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    deploy_some();
    delete_raw(EVENTS_LIVE, span_of_text("t0/s0"));
    delete_raw(EVENTS_TENANTS, span_of_text("t0"));
    fixture_reopen();
    struct event event = read_event(4, &arena);
    cr_expect_str_eq(event.type, "log_opened");
    AUTO(db_end) struct db_txn txn = { 0 };
    struct live_row row;
    struct tenant_row tenant;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(live_find(&txn, "t0", "s0", &row), STATUS_OK);
    cr_expect_eq(row.generation, 2);
    cr_assert_eq(tenant_find(&txn, "t0", &tenant), STATUS_OK);
    cr_expect_eq(tenant.index, 4);
    cr_expect_eq(tenant.event_id, 1);
}

static void begin_run(const char *boot_id)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    write_map(&payload, 1);
    write_str(&payload, "boot_id");
    write_str(&payload, boot_id);
    cr_assert_eq(event_store_append_alone(&store, EVENT_system_started, buffer_span(&payload)),
                 STATUS_OK);
}

static void begin_shutdown(void)
{
    cr_assert_eq(
        event_store_append_alone(&store, EVENT_system_shutdown_started, (struct span){ 0 }),
        STATUS_OK);
}

static void expect_end(const char *boot_id, const char *word)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    char end[RUN_END_BYTES];
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(run_end_find(&txn, boot_id, end), STATUS_OK);
    cr_expect_str_eq(end, word);
}

/* What the next start finds when the last commit came through, and when it did not: there is no
 * moment between the two. */
Test(event_store, the_end_of_a_run_is_one_commit)
{
    expect_end("b1", "first");
    begin_run("b1");
    expect_end("b1", "crash");
    expect_end("b2", "power");
    begin_shutdown();
    expect_end("b1", "cut");
    expect_end("b2", "cut");
    uint64_t before = db_last_txn(&store.db), last = store.last_id;
    const struct store_end ends[] = {
        { .ends_run = true, .is_logged = true, .is_forced = true },
        { .ends_run = true, .is_logged = true },
        { .ends_run = true },
        { .ends_run = true, .is_forced = true },
    };
    static const char *const words[] = { "forced", "clean", "clean", "forced" };
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        cr_assert_eq(event_store_close_cleanly(&store, &ends[i]), STATUS_OK);
        cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
        cr_expect_eq(store.db.found_txn, before + 1, "%" PRIu64 " commits",
                     store.db.found_txn - before);
        cr_expect(store.db.was_clean);
        cr_expect_eq(store.last_id, last + (ends[i].is_logged ? 1 : 0));
        expect_end("b1", words[i]);
        expect_end("b2", words[i]);
        begin_run("b2");
        expect_end("b2", "crash");
        before = db_last_txn(&store.db), last = store.last_id;
    }
    /* eventd alone was restarted: the run goes on. */
    cr_assert_eq(event_store_close_cleanly(&store, &(struct store_end){ 0 }), STATUS_OK);
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    cr_expect(store.db.was_clean);
    expect_end("b2", "crash");
}

/* Who starts eventd waits as long as it goes on. */
Test(event_store, a_fold_says_how_far_it_is_and_asks_for_time)
{
    char path[108], said[4096] = "";
    size_t used = 0;
    snprintf(path, sizeof path, "%s/notify", fixture_data_dir());
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    deploy_some();
    delete_raw(EVENTS_LIVE, span_of_text("t0/s0"));
    setenv("NOTIFY_SOCKET", path, 1);
    fixture_reopen();
    unsetenv("NOTIFY_SOCKET");
    for (ssize_t size; (size = recv(fd, said + used, sizeof said - 1 - used, 0)) > 0;)
        used += (size_t)size;
    cr_expect_null(strstr(said, "rows of heads compared"), "not of a few: %s", said);
    cr_expect_not_null(strstr(said, "STATUS=checking the chain: 3/3 events\n"), "%s", said);
    cr_expect_not_null(strstr(said, "STATUS=folding the log anew: 0/3 events\n"), "%s", said);
    cr_expect_not_null(strstr(said, "EXTEND_TIMEOUT_USEC=60000000"), "%s", said);
    cr_expect_not_null(strstr(said, "WATCHDOG=1"), "%s", said);
}

Test(event_store, a_missing_event_is_damage)
{
    deploy_some();
    struct table_number two = table_number(2);
    delete_raw(EVENTS_EVENTS, table_number_key(&two));
    event_store_close(&store);
    cr_expect_eq(event_store_open(&store, fixture_data_dir()), STATUS_DATA_LOSS);
}

Test(event_store, live_is_not_folded_from_a_broken_chain)
{
    deploy_some();
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    struct event_append_request request = request_of("app.x", "", "", (struct span){ 0 });
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    for (int i = 0; i < 1100; i++) /* beyond what the quick probe reads */
        cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    cr_assert_eq(event_store_tidy(&store), STATUS_OK); /* an open reads what is late */
    struct table_number two = table_number(2);
    delete_raw(EVENTS_EVENTS, table_number_key(&two));
    fixture_reopen();
    delete_raw(EVENTS_LIVE, span_of_text("t0/s0"));
    event_store_close(&store);
    cr_expect_eq(event_store_open(&store, fixture_data_dir()), STATUS_DATA_LOSS);
}

Test(event_store, a_record_at_another_number_is_damage)
{
    deploy_some();
    MDB_txn *txn;
    struct table_number one = table_number(1), two = table_number(2);
    MDB_val from = { 8, one.bytes }, to = { 8, two.bytes }, value;
    cr_assert_eq(mdb_txn_begin(store.db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_get(txn, store.db.tables[EVENTS_EVENTS], &from, &value), 0);
    uint8_t copy[4096];
    size_t size = value.mv_size;
    memcpy(copy, value.mv_data, size);
    value = (MDB_val){ size, copy };
    cr_assert_eq(mdb_put(txn, store.db.tables[EVENTS_EVENTS], &to, &value, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    struct db_txn read;
    struct event event;
    struct arena arena = { .limit = 16384 };
    cr_assert_eq(db_begin_read(&store.db, &read), STATUS_OK);
    cr_expect_eq(event_log_read(&read, 2, &arena, &event), STATUS_DATA_LOSS);
    uint64_t checked;
    cr_expect_eq(event_log_verify(&read, 1, 10, &checked), STATUS_DATA_LOSS);
    db_end(&read);
    arena_close(&arena);
}

Test(event_store, an_event_that_is_missing_between_others_is_damage_and_not_unknown)
{
    deploy_some();
    struct table_number two = table_number(2);
    delete_raw(EVENTS_EVENTS, table_number_key(&two));
    AUTO(db_end) struct db_txn read = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    struct event event;
    uint64_t last;
    cr_assert_eq(db_begin_read(&store.db, &read), STATUS_OK);
    cr_assert_eq(event_log_last(&read, &last), STATUS_OK);
    cr_expect_eq(event_log_read(&read, 2, &arena, &event), STATUS_DATA_LOSS);
    cr_expect(store.db.has_met_damage);
    cr_expect_eq(event_log_read(&read, last + 1, &arena, &event), STATUS_NOT_FOUND);
    cr_expect_eq(event_log_read(&read, 0, &arena, &event), STATUS_NOT_FOUND);
}

/* --- what readers ask --- */

Test(event_store, the_spec_of_a_generation_is_found)
{
    deploy_some();
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span spec;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_spec(&txn, 2, &spec), STATUS_OK);
    cr_expect_eq(memcmp(spec.data,
                        "\x81\xa4text\xa1"
                        "a",
                        spec.size),
                 0);
    cr_expect_eq(event_log_spec(&txn, 1, &spec), STATUS_NOT_FOUND, "no deploy");
    cr_expect_eq(event_log_spec(&txn, 99, &spec), STATUS_NOT_FOUND, "no such event");
}

Test(event_store, an_empty_log_is_true)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t last, checked, count;
    struct live_row row;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_last(&txn, &last), STATUS_OK);
    cr_expect_eq(last, 0);
    cr_expect_eq(event_log_verify(&txn, 1, 10, &checked), STATUS_OK);
    cr_expect_eq(checked, 0);
    cr_expect_eq(live_count(&txn, &count), STATUS_OK);
    cr_expect_eq(count, 0);
    cr_expect_eq(live_find(&txn, "a", "b", &row), STATUS_NOT_FOUND);
    cr_expect_eq(event_log_head(&txn, HEAD_OF_SUBJECT, "service/a/b", &last), STATUS_OK);
    cr_expect_eq(last, 0);
}

static void on_end(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

/* A walk begins 2 seconds after the opening. Whoever writes next sees that the store is gone. */
Test(event_store, a_walk_that_finds_no_store_finds_no_damage)
{
    char dir[4096], aside[4200];
    struct ev_timer end;
    struct ev_loop *loop = ev_loop_new(0);
    deploy_some();
    snprintf(dir, sizeof dir, "%s", store.db.dir);
    snprintf(aside, sizeof aside, "%s.aside", dir);
    cr_assert_eq(rename(dir, aside), 0);
    store_walk_open(loop, &store.db);
    ev_timer_init(&end, on_end, 4., 0.);
    ev_timer_start(loop, &end);
    ev_run(loop, 0);
    store_walk_close();
    ev_loop_destroy(loop);
    cr_expect_not(store.db.has_met_damage);
    cr_assert_eq(rename(aside, dir), 0);
    cr_expect_eq(event_store_tidy(&store), STATUS_OK);
}
