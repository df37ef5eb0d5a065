/* What is put arrives, once, in order, whoever fails on the way. */
#include "common/outbox/outbox.h"
#include "common/outbox/outbox_state.h"

#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/db/table.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/outbox/outbox_scene.h"

TestSuite(outbox, .init = scene_open, .fini = scene_close, .timeout = 60);

/* By what eventd has answered; the reason is kept until it takes events again. */
static void until_refused(enum outbox_state state)
{
    for (int i = 0; i < 6000 && strcmp(scene.outbox.reason, "told to refuse") != 0; i++)
        run_ms(10);
    cr_assert_str_eq(scene.outbox.reason, "told to refuse");
    cr_assert_eq(outbox_state(&scene.outbox), state);
}

Test(outbox, everything_arrives_once_and_is_removed)
{
    eventd_start();
    outbox_put_many(1);
    outbox_put_many(1000);
    until_taken(1001);
    cr_assert_eq(outbox_state(&scene.outbox), OUTBOX_EMPTY);
    run_ms(1200);
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t count;
    cr_assert_eq(db_begin_read(&scene.db, &txn), STATUS_OK);
    cr_assert_eq(table_count(&txn, TOKENS_OUTBOX, &count), STATUS_OK);
    cr_assert_eq(count, 0);
}

Test(outbox, what_eventd_could_not_take_waits_for_it)
{
    outbox_put_many(700);
    run_ms(50);
    cr_assert_eq(outbox_state(&scene.outbox), OUTBOX_WAITING);
    cr_assert(outbox_is_settled(&scene.outbox));
    cr_assert_eq(outbox_waiting(&scene.outbox), 700);
    eventd_start();
    until_taken(700);
    eventd_stop();
    outbox_put_many(5);
    run_ms(50);
    eventd_start();
    until_taken(705);
}

/* The owner dies before it has removed what eventd has: it is sent again, and taken once. */
Test(outbox, a_restart_of_the_owner_doubles_and_loses_nothing)
{
    eventd_start();
    for (int round = 1; round <= 5; round++) {
        outbox_put_many(100);
        while (scene.taken < (uint64_t)round * 100 - 50)
            run_ms(1);
        outbox_close(&scene.outbox);
        outbox_start();
    }
    until_taken(500);
}

Test(outbox, an_aborted_turn_leaves_no_trace)
{
    eventd_start();
    cr_assert_eq(db_begin_write(&scene.db, &scene.txn), STATUS_OK);
    const struct event_append_request event = { .type = "capability_granted",
                                                .tenant = "",
                                                .subject = "token/x" };
    cr_assert_eq(outbox_put(&scene.outbox, &scene.txn, &event), STATUS_OK);
    db_end(&scene.txn);
    outbox_turn_ended(&scene.outbox, false);
    outbox_put_many(3);
    until_taken(3);
}

Test(outbox, a_refusal_is_shown_and_nothing_is_skipped)
{
    scene.refusal = STATUS_DATA_LOSS;
    eventd_start();
    outbox_put_many(2);
    until_refused(OUTBOX_REFUSED);
    cr_assert_eq(outbox_waiting(&scene.outbox), 2);
    scene.refusal = STATUS_OK;
    outbox_close(&scene.outbox);
    outbox_start();
    until_taken(2);
}

/* Out of space, say: tried again after a second, by itself. */
Test(outbox, a_passing_refusal_is_tried_again)
{
    scene.refusal = STATUS_RESOURCE_EXHAUSTED;
    eventd_start();
    outbox_put_many(2);
    until_refused(OUTBOX_WAITING);
    scene.refusal = STATUS_OK;
    until_taken(2);
}

/* A batch is a commit of eventd on the disk that the owner's next commit waits for. */
Test(outbox, few_rows_wait_for_the_next_batch_and_many_do_not)
{
    eventd_start();
    outbox_put_many(1);
    until_taken(1);
    unsigned requests = scene.requests;
    ev_timer_stop(scene.loop, &scene.outbox.pace);
    ev_timer_set(&scene.outbox.pace, 3600, 0);
    ev_timer_start(scene.loop, &scene.outbox.pace);
    outbox_put_many(5);
    run_ms(50);
    cr_assert_eq(scene.requests, requests);
    ev_timer_stop(scene.loop, &scene.outbox.pace);
    ev_invoke(scene.loop, &scene.outbox.pace, EV_TIMER);
    until_taken(6);
    cr_assert_eq(scene.requests, requests + 1);
    ev_timer_stop(scene.loop, &scene.outbox.pace);
    ev_timer_set(&scene.outbox.pace, 3600, 0);
    ev_timer_start(scene.loop, &scene.outbox.pace);
    outbox_put_many(OUTBOX_BATCH_MAX);
    until_taken(6 + OUTBOX_BATCH_MAX);
    cr_assert_eq(scene.requests, requests + 2);
    outbox_put_many(1); /* and an owner that is being stopped waits for nothing */
    outbox_flush(&scene.outbox);
    until_taken(7 + OUTBOX_BATCH_MAX);
}

/* A failure makes it wait for a second; a stop does not. */
Test(outbox, a_flush_sends_at_once_and_gives_up_in_time)
{
    eventd_start();
    outbox_put_many(1);
    until_taken(1);
    scene.refusal = STATUS_RESOURCE_EXHAUSTED;
    outbox_put_many(2);
    for (int i = 0; i < 1000 && outbox_state(&scene.outbox) != OUTBOX_WAITING; i++)
        run_ms(5);
    scene.refusal = STATUS_OK;
    cr_assert(outbox_is_settled(&scene.outbox));
    outbox_flush(&scene.outbox);
    cr_assert_not(outbox_is_settled(&scene.outbox));
    for (int i = 0; i < 1000 && !outbox_is_settled(&scene.outbox); i++)
        run_ms(1);
    cr_assert_eq(scene.taken, 3);
    eventd_stop();
    outbox_put_many(2);
    run_ms(50);
    outbox_flush(&scene.outbox);
    for (int i = 0; i < 4000 && !outbox_is_settled(&scene.outbox); i++)
        run_ms(5);
    cr_assert(outbox_is_settled(&scene.outbox), "nobody is there");
    cr_assert_eq(outbox_waiting(&scene.outbox), 2);
}

Test(outbox, has_a_bound)
{
    cr_assert(outbox_has_room(&scene.outbox, OUTBOX_ROWS_MAX));
    cr_assert_not(outbox_has_room(&scene.outbox, OUTBOX_ROWS_MAX + 1));
    outbox_put_many(1000);
    cr_assert(outbox_has_room(&scene.outbox, OUTBOX_ROWS_MAX - 1000));
    cr_assert_not(outbox_has_room(&scene.outbox, OUTBOX_ROWS_MAX - 999));
}

Test(outbox, a_missing_row_is_damage)
{
    outbox_put_many(3);
    outbox_close(&scene.outbox);
    struct table_number position = table_number(2);
    cr_assert_eq(db_begin_write(&scene.db, &scene.txn), STATUS_OK);
    cr_assert_eq(table_delete(&scene.txn, TOKENS_OUTBOX, table_number_key(&position)), STATUS_OK);
    cr_assert_eq(db_commit(&scene.txn), STATUS_OK);
    const struct outbox_options options = outbox_options();
    cr_assert_eq(outbox_open(&scene.outbox, &options), STATUS_DATA_LOSS);
}
