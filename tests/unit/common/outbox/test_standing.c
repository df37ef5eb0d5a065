/* What the store knows of the log and the log of the store: which of them is older, or of another
 * Solo, and what is then sent under which numbers. */
#include "common/outbox/standing.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/outbox/outbox_state.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/outbox/outbox_scene.h"

TestSuite(standing, .init = scene_open, .fini = scene_close, .timeout = 60);

static void expect_known(uint64_t wanted)
{
    struct outbox_standing standing = { 0 };
    for (int i = 0; i < 1000 && standing.known_id != wanted; i++) {
        AUTO(db_end) struct db_txn txn = { 0 };
        cr_assert_eq(db_begin_read(&scene.db, &txn), STATUS_OK);
        cr_assert_eq(outbox_standing_read(&txn, &standing), STATUS_OK);
        db_end(&txn);
        run_ms(20);
    }
    cr_assert_eq(standing.known_id, wanted);
}

/* While it is not known how far the log is, rows that are there keep their source and new ones
 * begin at 1: their numbers may be taken. */
Test(standing, what_is_put_before_the_log_was_reached_is_numbered_anew)
{
    outbox_put_many(3);
    outbox_close(&scene.outbox);
    outbox_start();
    outbox_put_many(4);
    eventd_start();
    until_taken(7);
    cr_assert_eq(scene.sources[0].last, 3);
    cr_assert_eq(scene.sources[1].last, 4);
    expect_known(7); /* or events of the first source would be of another copy to the next owner */
}

Test(standing, a_store_that_is_as_far_as_the_log_goes_on_counting)
{
    eventd_start();
    outbox_put_many(3);
    until_taken(3);
    run_ms(1200); /* and they are removed */
    for (int i = 0; i < 3; i++) {
        outbox_close(&scene.outbox);
        outbox_start();
        run_ms(100);
        outbox_put_many(2);
        until_taken(5 + 2 * (uint64_t)i);
    }
    cr_assert_eq(scene.sources[0].last, 9);
}

/* The log has numbers that this copy never gave: those rows that it has, too, are not sent again,
 * and what is put now does not meet what the other copy has put. */
Test(standing, an_older_copy_of_the_store_does_not_use_numbers_twice)
{
    outbox_put_many(5);
    outbox_close(&scene.outbox);
    struct span first = span_of(scene.outbox.incarnation, 16);
    *eventd_last_of(first) = 9;
    scene.refusal = STATUS_OK;
    outbox_start();
    eventd_start();
    for (int i = 0; i < 600 && outbox_waiting(&scene.outbox) > 0; i++)
        run_ms(100);
    cr_assert_eq(outbox_waiting(&scene.outbox), 0, "the log has them");
    cr_assert_eq(scene.requests, 0);
    outbox_put_many(4);
    until_taken(4);
    cr_assert_eq(scene.sources[0].last, 9);
    cr_assert_eq(scene.sources[1].last, 4);
}

static uint64_t compared_id;
static unsigned compared;
static bool is_taken_over;

static void on_compare(void *context, uint64_t known_id)
{
    (void)context;
    compared_id = known_id;
    compared++;
    if (is_taken_over) {
        outbox_take_over(&scene.outbox);
        outbox_release(&scene.outbox);
    }
}

Test(standing, nothing_is_sent_before_the_owner_has_compared)
{
    outbox_close(&scene.outbox);
    struct outbox_options options = outbox_options();
    options.compare = on_compare;
    cr_assert_eq(outbox_open(&scene.outbox, &options), STATUS_OK);
    eventd_start();
    outbox_put_many(3);
    for (int i = 0; i < 1000 && compared == 0; i++)
        run_ms(5);
    run_ms(50);
    outbox_flush(&scene.outbox); /* the owner shall stop before it is through */
    run_ms(50);
    cr_assert_eq(compared, 1);
    cr_assert_eq(compared_id, 0);
    cr_assert_eq(scene.requests, 0);
    outbox_release(&scene.outbox);
    until_taken(3);
}

