/* Sources number their own events; repeating is safe, gaps and contradictions are refused. */
#include "eventd/sources.h"

#include <stdio.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/db/table.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_fixture.h"

TestSuite(sources, .init = fixture_open, .fini = fixture_close);

static struct event_append_request report(uint64_t number, const char *text)
{
    struct event_append_request request =
        request_of("service_crashed", "acme", "service/acme/api", payload_text(text));
    request.source = "tenantd/acme";
    request.incarnation = span_of("one incarnation!", 16);
    request.source_number = number;
    return request;
}

static enum status send(uint64_t number, const char *text, struct append_outcome *outcome)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct event_append_request request = report(number, text);
    return append_one(&call, &request, outcome);
}

Test(sources, the_next_number_appends_and_an_old_one_is_acknowledged)
{
    struct append_outcome outcome;
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert_eq(send(i, "same", &outcome), STATUS_OK);
        cr_expect_not(outcome.is_repeat);
        cr_expect_eq(outcome.first_id, i);
    }
    fixture_reopen();
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert_eq(send(i, "same", &outcome), STATUS_OK);
        cr_expect(outcome.is_repeat);
        cr_expect_eq(outcome.first_id, i, "the event that it became");
    }
    cr_expect_eq(store.committed_id, 3);
}

Test(sources, a_gap_is_refused_with_the_number_that_is_expected)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    struct event_append_request request = report(2, "x");
    cr_expect_eq(append_one(&call, &request, &outcome), STATUS_FAILED_PRECONDITION);
    cr_expect_str_eq(call.problem.field, "source_number");
    cr_expect_not_null(strstr(call.problem.message, "1 is expected"), "%s", call.problem.message);
    cr_expect_eq(store.committed_id, 0);
}

Test(sources, another_body_under_an_old_number_is_data_loss)
{
    struct append_outcome outcome;
    cr_assert_eq(send(1, "first", &outcome), STATUS_OK);
    cr_expect_eq(send(1, "other", &outcome), STATUS_DATA_LOSS);
    cr_expect_eq(send(2, "next", &outcome), STATUS_OK, "the source may go on");
}

Test(sources, a_new_incarnation_begins_again)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    cr_assert_eq(send(1, "x", &outcome), STATUS_OK);
    struct event_append_request request = report(1, "y");
    request.incarnation = span_of("another one here", 16);
    cr_assert_eq(append_one(&call, &request, &outcome), STATUS_OK);
    cr_expect_not(outcome.is_repeat);
    cr_expect_eq(send(1, "x", &outcome), STATUS_OK, "the old one is still known");
    cr_expect(outcome.is_repeat);
}

Test(sources, a_batch_is_numbered_in_itself)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    const struct event_append_request first[] = { report(1, "x"), report(2, "x"), report(3, "x") };
    cr_assert_eq(append_many(&call, first, 3, &outcome), STATUS_OK);
    cr_expect_eq(outcome.count, 3);
    cr_assert_eq(append_many(&call, first, 3, &outcome), STATUS_OK);
    cr_expect(outcome.is_repeat);
    cr_expect_eq(outcome.first_id, 1);
    cr_expect_eq(outcome.last_id, 3);
    cr_expect_eq(outcome.count, 3);

    const struct event_append_request overlap[] = { report(3, "x"), report(4, "x"),
                                                    report(5, "x") };
    cr_assert_eq(append_many(&call, overlap, 3, &outcome), STATUS_OK);
    cr_expect_not(outcome.is_repeat);
    cr_expect_eq(outcome.first_id, 4, "what was there already is not appended again");
    cr_expect_eq(outcome.last_id, 5);
    cr_expect_eq(outcome.count, 2);

    struct event_append_request other = report(1, "y");
    other.incarnation = span_of("another one here", 16);
    cr_assert_eq(append_one(&call, &other, &outcome), STATUS_OK);
    const struct event_append_request apart[] = { report(5, "x"), report(6, "x") };
    cr_assert_eq(append_many(&call, apart, 2, &outcome), STATUS_OK);
    cr_assert_eq(append_many(&call, apart, 2, &outcome), STATUS_OK);
    cr_expect(outcome.is_repeat);
    cr_expect_eq(outcome.first_id, 5);
    cr_expect_eq(outcome.last_id, 7, "another one is between them");

    const struct event_append_request gap[] = { report(7, "x"), report(9, "x") };
    cr_expect_eq(append_many(&call, gap, 2, &outcome), STATUS_FAILED_PRECONDITION);
    cr_expect_str_eq(call.problem.field, "events[1].source_number");
    cr_expect_eq(store.committed_id, 7);
}

