/* Heads and requests are written late: whatever happens before, they say what the log says. */
#include "eventd/late_rows.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/db/copy.h"
#include "common/db/store_child.h"
#include "common/db/walk.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"
#include "tests/unit/eventd/log_fixture.h"
#include "tests/unit/eventd/log_numbered.h"

TestSuite(late_rows, .init = fixture_open, .fini = fixture_close);

static const struct span nothing;

static uint64_t processor_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A plan asks about a thousand services: were each event read for each of them, it would cost a
 * thousand times as much. */
Test(late_rows, what_is_late_is_read_once_however_often_it_is_asked)
{
    enum { LATE = 1000, TIMES = 200 };
    append_some(0, LATE);
    cr_assert_eq(log_written(), 0);
    uint64_t began_ns = processor_ns();
    cr_assert_eq(log_head(HEAD_OF_SUBJECT, "thing/none"), 0);
    uint64_t first_ns = processor_ns() - began_ns;
    began_ns = processor_ns();
    for (int i = 0; i < TIMES; i++)
        cr_assert_eq(log_head(HEAD_OF_SUBJECT, "thing/none"), 0);
    uint64_t rest_ns = processor_ns() - began_ns;
    cr_assert_lt(rest_ns, TIMES / 4 * first_ns, "%d more cost %.1f times as much as the first",
                 TIMES, (double)rest_ns / (double)first_ns);
    append_some(LATE, LATE + 1);
    cr_assert_eq(log_head(HEAD_OF_SUBJECT, "thing/1"), LATE + 1);
    cr_assert_eq(log_head(HEAD_OF_SUBJECT, "thing/0"), LATE);
}

Test(late_rows, what_is_not_written_is_known_and_survives_a_crash)
{
    append_some(0, 10);
    cr_expect_eq(log_rows(EVENTS_HEADS), 0);
    cr_expect_eq(log_rows(EVENTS_REQUESTS), 0);
    expect_all_known();
    fixture_reopen();
    cr_expect_eq(log_written(), 0);
    expect_all_known();
    cr_assert_eq(event_store_tidy(&store), STATUS_OK);
    cr_expect_eq(log_written(), 10);
    cr_expect_eq(log_rows(EVENTS_HEADS), 5);
    cr_expect_eq(log_rows(EVENTS_REQUESTS), 10);
    expect_all_known();
}

Test(late_rows, links_go_on_after_a_crash)
{
    append_some(0, 10);
    fixture_reopen();
    append_some(10, 11);
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    struct event event;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_read(&txn, 11, &arena, &event), STATUS_OK);
    cr_expect_eq(event.previous_of_tenant, 10);
    cr_expect_eq(event.previous_of_type, 10);
    cr_expect_eq(event.previous_of_subject, 8);
}

Test(late_rows, an_aborted_turn_forgets_only_itself)
{
    append_some(0, 10);
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    struct uuid id = id_number(10);
    struct event_append_request request = request_of("app.y", "acme", "thing/3", nothing);
    call_identify(&call, &id, "body");
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
    event_store_abort(&store);
    expect_all_known();
    cr_expect_eq(log_head(HEAD_OF_TYPE, "app.y"), 0);
    append_some(10, 11);
}

/* What deployd looks for in the map: the row of its request, and a head without one. Each row here
 * would be a page of every deploy's commits. */
Test(late_rows, an_event_of_solos_own_writes_its_request_and_nothing_else)
{
    append_some(0, 9);
    struct rpc_call call = call_of_daemon("deployd");
    struct uuid id = id_number(9);
    struct event_append_request request =
        request_of("tenant_created", "t0", "tenant/t0", payload_index(4));
    call_identify(&call, &id, "body");
    cr_expect_eq(must_append(&call, &request), 10);
    for (int restarts = 0; restarts < 2; restarts++) {
        cr_expect_eq(log_written(), 0);
        cr_expect_eq(log_rows(EVENTS_REQUESTS), 1);
        cr_expect_eq(log_rows(EVENTS_HEADS), 0);
        cr_expect_eq(log_head(HEAD_OF_TENANT, "t0"), 10);
        cr_expect_eq(log_head(HEAD_OF_SUBJECT, "tenant/t0"), 10);
        AUTO(db_end) struct db_txn txn = { 0 };
        struct request_outcome outcome;
        struct problem problem = { 0 };
        cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
        cr_expect_eq(event_log_request(&txn, "t0", &id, &call.body_hash, &outcome, &problem),
                     STATUS_OK);
        cr_expect_eq(outcome.first_id, 10);
        db_end(&txn);
        fixture_reopen();
    }
}

