/* Rows of `heads` and `requests` that are damaged or gone: the digest knows, the records say most
 * of it again, and what nobody can say is refused. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_fixture.h"
#include "tests/unit/eventd/log_numbered.h"

TestSuite(lost_rows, .init = fixture_open, .fini = fixture_close);

static const struct span nothing;

static void write_and_reopen(void)
{
    cr_assert_eq(event_store_close_cleanly(&store, &(struct store_end){ 0 }), STATUS_OK);
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    late_rows_forget(&store.late); /* what it has in memory spares a look */
}

/* In a store that is open: what its next start finds is mended there. */
Test(lost_rows, a_head_that_is_damaged_is_what_the_records_say)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    append_some(0, 10);
    write_and_reopen();
    damage_row(EVENTS_HEADS, event_log_head_key(bytes, HEAD_OF_SUBJECT, "thing/1"));
    damage_row(EVENTS_HEADS, event_log_head_key(bytes, HEAD_OF_TYPE, "app.x"));
    cr_expect_not(store.db.has_met_damage);
    expect_all_known();
    cr_expect(store.db.has_met_damage, "it is told");
    append_some(10, 11); /* also about thing/1 */
    cr_expect_eq(log_head(HEAD_OF_SUBJECT, "thing/1"), 11);
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_read(&txn, 11, &arena, &event), STATUS_OK);
    cr_expect_eq(event.previous_of_type, 10);
    cr_expect_eq(event.previous_of_subject, 8);
}

Test(lost_rows, a_damaged_head_is_looked_for_among_the_newest_events)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    uint64_t id;
    append_some(0, 10);
    write_and_reopen();
    damage_row(EVENTS_HEADS,
               event_log_head_key(bytes, HEAD_OF_SUBJECT, "thing/1")); /* of event 8 */
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    setenv("SOLO_FAULT_BOUND", "walk:heads:3", 1);
    cr_expect_eq(event_log_head(&txn, HEAD_OF_SUBJECT, "thing/1", &id), STATUS_OK);
    cr_expect_eq(id, 8);
    setenv("SOLO_FAULT_BOUND", "walk:heads:2", 1);
    cr_expect_eq(event_log_head(&txn, HEAD_OF_SUBJECT, "thing/1", &id), STATUS_DATA_LOSS);
    unsetenv("SOLO_FAULT_BOUND");
}

static void put_raw(unsigned table, struct span at, const void *row, size_t size)
{
    MDB_val key = { at.size, (void *)(uintptr_t)at.data }, value = { size, (void *)(uintptr_t)row };
    MDB_txn *txn;
    cr_assert_eq(mdb_txn_begin(store.db.env, NULL, 0, &txn), 0);
    cr_assert_eq(row == NULL ? mdb_del(txn, store.db.tables[table], &key, NULL)
                             : mdb_put(txn, store.db.tables[table], &key, &value, 0),
                 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

static size_t get_raw(unsigned table, struct span at, uint8_t row[256])
{
    MDB_val key = { at.size, (void *)(uintptr_t)at.data }, value;
    MDB_txn *txn;
    cr_assert_eq(mdb_txn_begin(store.db.env, NULL, MDB_RDONLY, &txn), 0);
    cr_assert_eq(mdb_get(txn, store.db.tables[table], &key, &value), 0);
    cr_assert_leq(value.mv_size, 256);
    memcpy(row, value.mv_data, value.mv_size);
    mdb_txn_abort(txn);
    return value.mv_size;
}

static void expect_links(uint64_t id, uint64_t of_subject, uint64_t of_type)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_read(&txn, id, &arena, &event), STATUS_OK);
    cr_expect_eq(event.previous_of_subject, of_subject);
    cr_expect_eq(event.previous_of_type, of_type);
}

