/* The outbox against an eventd that this test plays: it takes what comes in order, knows what it
 * has taken, and refuses, forgets to answer or is away as told. */
#include "common/outbox/outbox.h"
#include "common/outbox/standing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/unix_socket.h"
#include "common/db/table.h"
#include "common/rpc/server.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

enum { SOURCES = 8 };

static struct {
    struct ev_loop *loop;
    struct db db;
    struct db_txn txn;
    struct outbox outbox;
    struct rpc_server *server;
    char socket[4096];
    /* eventd */
    struct {
        uint8_t incarnation[16];
        uint64_t last;
    } sources[SOURCES];
    uint64_t taken, requests, siblings_id;
    enum status refusal;
    char shown[65]; /* the anchor that came last, as text */
    bool is_forked;
} scene;

static uint64_t *last_of(struct span incarnation)
{
    static const uint8_t none[16];
    static uint64_t nothing_yet;
    if (memcmp(incarnation.data, none, 16) == 0)
        return &nothing_yet;
    for (int i = 0; i < SOURCES; i++) {
        if (memcmp(scene.sources[i].incarnation, none, 16) == 0)
            memcpy(scene.sources[i].incarnation, incarnation.data, 16);
        if (memcmp(scene.sources[i].incarnation, incarnation.data, 16) == 0)
            return &scene.sources[i].last;
    }
    cr_assert_fail("too many incarnations");
    return NULL;
}

/* Takes a number once: what was there before is passed over, a gap is refused. */
static enum status take(struct rpc_call *call, struct span map)
{
    struct event_append_request item = { 0 };
    cr_assert_eq(
        fields_decode(method_event_append.request, map, call->arena, &item, &call->problem),
        STATUS_OK, "%s: %s", call->problem.field, call->problem.message);
    uint64_t *last = last_of(item.incarnation);
    if (item.source_number > *last + 1)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "source_number", "a gap");
    if (item.source_number == *last + 1) {
        *last = item.source_number;
        scene.taken++;
    }
    return STATUS_OK;
}

static struct span anchor_now(void);

static enum status handle_batch(void *context, struct rpc_call *call, const void *request_,
                                void *reply_)
{
    (void)context;
    const struct event_append_batch_request *request = request_;
    struct event_append_batch_reply *reply = reply_;
    struct reader reader = reader_of(request->events);
    uint32_t count;
    scene.requests++;
    if (scene.refusal != STATUS_OK)
        return problem_set(&call->problem, scene.refusal, "", "told to refuse");
    cr_assert_eq(reader_array(&reader, &count), STATUS_OK);
    reply->first_id = scene.taken + 1;
    cr_assert_leq(count, OUTBOX_BATCH_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        cr_assert_eq(reader_any(&reader, &map), STATUS_OK);
        TRY(take(call, map));
    }
    reply->last_id = scene.taken;
    if (!scene.is_forked)
        reply->anchor = anchor_now();
    return STATUS_OK;
}

static enum status handle_source(void *context, struct rpc_call *call, const void *request_,
                                 void *reply_)
{
    (void)context;
    const struct event_source_request *request = request_;
    struct event_source_reply *reply = reply_;
    if (scene.refusal != STATUS_OK)
        return problem_set(&call->problem, scene.refusal, "", "told to refuse");
    reply->last = *last_of(request->incarnation);
    reply->siblings_id = scene.siblings_id;
    return STATUS_OK;
}

/* An anchor is bytes to the outbox: here what was taken so far, as text. */
static struct span anchor_now(void)
{
    static char text[32];
    snprintf(text, sizeof text, "after %lu", scene.taken);
    return span_of_text(text);
}

static enum status handle_anchor(void *context, struct rpc_call *call, const void *request_,
                                 void *reply_)
{
    (void)context, (void)call;
    const struct event_anchor_request *request = request_;
    struct event_anchor_reply *reply = reply_;
    snprintf(scene.shown, sizeof scene.shown, "%.*s", (int)request->anchor.size,
             (const char *)request->anchor.data);
    reply->is_forked = scene.is_forked;
    if (!scene.is_forked)
        reply->anchor = anchor_now();
    return STATUS_OK;
}

static enum status everybody(void *access, struct rpc_call *call, struct span token)
{
    (void)access, (void)call, (void)token;
    return STATUS_OK;
}

static enum status nothing(void *context)
{
    (void)context;
    return STATUS_OK;
}