static void expect_kept(const char *wanted)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span anchor;
    cr_assert_eq(db_begin_read(&scene.db, &txn), STATUS_OK);
    cr_assert_eq(log_witness_anchor(&txn, &anchor), STATUS_OK);
    cr_expect(span_equal(anchor, span_of_text(wanted)), "%.*s", (int)anchor.size,
              (const char *)anchor.data);
}

static void until_shown(bool is_agreed)
{
    for (int i = 0; i < 12000 && scene.outbox.witness.is_shown != is_agreed; i++)
        run_ms(5);
    cr_assert_eq(scene.outbox.witness.is_shown, is_agreed);
}

/* The store keeps what eventd told of the log, with the rows, and shows it to the next one. */
Test(standing, an_anchor_is_kept_with_the_rows_and_shown)
{
    eventd_start();
    until_shown(true);
    expect_kept(""); /* no commit of its own */
    outbox_put_many(2);
    expect_kept("after 0");
    until_taken(2);
    outbox_put_many(1);
    expect_kept("after 2");
    until_taken(3);
    outbox_close(&scene.outbox);
    outbox_start();
    until_shown(true);
    cr_expect_str_eq(scene.shown, "after 2");
}

Test(standing, a_forked_log_gives_no_anchor_and_gets_no_events)
{
    eventd_start();
    until_shown(true);
    outbox_put_many(1);
    until_taken(1);
    eventd_stop();
    run_ms(20);
    cr_expect_not(scene.outbox.witness.is_shown);
    scene.is_forked = true;
    scene.shown[0] = '\0';
    eventd_start();
    for (int i = 0; i < 4000 && scene.shown[0] == '\0'; i++)
        run_ms(5);
    outbox_put_many(2);
    run_ms(50);
    cr_expect_eq(scene.taken, 1, "the right log would miss them");
    cr_expect(outbox_is_settled(&scene.outbox));
    expect_kept("after 1");
    scene.is_forked = false; /* it is resolved */
    until_shown(true);
    until_taken(3);
}

static void expect_log(const char *wanted)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span log;
    cr_assert_eq(db_begin_read(&scene.db, &txn), STATUS_OK);
    cr_assert_eq(log_witness_log(&txn, &log), STATUS_OK);
    cr_assert(span_equal(log, span_of_text(wanted)), "%.*s", (int)log.size, (const char *)log.data);
}

static void until_compared(const char *log)
{
    struct outbox_options options = outbox_options();
    options.compare = on_compare;
    outbox_close(&scene.outbox);
    snprintf(scene.log, sizeof scene.log, "%s", log);
    compared = 0;
    cr_assert_eq(outbox_open(&scene.outbox, &options), STATUS_OK);
    for (int i = 0; i < 6000 && compared == 0; i++)
        run_ms(5);
    cr_assert_eq(compared, 1);
}

static const char first_log[] = "log of this Solo", other_log[] = "another Solo's..";

/* Before anything was put: so that no store whose events a log has is without it. */
Test(standing, the_first_log_that_is_met_is_remembered_with_a_commit_of_its_own)
{
    eventd_start();
    until_compared(first_log);
    expect_log("");
    outbox_release(&scene.outbox);
    for (int i = 0; i < 6000 && scene.outbox.witness.is_log_new; i++)
        run_ms(5);
    expect_log(first_log);
    until_compared(first_log);
    cr_expect_not(outbox_is_foreign(&scene.outbox));
}

/* A kill between the answer and the commit. */
Test(standing, a_log_that_was_met_and_not_noted_is_met_again)
{
    eventd_start();
    outbox_put_many(1);
    until_compared(other_log);
    until_compared(first_log);
    cr_expect_not(outbox_is_foreign(&scene.outbox));
    outbox_release(&scene.outbox);
    until_taken(1);
    for (int i = 0; i < 6000 && scene.outbox.witness.is_log_new; i++)
        run_ms(5);
    expect_log(first_log);
}

static void belong_to(const char *log)
{
    eventd_start();
    until_compared(log);
    outbox_release(&scene.outbox);
    outbox_put_many(2);
    until_taken(2);
    outbox_put_many(1); /* keeps an anchor */
    until_taken(3);
    eventd_stop();
    run_ms(20);
    outbox_put_many(1);
    expect_log(log);
}