/* Half a page that was lost, or came back from another time: every row that is there is whole. */
Test(lost_rows, heads_that_are_missing_or_old_are_made_anew_before_anything_follows_from_them)
{
    uint8_t bytes[HEAD_KEY_BYTES], row[256];
    append_some(0, 6);
    write_and_reopen();
    struct span type = event_log_head_key(bytes, HEAD_OF_TYPE, "app.x");
    size_t size = get_raw(EVENTS_HEADS, type, row);
    append_some(6, 10);
    write_and_reopen();
    put_raw(EVENTS_HEADS, type, row, size);
    put_raw(EVENTS_HEADS, event_log_head_key(bytes, HEAD_OF_SUBJECT, "thing/1"), NULL, 0);
    fixture_reopen();
    cr_expect_not(store.db.has_met_damage, "it is mended");
    cr_expect_eq(log_head(HEAD_OF_TYPE, "log_opened"), 11, "and told");
    expect_all_known();
    cr_expect_eq(append_numbered(10, "body", STATUS_OK).first_id, 12); /* about thing/1 */
    expect_links(12, 8, 10);
    fixture_reopen();
    cr_expect_eq(log_head(HEAD_OF_TYPE, "log_opened"), 11, "once");
}

/* A row that is lost while the store is open, as by a page from another time. */
Test(lost_rows, a_head_that_is_lost_is_no_event_that_never_was)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    append_some(0, 10);
    write_and_reopen();
    put_raw(EVENTS_HEADS, event_log_head_key(bytes, HEAD_OF_SUBJECT, "thing/1"), NULL, 0);
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t id;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(late_rows_find_head(&store.late, &txn, HEAD_OF_SUBJECT, "thing/1", &id),
                 STATUS_OK);
    cr_expect_eq(id, 8);
    cr_assert_eq(late_rows_find_head(&store.late, &txn, HEAD_OF_SUBJECT, "nobody", &id), STATUS_OK);
    cr_expect_eq(id, 0);
    cr_expect(store.db.has_met_damage, "it is told");
}

static void request_row_at(bool is_last, uint8_t id[UUID_BYTES])
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, row;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(table_cursor_open(&txn, EVENTS_REQUESTS, &cursor), STATUS_OK);
    cr_assert_eq(is_last ? table_cursor_last(&cursor, &key, &row)
                         : table_cursor_seek(&cursor, (struct span){ 0 }, &key, &row),
                 STATUS_OK);
    cr_assert_eq(key.size, UUID_BYTES);
    memcpy(id, key.data, UUID_BYTES);
}

/* Whether it ran cannot be told: it does not run again. */
Test(lost_rows, a_request_whose_row_is_lost_is_refused)
{
    for (unsigned i = 1; i <= 3; i++)
        append_numbered(i, "body", STATUS_OK);
    write_and_reopen();
    uint8_t id[UUID_BYTES];
    request_row_at(false, id);
    store.db.has_met_damage = true; /* elsewhere */
    cr_expect(append_numbered(1, "body", STATUS_OK).is_repeat);
    cr_expect_not(append_numbered(0, "body", STATUS_OK).is_repeat, "never used, and that is sure");
    store.late.requests_proved_ns = 0;
    put_raw(EVENTS_REQUESTS, span_of(id, sizeof id), NULL, 0);
    append_numbered(1, "body", STATUS_DATA_LOSS);
    cr_expect(append_numbered(2, "body", STATUS_OK).is_repeat);
    usleep(2000);
    cr_expect_not(append_as(uuid_draw(), 1, "body", STATUS_OK).is_repeat, "drawn since");
}

/* The page that was written last is the likeliest to be lost. */
Test(lost_rows, the_newest_request_whose_row_is_lost_is_refused_too)
{
    for (unsigned i = 1; i <= 3; i++)
        append_numbered(i, "body", STATUS_OK);
    write_and_reopen();
    uint8_t id[UUID_BYTES];
    request_row_at(true, id);
    put_raw(EVENTS_REQUESTS, span_of(id, sizeof id), NULL, 0);
    write_and_reopen();
    store.db.has_met_damage = true;
    usleep(2000);
    cr_expect_not(append_as(uuid_draw(), 1, "body", STATUS_OK).is_repeat, "drawn since the start");
    append_numbered(3, "body", STATUS_DATA_LOSS);
    cr_expect(append_numbered(2, "body", STATUS_OK).is_repeat);
}