Test(late_rows, a_clean_stop_has_them_written)
{
    append_some(0, 10);
    cr_assert_eq(event_store_close_cleanly(&store, &(struct store_end){ 0 }), STATUS_OK);
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    cr_expect_eq(log_written(), 10);
    expect_all_known();
}

Test(late_rows, no_more_than_the_bound_are_late)
{
    for (unsigned i = 0; i < LATE_EVENTS_MAX - 1; i++)
        append_numbered(i, "body", STATUS_OK);
    cr_expect_eq(log_written(), 0);
    append_numbered(LATE_EVENTS_MAX - 1, "body", STATUS_OK);
    cr_expect_eq(log_written(), LATE_EVENTS_MAX);
    cr_expect_eq(log_rows(EVENTS_REQUESTS), LATE_EVENTS_MAX);
}

/* The newest id in the table spares a look for every later one: it must spare none of another. */
Test(late_rows, ids_that_come_in_any_order_are_known)
{
    enum { COUNT = LATE_EVENTS_MAX };
    for (unsigned i = 0; i < COUNT; i++)
        append_numbered(2 * (COUNT - i), "body", STATUS_OK);
    cr_expect_eq(log_written(), COUNT);
    for (int restarts = 0; restarts < 2; restarts++) {
        for (unsigned i = 0; i < COUNT; i += 31) {
            struct append_outcome outcome = append_numbered(2 * (COUNT - i), "body", STATUS_OK);
            cr_assert(outcome.is_repeat);
            cr_assert_eq(outcome.first_id, i + 1);
            append_numbered(2 * (COUNT - i), "another body", STATUS_ABORTED);
        }
        for (unsigned i = 0; i < 3; i++) {
            unsigned unused = 80 * i + 2 * (unsigned)restarts + 1;
            cr_assert_not(append_numbered(unused, "body", STATUS_OK).is_repeat);
        }
        fixture_reopen();
    }
}

/* The quick probe reads none of these rows. */
Test(late_rows, the_full_walk_finds_what_an_open_does_not)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    char dir[4200];
    snprintf(dir, sizeof dir, "%s/events", fixture_data_dir());
    append_some(0, 10);
    cr_assert_eq(event_store_close_cleanly(&store, &(struct store_end){ 0 }), STATUS_OK);
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    cr_expect_eq(db_walk(&events_schema, dir, WALK_BESIDE_WRITER), STATUS_OK);
    struct span key = event_log_head_key(bytes, HEAD_OF_SUBJECT, "thing/1");
    damage_row(EVENTS_HEADS, key);
    cr_expect_eq(db_walk(&events_schema, dir, WALK_BESIDE_WRITER), STATUS_DATA_LOSS);
    event_store_close(&store);
    cr_expect_eq(db_walk(&events_schema, dir, WALK_ALONE), STATUS_DATA_LOSS);
}

static enum status copy_store(const char *to)
{
    char dir[4200];
    pid_t pid;
    int pidfd, result;
    snprintf(dir, sizeof dir, "%s/events", fixture_data_dir());
    cr_assert_eq(db_copy_start(&events_schema, dir, to, &pid, &pidfd), STATUS_OK);
    cr_assert_eq(store_child_wait(pid, to, &result), STATUS_OK);
    close(pidfd);
    return db_probe_judge(to, result);
}

/* Two processes read it, each its half. */
Test(late_rows, every_event_of_a_copy_is_read)
{
    enum { BATCHES = 21 };
    const char *to = scratch_path("copy");
    static const uint64_t in_each_half[] = { 5000, 20100 };
    struct event_append_request requests[EVENT_BATCH_MAX];
    struct append_outcome outcomes[EVENT_BATCH_MAX];
    struct rpc_call call = call_of_operator();
    for (int i = 0; i < EVENT_BATCH_MAX; i++)
        requests[i] = request_of("app.x", "acme", "", nothing);
    for (int i = 0; i < BATCHES; i++)
        cr_assert_eq(append_many(&call, requests, EVENT_BATCH_MAX, outcomes), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(in_each_half); i++) {
        struct table_number number = table_number(in_each_half[i]);
        damage_row(EVENTS_EVENTS, table_number_key(&number));
        cr_expect_eq(copy_store(to), STATUS_DATA_LOSS, "event %d", (int)in_each_half[i]);
        cr_expect_neq(access(to, F_OK), 0, "it does not stay");
        damage_row(EVENTS_EVENTS, table_number_key(&number)); /* what was flipped twice is whole */
    }
    cr_expect_eq(copy_store(to), STATUS_OK);
}