static void belong_to_first_log(void)
{
    belong_to(first_log);
}

/* From before stores knew their log by its id. */
Test(standing, a_store_without_a_log_is_of_none_that_has_nothing_of_what_others_took)
{
    belong_to("");
    memset(scene.sources, 0, sizeof scene.sources);
    scene.of_none = 0;
    eventd_start();
    until_compared(other_log);
    cr_expect(outbox_is_foreign(&scene.outbox));
    expect_log("");
}

Test(standing, a_store_that_belongs_to_another_log_is_foreign_and_sends_nothing)
{
    belong_to_first_log();
    eventd_start();
    until_compared(other_log);
    cr_expect(outbox_is_foreign(&scene.outbox));
    outbox_put_many(1); /* what takes something away is put all the same */
    expect_log(first_log);
    for (int i = 0; i < 4000 && scene.shown[0] == '\0'; i++)
        run_ms(5);
    cr_expect_str_eq(scene.shown, "after 3", "either may be the wrong one");
    run_ms(50);
    cr_expect_eq(scene.taken, 3);
    outbox_put_many(1);
    expect_kept("after 3");
    until_compared(first_log);
    cr_expect_not(outbox_is_foreign(&scene.outbox));
    outbox_release(&scene.outbox);
    until_taken(6);
}

/* What waited has numbers that go on from what the other log has. */
Test(standing, a_foreign_store_that_is_taken_all_the_same_begins_anew)
{
    belong_to_first_log();
    memset(scene.sources, 0, sizeof scene.sources);
    scene.of_none = 0;
    eventd_start();
    scene.shown[0] = '?';
    is_taken_over = true;
    until_compared(other_log);
    is_taken_over = false;
    cr_expect_eq(outbox_waiting(&scene.outbox), 0);
    outbox_put_many(2);
    expect_log(other_log);
    until_taken(5);
    for (int i = 0; i < 4000 && scene.shown[0] == '?'; i++)
        run_ms(5);
    cr_expect_str_eq(scene.shown, "");
    until_compared(other_log);
    cr_expect_not(outbox_is_foreign(&scene.outbox));
    cr_expect_leq(compared_id, 5);
    outbox_release(&scene.outbox);
    outbox_put_many(1);
    until_taken(6);
}

static void belong_to_first_log_and_meet_a_forked_one(void)
{
    belong_to_first_log();
    memset(scene.sources, 0, sizeof scene.sources);
    scene.is_forked = true;
    eventd_start();
    scene.shown[0] = '\0';
    until_compared(other_log);
    outbox_release(&scene.outbox);
    for (int i = 0; i < 4000 && scene.shown[0] == '\0'; i++)
        run_ms(5);
    cr_expect_str_eq(scene.shown, "after 3");
    outbox_put_many(1);
    run_ms(50);
    cr_expect_eq(scene.taken, 3);
    expect_log(first_log);
}

/* The log was the wrong one of the two. */
Test(standing, a_foreign_store_that_goes_on_is_as_it_was_when_its_log_comes_back)
{
    struct outbox_standing standing;
    uint64_t known_id;
    belong_to_first_log_and_meet_a_forked_one();
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        cr_assert_eq(db_begin_read(&scene.db, &txn), STATUS_OK);
        cr_assert_eq(outbox_standing_read(&txn, &standing), STATUS_OK);
        known_id = standing.known_id;
    }
    cr_expect_eq(known_id, 3);
    memset(scene.sources, 0, sizeof scene.sources);
    scene.is_forked = false;
    until_compared(first_log);
    cr_expect_not(outbox_is_foreign(&scene.outbox));
    cr_expect_not(outbox_is_older(&scene.outbox));
}

/* It was resolved: from then on the store belongs to this one. */
Test(standing, a_foreign_store_belongs_to_the_log_that_is_kept)
{
    belong_to_first_log_and_meet_a_forked_one();
    scene.is_forked = false;
    for (int i = 0; i < 12000 && scene.outbox.witness.is_log_new + scene.outbox.is_foreign > 0; i++)
        run_ms(5);
    expect_log(other_log);
    until_compared(other_log);
    cr_expect_not(outbox_is_foreign(&scene.outbox));
}
