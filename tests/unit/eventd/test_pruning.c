/* A log that begins later: what is still needed stays, everything else is as in a whole log. */
#include "eventd/pruning.h"

#include <stdio.h>
#include <string.h>

#include "common/api/records/event_log.h"
#include "common/api/records/log_branch.h"
#include "common/api/records/log_cut.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "eventd/retention_policy.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_cutting.h"
#include "tests/unit/eventd/log_fixture.h"

enum { NOTES = 200 };
static uint64_t first_note, deployed, replaced, killed;

/* What deployd tells, and many notes about many things between. */
static void fill_log(void)
{
    struct rpc_call deployd = call_of_daemon("deployd"), operator= call_of_operator();
    struct event_append_request tenant =
        request_of("tenant_created", "acme", "tenant/acme", payload_index(0));
    must_append(&deployd, &tenant);
    struct event_append_request deploy =
        request_of("service_deployed", "acme", "service/acme/api", payload_deploy("one"));
    replaced = must_append(&deployd, &deploy);
    deploy.payload = payload_deploy("two");
    deployed = must_append(&deployd, &deploy);
    deploy.subject = "service/acme/gone";
    must_append(&deployd, &deploy);
    struct event_append_request kill =
        request_of("service_killed", "acme", "service/acme/gone", (struct span){ 0 });
    killed = must_append(&deployd, &kill);
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    for (int i = 0; i < NOTES; i++) {
        char subject[32];
        struct append_outcome outcome;
        snprintf(subject, sizeof subject, "note/%d", i / 2);
        struct event_append_request note =
            request_of("app.note", "acme", subject, payload_text("x"));
        cr_assert_eq(appending_run(&store, &operator, & note, 1, &outcome), STATUS_OK);
        if (i == 0)
            first_note = outcome.first_id;
    }
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
}

static void set_up(void)
{
    fixture_open();
    fill_log();
}

TestSuite(pruning, .init = set_up, .fini = fixture_close, .timeout = 60);

static bool is_there(uint64_t id)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    enum status status = event_log_read(&txn, id, &arena, &event);
    cr_assert(status == STATUS_OK || status == STATUS_NOT_FOUND);
    return status == STATUS_OK;
}

static uint64_t head_of(enum head_kind kind, const char *text)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t id, in_memory;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_head(&txn, kind, text, &id), STATUS_OK);
    cr_assert_eq(late_rows_find_head(&store.late, &txn, kind, text, &in_memory), STATUS_OK);
    cr_assert_eq(id, in_memory);
    return id;
}

static void expect_whole(uint64_t cut)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct live_row row;
    uint64_t first, last, checked;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_first(&txn, &first), STATUS_OK);
    cr_assert_eq(first, cut + 1);
    cr_assert_eq(event_log_last(&txn, &last), STATUS_OK);
    cr_assert_eq(event_log_verify(&txn, 1, UINT64_MAX, &checked), STATUS_OK);
    cr_assert_eq(checked, last - cut);
    cr_assert_eq(live_find(&txn, "acme", "api", &row), STATUS_OK);
    cr_assert_eq(row.generation, deployed);
    cr_assert_eq(live_find(&txn, "acme", "gone", &row), STATUS_NOT_FOUND);
}

Test(pruning, what_is_needed_stays_and_the_rest_goes)
{
    uint64_t cut = first_note + NOTES / 2;
    fixture_cut(cut);
    expect_whole(cut);
    uint64_t removed = fixture_prune();
    expect_whole(cut);
    cr_assert(is_there(1), "the tenant");
    cr_assert(is_there(replaced), "what is fallen back to");
    cr_assert(is_there(deployed), "what is wanted");
    cr_assert(is_there(killed), "the newest of its type");
    cr_assert_not(is_there(first_note));
    cr_assert(is_there(cut + 1));
    cr_assert_eq(removed, cut - 5);
    cr_assert_eq(fixture_prune(), 0, "once is enough");
    fixture_reopen();
    expect_whole(cut);
}

Test(pruning, heads_and_links_end_at_the_cut)
{
    uint64_t cut = first_note + 20; /* of a pair, the first is gone and the second left */
    char subject[32];
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    fixture_cut(cut);
    for (int pruned = 0; pruned < 2; pruned++) {
        AUTO(db_end) struct db_txn txn = { 0 };
        struct event event;
        cr_assert_eq(head_of(HEAD_OF_SUBJECT, "note/0"), pruned ? 0 : first_note + 1);
        snprintf(subject, sizeof subject, "note/%d", 10);
        cr_assert_eq(head_of(HEAD_OF_SUBJECT, subject), cut + 1);
        cr_assert_eq(head_of(HEAD_OF_TYPE, "service_killed"), killed);
        cr_assert_eq(head_of(HEAD_OF_SUBJECT, "service/acme/api"), deployed);
        cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
        cr_assert_eq(event_log_read(&txn, cut + 1, &arena, &event), STATUS_OK);
        cr_assert_eq(event.previous_of_subject, 0);
        cr_assert_eq(event.previous_of_type, 0);
        db_end(&txn);
        if (!pruned)
            fixture_prune();
    }
}