Test(sources, parts_of_a_source_are_only_valid_together)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    struct event_append_request request = report(1, "x");
    request.incarnation = (struct span){ 0 };
    cr_expect_eq(append_one(&call, &request, &outcome), STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(call.problem.field, "incarnation");
    request = report(0, "x");
    cr_expect_eq(append_one(&call, &request, &outcome), STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(call.problem.field, "source_number");
    request = report(1, "x");
    request.source = "";
    cr_expect_eq(append_one(&call, &request, &outcome), STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(call.problem.field, "source");
}

/* --- bounds, on the table itself --- */

static uint8_t incarnations[SOURCE_INCARNATIONS_MAX + 8][16];

static struct source_position position(const char *name, int incarnation, uint64_t number)
{
    incarnations[incarnation][0] = (uint8_t)incarnation;
    return (struct source_position){
        .name = name,
        .incarnation = incarnations[incarnation],
        .number = number,
        .body_hash = hash_of(span_of(&number, sizeof number)),
    };
}

static uint64_t last_of(struct db_txn *txn, const char *name, int incarnation)
{
    uint64_t last;
    struct source_position at = position(name, incarnation, 0);
    cr_assert_eq(sources_last(txn, &at, &last), STATUS_OK);
    return last;
}

Test(sources, only_the_newest_numbers_are_kept)
{
    struct db_txn txn;
    uint64_t count, event_id;
    struct problem problem;
    cr_assert_eq(db_begin_write(&store.db, &txn), STATUS_OK);
    for (uint64_t i = 1; i <= SOURCE_WINDOW + 10; i++) {
        struct source_position at = position("s", 0, i);
        cr_assert_eq(sources_put(&txn, &at, 1000 + i), STATUS_OK);
    }
    cr_assert_eq(table_count(&txn, EVENTS_SOURCES, &count), STATUS_OK);
    cr_expect_eq(count, SOURCE_WINDOW + 1);
    struct source_position at = position("s", 0, 11);
    cr_expect_eq(sources_check(&txn, &at, SOURCE_WINDOW + 10, &event_id, &problem), STATUS_OK);
    cr_expect_eq(event_id, 1011);
    at = position("s", 0, 10);
    cr_expect_eq(sources_check(&txn, &at, SOURCE_WINDOW + 10, &event_id, &problem),
                 STATUS_FAILED_PRECONDITION);
    db_end(&txn);
}

Test(sources, the_newest_event_of_another_store_of_the_same_owner_is_told)
{
    struct db_txn txn;
    static const struct {
        const char *name;
        uint64_t newest;
    } wanted[] = { { "vaultd/ab", 3 }, { "vaultd/cd", 5 }, { "vaultd/ef", 5 },
                   { "vaultd/a", 5 },  { "vaul/ab", 0 },   { "vaultd", 0 } };
    cr_assert_eq(db_begin_write(&store.db, &txn), STATUS_OK);
    struct source_position at = position("vaultd/ab", 0, 1), other = position("vaultd/cd", 0, 1);
    struct source_position later = position("vaultd/ab", 1, 1), vault = position("vault/ab", 0, 1);
    cr_assert_eq(sources_put(&txn, &at, 1), STATUS_OK);
    cr_assert_eq(sources_put(&txn, &vault, 2), STATUS_OK);
    cr_assert_eq(sources_put(&txn, &other, 3), STATUS_OK);
    cr_assert_eq(sources_put(&txn, &later, 5), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        uint64_t newest = 99;
        cr_assert_eq(sources_newest_sibling(&txn, wanted[i].name, &newest), STATUS_OK);
        cr_expect_eq(newest, wanted[i].newest, "%s: %llu", wanted[i].name,
                     (unsigned long long)newest);
    }
    db_end(&txn);
}

Test(sources, only_the_newest_incarnations_are_kept)
{
    struct db_txn txn;
    cr_assert_eq(db_begin_write(&store.db, &txn), STATUS_OK);
    struct source_position other = position("s2", 0, 1);
    cr_assert_eq(sources_put(&txn, &other, 1), STATUS_OK);
    for (int i = 0; i < SOURCE_INCARNATIONS_MAX + 3; i++) {
        struct source_position at = position("s", i, 1);
        cr_assert_eq(sources_put(&txn, &at, (uint64_t)(100 + i)), STATUS_OK);
    }
    for (int i = 0; i < SOURCE_INCARNATIONS_MAX + 3; i++)
        cr_expect_eq(last_of(&txn, "s", i), i < 3 ? 0 : 1, "incarnation %d", i);
    cr_expect_eq(last_of(&txn, "s2", 0), 1, "another source is not touched");
    db_end(&txn);
}

Test(sources, past_the_most_sources_the_one_silent_for_longest_goes)
{
    struct db_txn txn;
    char name[32];
    cr_assert_eq(db_begin_write(&store.db, &txn), STATUS_OK);
    for (uint64_t i = 0; i < SOURCES_MAX; i++) {
        /* As if put long ago, without the walk that each new source costs. */
        struct table_number one = table_number(1), event = table_number(i == 7 ? 5 : 100 + i);
        uint8_t key[64], row[16];
        int size = snprintf((char *)key, sizeof key, "is%06llu", (unsigned long long)i);
        key[size] = '\0';
        memset(key + size + 1, 0, 16);
        memcpy(row, one.bytes, 8);
        memcpy(row + 8, event.bytes, 8);
        cr_assert_eq(table_put(&txn, EVENTS_SOURCES, span_of(key, (size_t)size + 17),
                               span_of(row, sizeof row)),
                     STATUS_OK);
    }
    cr_expect_eq(last_of(&txn, "s000007", 0), 1);
    struct source_position at = position("newcomer", 0, 1);
    cr_assert_eq(sources_put(&txn, &at, 100000), STATUS_OK);
    cr_expect_eq(last_of(&txn, "newcomer", 0), 1);
    for (uint64_t i = 0; i < SOURCES_MAX; i++) {
        snprintf(name, sizeof name, "s%06llu", (unsigned long long)i);
        cr_expect_eq(last_of(&txn, name, 0), i == 7 ? 0 : 1, "%s", name);
    }
    db_end(&txn);
}