static const struct rpc_route routes[] = {
    { &method_event_append_batch, handle_batch },
    { &method_event_source, handle_source },
    { &method_event_anchor, handle_anchor },
    { NULL, NULL },
};
static const struct rpc_service service = {
    .routes = routes, .authorise = everybody, .begin = nothing, .commit = nothing
};

static void eventd_start(void)
{
    int listener;
    unlink(scene.socket);
    cr_assert_eq(unix_socket_listen(scene.socket, 0600, &listener), STATUS_OK);
    cr_assert_eq(rpc_server_open(&scene.server, scene.loop, &service, listener), STATUS_OK);
}

static void eventd_stop(void)
{
    rpc_server_close(&scene.server);
    unlink(scene.socket);
}

/* --- the owner --- */

static void turn_end(void)
{
    cr_assert_eq(outbox_finish_turn(&scene.outbox, &scene.txn), STATUS_OK);
    cr_assert_eq(db_commit(&scene.txn), STATUS_OK);
    outbox_turn_ended(&scene.outbox, true);
}

static void on_remove(void *context)
{
    (void)context;
    cr_assert_eq(db_begin_write(&scene.db, &scene.txn), STATUS_OK);
    turn_end();
}

static void outbox_start(void)
{
    const struct outbox_options options = {
        .loop = scene.loop,
        .db = &scene.db,
        .table = TOKENS_OUTBOX,
        .daemon = "tokend",
        .eventd_path = scene.socket,
        .remove = on_remove,
    };
    cr_assert_eq(outbox_open(&scene.outbox, &options), STATUS_OK);
}

static void put_many(int count)
{
    cr_assert_eq(db_begin_write(&scene.db, &scene.txn), STATUS_OK);
    for (int i = 0; i < count; i++) {
        const struct event_append_request event = { .type = "capability_granted",
                                                    .tenant = "acme",
                                                    .subject = "token/x" };
        cr_assert_eq(outbox_put(&scene.outbox, &scene.txn, &event), STATUS_OK);
    }
    turn_end();
}

static void open_scene(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    scene.loop = ev_loop_new(EVFLAG_NOENV);
    snprintf(scene.socket, sizeof scene.socket, "%s", scratch_path("eventd.sock"));
    cr_assert_eq(db_open_writer(&scene.db, &tokens_schema, scratch_path("tokens")), STATUS_OK);
    outbox_start();
}

static void close_scene(void)
{
    outbox_close(&scene.outbox);
    rpc_server_close(&scene.server);
    db_close(&scene.db);
    ev_loop_destroy(scene.loop);
    scratch_remove();
}

TestSuite(outbox, .init = open_scene, .fini = close_scene, .timeout = 60);

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void run_ms(unsigned ms)
{
    struct ev_timer timer;
    ev_timer_init(&timer, on_tick, ms / 1e3, 0);
    ev_now_update(scene.loop);
    ev_timer_start(scene.loop, &timer);
    ev_run(scene.loop, 0);
    ev_timer_stop(scene.loop, &timer);
}

static void until_taken(uint64_t count)
{
    for (uint64_t end = clock_boottime_ns() + 60000000000u; scene.taken < count;) {
        run_ms(5);
        cr_assert_lt(clock_boottime_ns(), end, "%lu of %lu", scene.taken, count);
    }
    for (int i = 0; outbox_waiting(&scene.outbox) > 0 && i < 12000; i++)
        run_ms(5);
    cr_assert_eq(scene.taken, count);
    cr_assert_eq(outbox_waiting(&scene.outbox), 0);
}

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
    put_many(1);
    put_many(1000);
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
    put_many(700);
    run_ms(50);
    cr_assert_eq(outbox_state(&scene.outbox), OUTBOX_WAITING);
    cr_assert(outbox_is_settled(&scene.outbox));
    cr_assert_eq(outbox_waiting(&scene.outbox), 700);
    eventd_start();
    until_taken(700);
    eventd_stop();
    put_many(5);
    run_ms(50);
    eventd_start();
    until_taken(705);
}