/* From the state at the cut on, like from event 1. */
Test(pruning, what_is_wanted_can_be_folded_anew)
{
    uint64_t cut = first_note + 50, events;
    fixture_cut(cut);
    fixture_prune();
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(event_store_fold(&store, &events), STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    expect_whole(cut);
}

Test(pruning, a_log_is_cut_again_and_again)
{
    struct rpc_call deployd = call_of_daemon("deployd");
    for (uint64_t cut = first_note; cut < first_note + NOTES; cut += 40) {
        fixture_cut(cut);
        fixture_prune();
        expect_whole(cut);
    }
    struct event_append_request kill =
        request_of("service_killed", "acme", "service/acme/api", (struct span){ 0 });
    uint64_t last = must_append(&deployd, &kill);
    fixture_cut(last);
    must_append(&deployd, &kill);
    fixture_prune();
    cr_assert_not(is_there(deployed), "nobody needs it any more");
    cr_assert_not(is_there(replaced));
    cr_assert(is_there(last), "the newest of its type");
}

/* The log has it, though not here. */
Test(pruning, what_others_know_from_before_the_cut_is_no_fork)
{
    struct log_branch branch;
    struct log_anchor anchor = { .id = first_note };
    struct log_cut cut;
    bool holds;
    fixture_cut(first_note + 10);
    fixture_prune();
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(log_branch_read(&txn, &branch), STATUS_OK);
    cr_assert_eq(log_cut_read(&txn, &cut), STATUS_OK);
    memcpy(anchor.branch, branch.id, sizeof anchor.branch);
    cr_assert_eq(log_branch_holds(&txn, &branch, &anchor, &holds), STATUS_OK);
    cr_assert(holds);
    anchor.id = cut.id;
    cr_assert_eq(log_branch_holds(&txn, &branch, &anchor, &holds), STATUS_OK);
    cr_assert_not(holds, "another event than the one that was archived");
    anchor.hash = cut.hash;
    cr_assert_eq(log_branch_holds(&txn, &branch, &anchor, &holds), STATUS_OK);
    cr_assert(holds);
    anchor.id = cut.id + 1;
    cr_assert_eq(log_branch_holds(&txn, &branch, &anchor, &holds), STATUS_OK);
    cr_assert_not(holds);
}

/* --- damage --- */

Test(pruning, nothing_is_removed_when_the_state_is_damaged)
{
    struct pruning pruning = { 0 };
    fixture_cut(first_note + 10);
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(log_cut_put_part(&store.txn, first_note + 10, 0, span_of_text("wrong")),
                 STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    cr_assert_eq(pruning_open(&pruning, &store), STATUS_DATA_LOSS);
    pruning_close(&pruning);
    cr_assert(is_there(first_note));
}

Test(pruning, a_state_that_was_begun_and_not_cut_at_is_dropped)
{
    AUTO(buffer_close) struct buffer state = { .limit = LOG_STATE_BYTES_MAX };
    struct log_cut never = { .id = 7, .state = hash_of(span_of_text("part")), .state_bytes = 4 };
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(log_cut_begin_state(&store.txn, 7, 4), STATUS_OK);
    cr_assert_eq(log_cut_put_part(&store.txn, 7, 0, span_of_text("part")), STATUS_OK);
    cr_assert_eq(log_cut_read_state(&store.txn, &never, &state), STATUS_OK);
    cr_assert_eq(log_cut_drop_begun(&store.txn), STATUS_OK);
    cr_assert_eq(log_cut_read_state(&store.txn, &never, &state), STATUS_DATA_LOSS);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
}

/* --- what may go --- */

static uint64_t find_last(struct retention_policy policy, bool is_asked, uint64_t now_ns)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t last;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(retention_find_last(&txn, &policy, is_asked, now_ns, &last), STATUS_OK);
    return last;
}

static bool is_due(struct retention_policy policy, uint64_t now_ns)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    bool due;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(retention_is_due(&txn, &policy, now_ns, &due), STATUS_OK);
    return due;
}

Test(pruning, the_policy_lets_go_what_is_beyond_a_number_or_an_age)
{
    static const uint64_t hour_ms = 3600000, ms = 1000000;
    uint64_t now = clock_wall_ns(), later = now + 30 * hour_ms * ms;
    struct retention_policy none = retention_policy_of(0, 0);
    struct retention_policy by_count = retention_policy_of(50, 0);
    struct retention_policy by_age = retention_policy_of(0, 2 * hour_ms);
    cr_assert_eq(event_store_write_late_rows(&store), STATUS_OK);
    cr_assert_eq(find_last(none, true, later), 0);
    cr_assert_eq(find_last(by_count, true, now), store.committed_id - 50);
    cr_assert_eq(find_last(by_count, false, now), 0, "the last day stays");
    cr_assert_eq(find_last(by_count, false, later), store.committed_id - 50);
    cr_assert_eq(find_last(by_age, true, now), 0);
    cr_assert_eq(find_last(by_age, true, later), store.committed_id);
    cr_assert_eq(find_last(retention_policy_of(1000000, 0), true, later), 0);
    cr_assert(is_due(by_count, now));
    cr_assert_not(is_due(retention_policy_of(store.committed_id - 3, 0), now), "not worth it yet");
    cr_assert_not(is_due(by_age, now + 25 * hour_ms * ms), "a day of them is to come together");
    cr_assert(is_due(by_age, later));
    fixture_cut(first_note + 50);
    cr_assert_eq(find_last(retention_policy_of(NOTES, 0), true, later), 0, "they went already");
}

/* Behind what heads and requests speak of nothing may go. */
Test(pruning, what_is_late_stays)
{
    cr_assert_lt(store.late.written, store.committed_id);
    cr_assert_eq(find_last(retention_policy_of(1, 0), true, clock_wall_ns()), store.late.written);
}

/* A cut that came to nothing is not where the log begins for the turns after it. */
Test(pruning, a_cut_that_is_given_up_is_forgotten)
{
    const struct log_cut cut = { .id = first_note };
    uint64_t id;
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(log_cut_write(&store.txn, &cut), STATUS_OK);
    cr_assert_eq(log_cut_id(&store.txn, &id), STATUS_OK);
    cr_assert_eq(id, first_note);
    event_store_abort(&store);
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(log_cut_id(&store.txn, &id), STATUS_OK);
    cr_expect_eq(id, 0);
    event_store_abort(&store);
}