/* A reader who looks through them must not meet gigabytes. */
Test(late_rows, no_more_bytes_than_the_bound_are_late)
{
    static char text[256 * 1024];
    memset(text, 'x', sizeof text - 1);
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.x", "acme", "", payload_text(text));
    for (int restarts = 0; restarts < 2; restarts++) {
        uint64_t before = log_written(), last = 0;
        for (int i = 0; i < LATE_BYTES_MAX / (int)sizeof text - 1; i++)
            last = must_append(&call, &request);
        cr_expect_eq(log_written(), before);
        fixture_reopen();
        request.payload = payload_text(text);
        cr_expect_eq(must_append(&call, &request), last + 1);
        cr_expect_eq(log_written(), last + 1);
    }
}

/* More requests in one turn than fit into memory, and a disk without space on which nothing is
 * written that need not be. */
Test(late_rows, without_space_they_stay_late_and_true)
{
    enum { COUNT = LATE_EVENTS_MAX + 100 };
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    struct event_append_request request = request_of("app.x", "acme", "", nothing);
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        struct uuid id = id_number(i);
        call_identify(&call, &id, "body");
        cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
    }
    store.db.is_short_of_space = true;
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    cr_expect_eq(log_written(), 0);
    for (int restarts = 0; restarts < 2; restarts++) {
        for (unsigned i = 0; i < COUNT; i += 57) {
            outcome = append_numbered(i, "body", STATUS_OK);
            cr_expect(outcome.is_repeat);
            cr_expect_eq(outcome.first_id, i + 1);
        }
        cr_expect_eq(log_head(HEAD_OF_TENANT, "acme"), COUNT);
        fixture_reopen();
    }
}

Test(late_rows, a_batch_is_answered_as_a_batch)
{
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    struct uuid id = id_number(0);
    struct event_append_request request = request_of("app.x", "", "", nothing);
    const struct event_append_request batch[] = { request, request, request };
    append_some(1, 1);
    call_identify(&call, &id, "body");
    cr_assert_eq(append_many(&call, batch, COUNT_OF(batch), &outcome), STATUS_OK);
    fixture_reopen();
    cr_assert_eq(append_many(&call, batch, COUNT_OF(batch), &outcome), STATUS_OK);
    cr_expect(outcome.is_repeat);
    cr_expect_eq(outcome.first_id, 1);
    cr_expect_eq(outcome.count, COUNT_OF(batch));
    cr_expect_eq(log_rows(EVENTS_REQUESTS), 0);
}

/* A row that says more than the record is written at once. */
Test(late_rows, a_request_with_an_intent_is_not_late)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    struct uuid id = id_number(0);
    struct event_append_request request = request_of("app.x", "acme", "", nothing);
    request.intent = "service.deploy";
    call_identify(&call, &id, "body");
    cr_assert_eq(append_one(&call, &request, &outcome), STATUS_OK);
    cr_expect_eq(log_rows(EVENTS_REQUESTS), 1);
}

Test(late_rows, recent_requests_are_bounded)
{
    struct recent_requests recent;
    cr_assert_eq(recent_requests_init(&recent), STATUS_OK);
    struct recent_request request = { .count = 1 };
    for (unsigned i = 0; i < RECENT_REQUESTS_MAX; i++) {
        request.id = id_number(i);
        request.first_id = i;
        cr_assert_null(recent_requests_find(&recent, &request.id));
        cr_assert_eq(recent_requests_add(&recent, &request), STATUS_OK);
    }
    request.id = id_number(RECENT_REQUESTS_MAX);
    cr_expect_eq(recent_requests_add(&recent, &request), STATUS_RESOURCE_EXHAUSTED);
    for (unsigned i = 0; i < RECENT_REQUESTS_MAX; i++) {
        struct uuid id = id_number(i);
        const struct recent_request *found = recent_requests_find(&recent, &id);
        cr_assert_not_null(found);
        cr_expect_eq(found->first_id, i);
    }
    recent_requests_clear(&recent);
    request.id = id_number(0);
    cr_expect_null(recent_requests_find(&recent, &request.id));
    recent_requests_reset(&recent);
}
