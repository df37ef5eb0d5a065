/* What an older copy of the store learns from the log, played by this test: one token was revoked.
 */
#include "tokend/catch_up.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/unix_socket.h"
#include "common/rpc/server.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"
#include "tests/unit/tokend/token_fixture.h"

static struct {
    struct rpc_server *server;
    struct catch_up catch_up;
    const char *revoked; /* an accessor */
    struct buffer events;
    unsigned asked, done;
    uint64_t first_id; /* where the log begins */
} scene;

static enum status handle_query(void *context, struct rpc_call *call, const void *request_,
                                void *reply_)
{
    (void)context, (void)call;
    const struct event_query_request *request = request_;
    struct event_query_reply *reply = reply_;
    char subject[64];
    bool is_told = strcmp(request->type, "capability_revoked") == 0;
    snprintf(subject, sizeof subject, "token/%s", scene.revoked);
    buffer_clear(&scene.events);
    write_array(&scene.events, is_told ? 1 : 0);
    if (is_told) {
        write_map(&scene.events, 1);
        write_str(&scene.events, "subject");
        write_str(&scene.events, subject);
    }
    reply->events = buffer_span(&scene.events);
    reply->first_id = scene.first_id;
    scene.asked++;
    return STATUS_OK;
}

static enum status everybody(void *access, struct rpc_call *call, struct span token)
{
    (void)access, (void)call, (void)token;
    return STATUS_OK;
}

static const struct rpc_route routes[] = { { &method_event_query, handle_query }, { NULL, NULL } };
static const struct rpc_service service = { .routes = routes, .authorise = everybody };

static void on_done(void *context)
{
    (void)context;
    cr_assert_not(store.in_turn);
    scene.done++;
}

static void open_scene(void)
{
    int listener;
    fixture_open();
    scene.events.limit = 4096;
    scene.revoked = granted("acme", "read", 0);
    cr_assert_eq(unix_socket_listen(scratch_path("eventd.sock"), 0600, &listener), STATUS_OK);
    cr_assert_eq(rpc_server_open(&scene.server, fixture_loop, &service, listener), STATUS_OK);
    cr_assert_eq(catch_up_open(&scene.catch_up, &store, fixture_loop, scratch_path("eventd.sock"),
                               (struct span){ 0 }),
                 STATUS_OK);
    scene.catch_up.on_done = on_done;
}

static void close_scene(void)
{
    catch_up_close(&scene.catch_up);
    rpc_server_close(&scene.server);
    buffer_close(&scene.events);
    fixture_close();
}

TestSuite(catch_up, .init = open_scene, .fini = close_scene, .timeout = 60);

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void run_ms(unsigned ms)
{
    struct ev_timer timer;
    ev_timer_init(&timer, on_tick, ms / 1e3, 0);
    ev_now_update(fixture_loop);
    ev_timer_start(fixture_loop, &timer);
    ev_run(fixture_loop, 0);
    ev_timer_stop(fixture_loop, &timer);
}

static void until_done(void)
{
    for (int i = 0; i < 4000 && scene.done == 0; i++)
        run_ms(5);
    run_ms(50);
    cr_assert_eq(scene.done, 1);
}

Test(catch_up, runs_once_at_a_time)
{
    catch_up_begin(&scene.catch_up, 0, false);
    catch_up_begin(&scene.catch_up, 0, false);
    until_done();
    cr_assert_not(is_there(scene.revoked));
    cr_assert_eq(scene.asked, 2, "one page of each type");
    cr_assert_eq(scene.catch_up.removed, 1);
}

/* A commit of callers may fail: what had been removed with it would be back. */
Test(catch_up, removes_nothing_in_a_turn_of_others)
{
    cr_assert_eq(token_store_begin(&store), STATUS_OK);
    catch_up_begin(&scene.catch_up, 0, false);
    for (int i = 0; i < 4000 && scene.asked < 3; i++)
        run_ms(5);
    cr_assert_geq(scene.asked, 3, "it goes on asking");
    cr_assert_eq(scene.done, 0);
    token_store_abort(&store);
    until_done();
    cr_assert_not(is_there(scene.revoked));
    cr_assert_eq(scene.catch_up.removed, 1);
}

/* Of an older copy; one that is not has no news to miss, however much was archived. */
Test(catch_up, news_that_was_archived_cannot_be_had)
{
    scene.first_id = 100;
    catch_up_begin(&scene.catch_up, 99, true);
    until_done();
    cr_assert_not(scene.catch_up.is_out_of_reach);
    scene.done = 0;
    catch_up_begin(&scene.catch_up, 98, false);
    until_done();
    cr_assert_not(scene.catch_up.is_out_of_reach);
    scene.done = 0;
    catch_up_begin(&scene.catch_up, 98, true);
    until_done();
    cr_assert(scene.catch_up.is_out_of_reach);
}
