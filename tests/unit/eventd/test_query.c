/* Every question against a scan of everything, page by page. */
#include "eventd/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/wire/fields.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_cutting.h"
#include "tests/unit/eventd/log_fixture.h"

TestSuite(query, .init = fixture_open, .fini = fixture_close);

enum { EVENTS = 300 };
static struct {
    char tenant[8], type[8], subject[8];
} log_of[EVENTS + 1];
static uint64_t cut; /* the log begins after it */

static const char *const tenants[] = { "", "t1", "t2" };
static const char *const types[] = { "app.a", "app.b", "app.c" };
static const char *const subjects[] = { "", "s1", "s2", "s3" };

static unsigned fill_log(void)
{
    const char *given = getenv("SOLO_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)clock_wall_ns();
    unsigned printed = seed;
    fprintf(stderr, "seed %u (set SOLO_TEST_SEED to repeat)\n", printed);
    struct rpc_call call = call_of_operator();
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    for (int i = 1; i <= EVENTS; i++) {
        struct append_outcome outcome;
        snprintf(log_of[i].tenant, 8, "%s", tenants[(size_t)rand_r(&seed) % 3]);
        snprintf(log_of[i].type, 8, "%s", types[(size_t)rand_r(&seed) % (i < 150 ? 2 : 3)]);
        snprintf(log_of[i].subject, 8, "%s", subjects[(size_t)rand_r(&seed) % 4]);
        struct event_append_request request = request_of(
            log_of[i].type, log_of[i].tenant, log_of[i].subject, payload_text("some text"));
        cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
    }
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    return seed;
}

static bool should_match(const struct event_filter *filter, uint64_t id)
{
    return id > cut &&
           (filter->tenant[0] == '\0' || strcmp(filter->tenant, log_of[id].tenant) == 0) &&
           (filter->type[0] == '\0' || strcmp(filter->type, log_of[id].type) == 0) &&
           (filter->subject[0] == '\0' || strcmp(filter->subject, log_of[id].subject) == 0);
}

/* The numbers of the items of one page, appended to `ids`. */
static size_t read_ids(const struct buffer *items, uint64_t count, uint64_t *ids)
{
    AUTO(arena_close) struct arena arena = { .limit = 1 << 20 };
    struct reader reader = reader_of(buffer_span(items));
    for (uint64_t i = 0; i < count; i++) {
        struct span map;
        struct event_item item = { 0 };
        struct problem problem;
        cr_assert_eq(reader_any(&reader, &map), STATUS_OK);
        cr_assert_eq(fields_decode(&record_event_item, map, &arena, &item, &problem), STATUS_OK);
        cr_expect_str_eq(item.tenant, log_of[item.id].tenant);
        cr_expect_str_eq(item.type, log_of[item.id].type);
        cr_expect_str_eq(item.subject, log_of[item.id].subject);
        cr_expect_gt(item.payload.size, 0);
        ids[i] = item.id;
    }
    cr_expect_eq(reader.rest.size, 0);
    return count;
}

/* All pages of one question. */
static size_t ask(struct query query, bool newest_first, uint64_t ids[EVENTS + 1])
{
    AUTO(buffer_close) struct buffer items = { .limit = FRAME_BYTES_MAX };
    size_t found = 0;
    for (int pages = 0; pages < 2 * EVENTS; pages++) {
        AUTO(db_end) struct db_txn txn = { 0 };
        struct query_result result = { .items = &items };
        buffer_clear(&items);
        cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
        cr_assert_eq(newest_first ? query_newest_first(&txn, &query, &result)
                                  : query_oldest_first(&txn, &query, &result),
                     STATUS_OK);
        cr_expect_leq(result.count, query.items_max);
        cr_assert_leq(found + result.count, EVENTS);
        found += read_ids(&items, result.count, ids + found);
        if (result.is_complete)
            return found;
        if (newest_first)
            query.before = result.seen;
        else
            query.after = result.seen;
    }
    cr_assert_fail("it never ends");
    return found;
}

static void expect_answer(const struct query *query, bool newest_first)
{
    uint64_t ids[EVENTS + 1];
    size_t found = ask(*query, newest_first, ids), expected = 0;
    uint64_t end = query->before == 0 || query->before > EVENTS ? EVENTS + 1 : query->before;
    for (uint64_t i = query->after + 1; i < end; i++) {
        uint64_t id = newest_first ? end - (i - query->after) : i;
        if (!should_match(query->filter, id))
            continue;
        cr_assert_lt(expected, found, "an event is missing");
        cr_assert_eq(ids[expected], id);
        expected++;
    }
    cr_expect_eq(found, expected);
}

static void expect_all_answers(unsigned *seed)
{
    static const char *const types_asked[] = { "", "app.a", "app.c", "app.none" };
    for (size_t t = 0; t < 3; t++)
        for (size_t y = 0; y < COUNT_OF(types_asked); y++)
            for (size_t s = 0; s < 4; s++)
                for (int direction = 0; direction < 2; direction++) {
                    struct event_filter filter = { "", "", "" };
                    snprintf(filter.tenant, sizeof filter.tenant, "%s", tenants[t]);
                    snprintf(filter.type, sizeof filter.type, "%s", types_asked[y]);
                    snprintf(filter.subject, sizeof filter.subject, "%s", subjects[s]);
                    struct query query = {
                        .late = &store.late,
                        .filter = &filter,
                        .items_max = 1 + (uint64_t)rand_r(seed) % 20,
                        .bytes_max = 200 + (size_t)rand_r(seed) % 2000,
                        .scan_max = 5 + (uint64_t)rand_r(seed) % 50,
                        .scan_bytes_max = QUERY_SCAN_BYTES_MAX,
                    };
                    expect_answer(&query, direction == 1);
                    query.after = (uint64_t)rand_r(seed) % EVENTS;
                    query.before = query.after + 1 + (uint64_t)rand_r(seed) % EVENTS;
                    expect_answer(&query, direction == 1);
                }
}

Test(query, every_filter_in_both_directions_finds_what_a_scan_finds, .timeout = 120)
{
    unsigned seed = fill_log();
    expect_all_answers(&seed);
    fixture_reopen();
    expect_all_answers(&seed);
}

Test(query, of_a_log_that_begins_later_it_finds_what_is_left, .timeout = 120)
{
    unsigned seed = fill_log();
    cut = 120;
    fixture_cut(cut);
    expect_all_answers(&seed);
    cr_assert_gt(fixture_prune(), 100);
    expect_all_answers(&seed);
    fixture_reopen();
    expect_all_answers(&seed);
}

Test(query, heads_in_memory_are_those_of_the_records)
{
    fill_log();
    uint64_t id = 0;
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    for (size_t i = 1; i < COUNT_OF(tenants); i++) {
        uint64_t expected;
        cr_assert_eq(event_log_head(&txn, HEAD_OF_TENANT, tenants[i], &expected), STATUS_OK);
        cr_assert_eq(late_rows_find_head(&store.late, &txn, HEAD_OF_TENANT, tenants[i], &id),
                     STATUS_OK);
        cr_expect_eq(id, expected);
        cr_expect_gt(id, store.late.written, "only a late event tells");
    }
}

Test(query, newest_first_reads_only_the_chain)
{
    struct rpc_call call = call_of_operator();
    struct event_append_request rare = request_of("app.rare", "", "", payload_text("x"));
    struct event_append_request common = request_of("app.common", "", "", payload_text("x"));
    struct append_outcome outcome;
    must_append(&call, &rare);
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    for (int i = 0; i < 500; i++)
        cr_assert_eq(appending_run(&store, &call, &common, 1, &outcome), STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    must_append(&call, &rare);

    AUTO(buffer_close) struct buffer items = { .limit = FRAME_BYTES_MAX };
    AUTO(db_end) struct db_txn txn = { 0 };
    const struct event_filter filter = { .type = "app.rare" };
    const struct query query = { .late = &store.late,
                                 .filter = &filter,
                                 .items_max = 10,
                                 .bytes_max = 9999,
                                 .scan_max = 2,
                                 .scan_bytes_max = QUERY_SCAN_BYTES_MAX };
    struct query_result result = { .items = &items };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(query_newest_first(&txn, &query, &result), STATUS_OK);
    cr_expect_eq(result.count, 2, "502 lie between, two were looked at");
}

Test(query, a_page_of_one_tenant_ends_at_a_number_of_that_tenant)
{
    fill_log();
    struct event_filter filter = { .tenant = "t1", .type = "app.c" };
    struct query query = { .late = &store.late,
                           .filter = &filter,
                           .items_max = 1000,
                           .bytes_max = 1 << 20,
                           .scan_max = 5,
                           .scan_bytes_max = 1 << 20,
                           .follows_tenant = true };
    size_t pages = 0;
    for (bool is_complete = false; !is_complete; pages++) {
        AUTO(db_end) struct db_txn txn = { 0 };
        AUTO(buffer_close) struct buffer items = { .limit = FRAME_BYTES_MAX };
        struct query_result result = { .items = &items };
        cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
        cr_assert_eq(query_newest_first(&txn, &query, &result), STATUS_OK);
        if (!result.is_complete)
            cr_assert_str_eq(log_of[result.seen].tenant, "t1", "event %" PRIu64, result.seen);
        is_complete = result.is_complete;
        query.before = result.seen;
        cr_assert_lt(pages, EVENTS);
    }
    cr_expect_gt(pages, 3);
}

Test(query, an_event_as_large_as_they_come_is_returned)
{
    static char text[EVENT_PAYLOAD_BYTES_MAX];
    memset(text, 'x', sizeof text);
    text[EVENT_PAYLOAD_BYTES_MAX - 32] = '\0';
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.big", "", "", payload_text(text));
    must_append(&call, &request);
    must_append(&call, &request);
    AUTO(buffer_close) struct buffer items = { .limit = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES };
    AUTO(db_end) struct db_txn txn = { 0 };
    const struct event_filter filter = { "", "", "" };
    const struct query query = { .late = &store.late,
                                 .filter = &filter,
                                 .items_max = 10,
                                 .bytes_max = 100,
                                 .scan_max = 10,
                                 .scan_bytes_max = QUERY_SCAN_BYTES_MAX };
    struct query_result result = { .items = &items };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(query_oldest_first(&txn, &query, &result), STATUS_OK);
    cr_expect_eq(result.count, 1, "one at a time");
    cr_expect_eq(result.seen, 1);
    cr_expect_not(result.is_complete);
}

/* While a turn is under way memory has more than the readers see, and some of it was given up for
 * want of room. */
Test(query, a_turn_under_way_is_not_seen_and_hides_nothing, .timeout = 120)
{
    unsigned seed = fill_log();
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    for (unsigned i = 0; i < 3 * HEAD_SLOTS; i++) {
        char subject[32];
        snprintf(subject, sizeof subject, "new/%u", i);
        struct event_append_request request =
            request_of("app.a", tenants[i % 3], i % 2 == 0 ? "s1" : subject, payload_text("x"));
        cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
        if (i < 3 || i + 1 == 3 * HEAD_SLOTS)
            expect_all_answers(&seed);
    }
    cr_expect(store.late.heads.is_ahead, "nothing had to be given up");
    event_store_abort(&store);
    expect_all_answers(&seed);
}