/* The owner dies before it has removed what eventd has: it is sent again, and taken once. */
Test(outbox, a_restart_of_the_owner_doubles_and_loses_nothing)
{
    eventd_start();
    for (int round = 1; round <= 5; round++) {
        put_many(100);
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
    put_many(3);
    until_taken(3);
}

Test(outbox, a_refusal_is_shown_and_nothing_is_skipped)
{
    scene.refusal = STATUS_DATA_LOSS;
    eventd_start();
    put_many(2);
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
    put_many(2);
    until_refused(OUTBOX_WAITING);
    scene.refusal = STATUS_OK;
    until_taken(2);
}

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
Test(outbox, what_is_put_before_the_log_was_reached_is_numbered_anew)
{
    put_many(3);
    outbox_close(&scene.outbox);
    outbox_start();
    put_many(4);
    eventd_start();
    until_taken(7);
    cr_assert_eq(scene.sources[0].last, 3);
    cr_assert_eq(scene.sources[1].last, 4);
    expect_known(7); /* or events of the first source would be of another copy to the next owner */
}

Test(outbox, a_store_that_is_as_far_as_the_log_goes_on_counting)
{
    eventd_start();
    put_many(3);
    until_taken(3);
    run_ms(1200); /* and they are removed */
    for (int i = 0; i < 3; i++) {
        outbox_close(&scene.outbox);
        outbox_start();
        run_ms(100);
        put_many(2);
        until_taken(5 + 2 * (uint64_t)i);
    }
    cr_assert_eq(scene.sources[0].last, 9);
}

/* The log has numbers that this copy never gave: those rows that it has, too, are not sent again,
 * and what is put now does not meet what the other copy has put. */
Test(outbox, an_older_copy_of_the_store_does_not_use_numbers_twice)
{
    put_many(5);
    outbox_close(&scene.outbox);
    struct span first = span_of(scene.outbox.incarnation, 16);
    *last_of(first) = 9;
    scene.refusal = STATUS_OK;
    outbox_start();
    eventd_start();
    for (int i = 0; i < 600 && outbox_waiting(&scene.outbox) > 0; i++)
        run_ms(100);
    cr_assert_eq(outbox_waiting(&scene.outbox), 0, "the log has them");
    cr_assert_eq(scene.requests, 0);
    put_many(4);
    until_taken(4);
    cr_assert_eq(scene.sources[0].last, 9);
    cr_assert_eq(scene.sources[1].last, 4);
}

static uint64_t compared_id;
static unsigned compared;

static void on_compare(void *context, uint64_t known_id)
{
    (void)context;
    compared_id = known_id;
    compared++;
}

Test(outbox, nothing_is_sent_before_the_owner_has_compared)
{
    outbox_close(&scene.outbox);
    const struct outbox_options options = {
        .loop = scene.loop,
        .db = &scene.db,
        .table = TOKENS_OUTBOX,
        .daemon = "tokend",
        .eventd_path = scene.socket,
        .remove = on_remove,
        .compare = on_compare,
    };
    cr_assert_eq(outbox_open(&scene.outbox, &options), STATUS_OK);
    eventd_start();
    put_many(3);
    for (int i = 0; i < 1000 && compared == 0; i++)
        run_ms(5);
    run_ms(50);
    cr_assert_not(outbox_is_foreign(&scene.outbox), "no log has had it before");
    outbox_flush(&scene.outbox); /* the owner shall stop before it is through */
    run_ms(50);
    cr_assert_eq(compared, 1);
    cr_assert_eq(compared_id, 0);
    cr_assert_eq(scene.requests, 0);
    outbox_release(&scene.outbox);
    until_taken(3);
}

/* A batch is a commit of eventd on the disk that the owner's next commit waits for. */
Test(outbox, few_rows_wait_for_the_next_batch_and_many_do_not)
{
    eventd_start();
    put_many(1);
    until_taken(1);
    unsigned requests = scene.requests;
    ev_timer_stop(scene.loop, &scene.outbox.pace);
    ev_timer_set(&scene.outbox.pace, 3600, 0);
    ev_timer_start(scene.loop, &scene.outbox.pace);
    put_many(5);
    run_ms(50);
    cr_assert_eq(scene.requests, requests);
    ev_timer_stop(scene.loop, &scene.outbox.pace);
    ev_invoke(scene.loop, &scene.outbox.pace, EV_TIMER);
    until_taken(6);
    cr_assert_eq(scene.requests, requests + 1);
    ev_timer_stop(scene.loop, &scene.outbox.pace);
    ev_timer_set(&scene.outbox.pace, 3600, 0);
    ev_timer_start(scene.loop, &scene.outbox.pace);
    put_many(OUTBOX_BATCH_MAX);
    until_taken(6 + OUTBOX_BATCH_MAX);
    cr_assert_eq(scene.requests, requests + 2);
    put_many(1); /* and an owner that is being stopped waits for nothing */
    outbox_flush(&scene.outbox);
    until_taken(7 + OUTBOX_BATCH_MAX);
}

/* A failure makes it wait for a second; a stop does not. */
Test(outbox, a_flush_sends_at_once_and_gives_up_in_time)
{
    eventd_start();
    put_many(1);
    until_taken(1);
    scene.refusal = STATUS_RESOURCE_EXHAUSTED;
    put_many(2);
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
    put_many(2);
    run_ms(50);
    outbox_flush(&scene.outbox);
    for (int i = 0; i < 4000 && !outbox_is_settled(&scene.outbox); i++)
        run_ms(5);
    cr_assert(outbox_is_settled(&scene.outbox), "nobody is there");
    cr_assert_eq(outbox_waiting(&scene.outbox), 2);
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
    for (int i = 0; i < 4000 && scene.outbox.witness.is_shown != is_agreed; i++)
        run_ms(5);
    cr_assert_eq(scene.outbox.witness.is_shown, is_agreed);
}

/* The store keeps what eventd told of the log, with the rows, and shows it to the next one. */
Test(outbox, an_anchor_is_kept_with_the_rows_and_shown)
{
    eventd_start();
    until_shown(true);
    expect_kept(""); /* no commit of its own */
    put_many(2);
    expect_kept("after 0");
    until_taken(2);
    put_many(1);
    expect_kept("after 2");
    until_taken(3);
    outbox_close(&scene.outbox);
    outbox_start();
    until_shown(true);
    cr_expect_str_eq(scene.shown, "after 2");
}

Test(outbox, a_forked_log_gives_no_anchor)
{
    eventd_start();
    until_shown(true);
    put_many(1);
    until_taken(1);
    eventd_stop();
    run_ms(20);
    cr_expect_not(scene.outbox.witness.is_shown);
    scene.is_forked = true;
    scene.shown[0] = '\0';
    eventd_start();
    for (int i = 0; i < 4000 && scene.shown[0] == '\0'; i++)
        run_ms(5);
    put_many(2);
    until_taken(3);
    put_many(1);
    until_taken(4);
    cr_expect_not(scene.outbox.witness.is_shown);
    expect_kept("after 1");
}

Test(outbox, a_store_that_another_log_has_taken_events_of_is_foreign)
{
    put_many(2); /* before the log is reached: in an incarnation that the next log does not know */
    eventd_start();
    until_taken(2);
    put_many(1);
    until_taken(3);
    for (int i = 0; i < 2; i++) {
        outbox_close(&scene.outbox);
        memset(scene.sources, 0, sizeof scene.sources); /* another log */
        scene.siblings_id = i == 0 ? 7 : 0;             /* that knows another store; or none */
        outbox_start();
        for (int ms = 0; ms < 20000 && scene.outbox.question != OUTBOX_RELEASED; ms += 5)
            run_ms(5);
        cr_expect_eq(outbox_is_foreign(&scene.outbox), i == 0);
    }
}

Test(outbox, has_a_bound)
{
    cr_assert(outbox_has_room(&scene.outbox, OUTBOX_ROWS_MAX));
    cr_assert_not(outbox_has_room(&scene.outbox, OUTBOX_ROWS_MAX + 1));
    put_many(1000);
    cr_assert(outbox_has_room(&scene.outbox, OUTBOX_ROWS_MAX - 1000));
    cr_assert_not(outbox_has_room(&scene.outbox, OUTBOX_ROWS_MAX - 999));
}

Test(outbox, a_missing_row_is_damage)
{
    put_many(3);
    outbox_close(&scene.outbox);
    struct table_number position = table_number(2);
    cr_assert_eq(db_begin_write(&scene.db, &scene.txn), STATUS_OK);
    cr_assert_eq(table_delete(&scene.txn, TOKENS_OUTBOX, table_number_key(&position)), STATUS_OK);
    cr_assert_eq(db_commit(&scene.txn), STATUS_OK);
    const struct outbox_options options = {
        .loop = scene.loop,
        .db = &scene.db,
        .table = TOKENS_OUTBOX,
        .daemon = "tokend",
        .eventd_path = scene.socket,
    };
    cr_assert_eq(outbox_open(&scene.outbox, &options), STATUS_DATA_LOSS);
}
