#include "tests/unit/common/outbox/outbox_scene.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/unix_socket.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

struct outbox_scene scene;

uint64_t *eventd_last_of(struct span incarnation)
{
    static const uint8_t none[16];
    if (memcmp(incarnation.data, none, 16) == 0)
        return &scene.of_none;
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
    uint64_t *last = eventd_last_of(item.incarnation);
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
    reply->last = *eventd_last_of(request->incarnation);
    reply->log = span_of_text(scene.log);
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

void eventd_start(void)
{
    int listener;
    unlink(scene.socket);
    cr_assert_eq(unix_socket_listen(scene.socket, 0600, &listener), STATUS_OK);
    cr_assert_eq(rpc_server_open(&scene.server, scene.loop, &service, listener), STATUS_OK);
}

void eventd_stop(void)
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

struct outbox_options outbox_options(void)
{
    return (struct outbox_options){
        .loop = scene.loop,
        .db = &scene.db,
        .table = TOKENS_OUTBOX,
        .daemon = "tokend",
        .eventd_path = scene.socket,
        .remove = on_remove,
    };
}

void outbox_start(void)
{
    const struct outbox_options options = outbox_options();
    cr_assert_eq(outbox_open(&scene.outbox, &options), STATUS_OK);
}

void outbox_put_many(int count)
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

void scene_open(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    scene.loop = ev_loop_new(EVFLAG_NOENV);
    snprintf(scene.socket, sizeof scene.socket, "%s", scratch_path("eventd.sock"));
    cr_assert_eq(db_open_writer(&scene.db, &tokens_schema, scratch_path("tokens")), STATUS_OK);
    outbox_start();
}

void scene_close(void)
{
    outbox_close(&scene.outbox);
    rpc_server_close(&scene.server);
    db_close(&scene.db);
    ev_loop_destroy(scene.loop);
    scratch_remove();
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

void run_ms(unsigned ms)
{
    struct ev_timer timer;
    ev_timer_init(&timer, on_tick, ms / 1e3, 0);
    ev_now_update(scene.loop);
    ev_timer_start(scene.loop, &timer);
    ev_run(scene.loop, 0);
    ev_timer_stop(scene.loop, &timer);
}

void until_taken(uint64_t count)
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