/* Whoever appends needs no start before. */
Test(lost_rows, a_damaged_head_is_written_over_and_the_table_made_anew_at_the_next_start)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    append_some(0, 10);
    write_and_reopen();
    damage_row(EVENTS_HEADS, event_log_head_key(bytes, HEAD_OF_SUBJECT, "thing/1"));
    append_some(10, 11);
    cr_expect_eq(event_store_tidy(&store), STATUS_OK);
    cr_expect_eq(log_written(), 11);
    fixture_reopen();
    cr_expect_eq(log_head(HEAD_OF_TYPE, "log_opened"), 12);
    cr_expect_eq(log_head(HEAD_OF_SUBJECT, "thing/1"), 11);
    fixture_reopen();
    cr_expect_eq(log_head(HEAD_OF_TYPE, "log_opened"), 12);
}

/* Nobody knows any more which id that row had. */
Test(lost_rows, a_broken_row_behind_all_requests_hides_none_of_them)
{
    append_some(0, 10);
    cr_assert_eq(event_store_close_cleanly(&store, &(struct store_end){ 0 }), STATUS_OK);
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    struct uuid id = id_number(20);
    MDB_val key = { UUID_BYTES, id.bytes }, value = { 3, (void *)(uintptr_t) "bad" };
    MDB_txn *txn;
    cr_assert_eq(mdb_txn_begin(store.db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_put(txn, store.db.tables[EVENTS_REQUESTS], &key, &value, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    fixture_reopen();
    expect_all_known();
    append_numbered(20, "body", STATUS_DATA_LOSS);
    append_numbered(21, "body", STATUS_DATA_LOSS); /* it may have been that one */
    usleep(2000);
    struct uuid later = uuid_draw();
    cr_expect_not(append_as(later, 21, "body", STATUS_OK).is_repeat);
    cr_expect(append_as(later, 21, "body", STATUS_OK).is_repeat);
    cr_expect_eq(event_store_tidy(&store), STATUS_OK);
    cr_expect_eq(log_written(), 11);
    cr_expect(append_as(later, 21, "body", STATUS_OK).is_repeat);
}

/* --- before the start --- */

/* A page that was lost leaves as many rows as LMDB has counted; each that is there proves itself.
 */
static void move_request(const uint8_t id[UUID_BYTES])
{
    uint8_t row[256];
    size_t size = get_raw(EVENTS_REQUESTS, span_of(id, UUID_BYTES), row);
    struct uuid elsewhere = id_number(1000);
    elsewhere.bytes[0] = 0; /* before all others: nobody asks for it */
    put_raw(EVENTS_REQUESTS, span_of(id, UUID_BYTES), NULL, 0);
    put_raw(EVENTS_REQUESTS, span_of(elsewhere.bytes, UUID_BYTES), row, size);
}

static void lose_first_and_last(bool is_count_kept)
{
    uint8_t id[UUID_BYTES];
    for (unsigned i = 1; i <= 3; i++)
        append_numbered(i, "body", STATUS_OK);
    write_and_reopen();
    request_row_at(true, id);
    put_raw(EVENTS_REQUESTS, span_of(id, sizeof id), NULL, 0);
    request_row_at(false, id);
    if (is_count_kept)
        move_request(id);
    else
        put_raw(EVENTS_REQUESTS, span_of(id, sizeof id), NULL, 0);
    write_and_reopen();
}

/* Nobody has walked the store yet, nobody has met damage. */
static void expect_lost_refused(void)
{
    uint64_t events;
    usleep(2000);
    cr_expect_not(append_as(uuid_draw(), 4, "body", STATUS_OK).is_repeat, "drawn since the start");
    cr_expect_eq(store.late.requests_proved_ns, 0, "which costs no comparison");
    append_numbered(3, "body", STATUS_DATA_LOSS);
    append_numbered(1, "body", STATUS_DATA_LOSS);
    cr_expect(append_numbered(2, "body", STATUS_OK).is_repeat);
    cr_expect(store.db.has_met_damage, "it is told");
    usleep(2000);
    cr_expect_not(append_as(uuid_draw(), 4, "body", STATUS_OK).is_repeat, "drawn since");
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(event_store_fold(&store, &events), STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    append_numbered(1, "body", STATUS_DATA_LOSS); /* that mended something else */
}

Test(lost_rows, a_request_whose_row_was_removed_before_the_start_does_not_run_again)
{
    lose_first_and_last(false);
    expect_lost_refused();
}

Test(lost_rows, a_request_whose_row_was_damaged_away_before_the_start_does_not_run_again)
{
    lose_first_and_last(true);
    expect_lost_refused();
}

Test(lost_rows, what_was_never_asked_is_new_and_the_table_compared_once)
{
    append_some(0, 3);
    write_and_reopen();
    cr_expect_not(append_numbered(7, "body", STATUS_OK).is_repeat);
    uint64_t proved_ns = store.late.requests_proved_ns;
    cr_expect_gt(proved_ns, 0);
    store.late.requests_proved_ns = 1; /* long ago */
    cr_expect_not(append_numbered(5, "body", STATUS_OK).is_repeat);
    cr_expect_eq(store.late.requests_proved_ns, 1);
}

static struct uuid id_ahead(unsigned minutes, unsigned i)
{
    struct uuid id = id_number(i);
    uint64_t ms = uuid_milliseconds(&id) + minutes * 60000ull;
    for (int at = 0; at < 6; at++)
        id.bytes[at] = (uint8_t)(ms >> (40 - 8 * at));
    return id;
}

/* Drawn "later" than the start, and than the damage was found, by a clock that is ahead of ours. */
Test(lost_rows, a_caller_whose_clock_is_ahead_does_not_run_twice)
{
    const struct uuid first = id_ahead(30, 1), second = id_ahead(31, 2);
    append_as(first, 1, "body", STATUS_OK);
    append_as(second, 2, "body", STATUS_OK);
    write_and_reopen();
    put_raw(EVENTS_REQUESTS, span_of(first.bytes, UUID_BYTES), NULL, 0);
    write_and_reopen();
    append_as(first, 1, "body", STATUS_DATA_LOSS);
    append_as(first, 1, "body", STATUS_DATA_LOSS);
    cr_expect(append_as(second, 2, "body", STATUS_OK).is_repeat);
    cr_expect_not(append_as(id_ahead(32, 3), 3, "body", STATUS_OK).is_repeat);
}

/* --- heads, while the store is open --- */

static void lose_head(enum head_kind kind, const char *text)
{
    uint8_t bytes[HEAD_KEY_BYTES];
    put_raw(EVENTS_HEADS, event_log_head_key(bytes, kind, text), NULL, 0);
}

static void expect_heads_whole(void)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_expect_eq(table_verify(&txn, EVENTS_HEADS), STATUS_OK);
    cr_expect_eq(store.late.heads_state, HEADS_WHOLE);
    cr_expect_not(store.db.has_met_damage);
}

/* In a turn that has others before it, and is undone once. */
Test(lost_rows, no_event_links_past_a_head_that_was_lost)
{
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    struct event_append_request other = request_of("app.y", "", "", nothing);
    struct event_append_request request = request_of("app.x", "acme", "thing/1", nothing);
    append_some(0, 10);
    write_and_reopen();
    lose_head(HEAD_OF_SUBJECT, "thing/1");
    lose_head(HEAD_OF_TENANT, "acme");
    for (int times = 0; times < 2; times++) {
        cr_assert_eq(event_store_begin(&store), STATUS_OK);
        cr_assert_eq(appending_run(&store, &call, &other, 1, &outcome), STATUS_OK);
        cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
        cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
        if (times == 0)
            event_store_abort(&store);
    }
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    expect_links(12, 8, 10);
    expect_links(13, 12, 12);
    cr_expect(append_numbered(3, "body", STATUS_OK).is_repeat);
    cr_expect_eq(log_head(HEAD_OF_SUBJECT, "thing/2"), 9);
    cr_assert_eq(event_store_tidy(&store), STATUS_OK);
    expect_heads_whole();
    fixture_reopen();
    cr_expect_eq(log_head(HEAD_OF_TYPE, "log_opened"), 0, "there was nothing left to mend");
}

/* A kill needs each page that is left. */
Test(lost_rows, on_a_full_disk_lost_heads_are_looked_for_and_made_anew_when_there_is_space)
{
    append_some(0, 10);
    write_and_reopen();
    lose_head(HEAD_OF_SUBJECT, "thing/1");
    lose_head(HEAD_OF_TENANT, "acme");
    struct event event = { .type = "app.x", .tenant = "acme", .subject = "thing/1", .source = "" };
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    store.db.is_short_of_space = true;
    cr_assert_eq(event_store_append(&store, EVENT_APP, &event), STATUS_OK);
    cr_expect_eq(store.late.heads_state, HEADS_LOST);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    expect_links(11, 8, 10);
    store.db.is_short_of_space = false;
    cr_assert_eq(event_store_tidy(&store), STATUS_OK);
    expect_heads_whole();
}

static unsigned comparisons;

static void count_comparisons(const char *what, const char *reason)
{
    (void)reason;
    comparisons += strcmp(what, "compare table with its digest") == 0;
}

static uint64_t find_in_store(enum head_kind kind, const char *text, enum status expected)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t id = 0;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(late_rows_find_head(&store.late, &txn, kind, text, &id), expected);
    return id;
}

Test(lost_rows, heads_that_are_known_to_be_lost_are_not_compared_again_but_made_anew)
{
    append_some(0, 10);
    write_and_reopen();
    lose_head(HEAD_OF_SUBJECT, "thing/1");
    log_divert_failures(count_comparisons);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(find_in_store(HEAD_OF_SUBJECT, "thing/1", STATUS_OK), 8);
    log_divert_failures(NULL);
    cr_expect_eq(comparisons, 1);
    cr_assert_eq(event_store_tidy(&store), STATUS_OK);
    expect_heads_whole();
    cr_expect_eq(find_in_store(HEAD_OF_SUBJECT, "thing/1", STATUS_OK), 8);
}

/* Of an event that cannot be read nobody knows what it was about. */
Test(lost_rows, heads_that_cannot_be_made_anew_cost_one_turn_and_answer_no_question_wrongly)
{
    const struct table_number number = table_number(5);
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    struct event_append_request request = request_of("app.x", "acme", "thing/1", nothing);
    append_some(0, 10);
    write_and_reopen();
    lose_head(HEAD_OF_SUBJECT, "thing/1");
    damage_row(EVENTS_EVENTS, table_number_key(&number));
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_UNAVAILABLE);
    cr_assert_eq(event_store_commit(&store), STATUS_UNAVAILABLE);
    cr_expect(store.db.has_met_damage, "it is told");
    cr_expect_not(append_numbered(10, "body", STATUS_OK).is_repeat);
    cr_expect_eq(find_in_store(HEAD_OF_SUBJECT, "thing/1", STATUS_OK), 11);
    cr_expect_eq(find_in_store(HEAD_OF_SUBJECT, "thing/2", STATUS_OK), 9);
    log_divert_failures(count_comparisons);
    find_in_store(HEAD_OF_SUBJECT, "nobody", STATUS_DATA_LOSS);
    log_divert_failures(NULL);
    cr_expect_eq(comparisons, 0);
    cr_expect_eq(event_store_tidy(&store), STATUS_OK);
}
