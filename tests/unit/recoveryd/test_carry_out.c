#include "tests/support/criterion.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/unix_socket.h"
#include "common/rpc/server.h"
#include "common/wire/reader.h"
#include "recoveryd/carry_out.h"

enum { ENTRIES = 40, TENANTS = 4 };

/* A deployd of its own thread that answers the recovery.* methods as it is told. */
struct fake {
    struct ev_loop *loop;
    struct rpc_server *server;
    struct ev_async end;
    pthread_t thread;
    /* how it answers */
    unsigned refusals; /* so many acts get resource_exhausted first */
    bool dies;         /* once at begin, once at end, without an answer; and is there again */
    double delay_s;    /* before each answer of act */
    const char *result;
    /* what it saw; read after the thread has ended */
    unsigned begun, acted, in_flight, in_flight_most;
    char order[ENTRIES][NAME_BYTES_MAX + 1]; /* tenants */
    char state[16];
    bool has_verification;
    unsigned deaths;
    struct uuid died_of[2]; /* request_id of begin and of end */
    struct rpc_call *unanswered;
    struct ev_timer restart;
};

struct delayed {
    struct ev_timer timer;
    struct fake *fake;
    struct rpc_call *call;
};

static void answer(struct fake *fake, struct rpc_call *call)
{
    struct recovery_act_reply reply = {
        .result = fake->result, .code = "", .reason = "as told", .pid = 42
    };
    fake->in_flight--;
    rpc_call_reply(call, &reply);
}

static void on_delay(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct delayed *delayed = timer->data;
    answer(delayed->fake, delayed->call);
    free(delayed);
}

static enum status handle_act(void *context, struct rpc_call *call, const void *typed, void *reply)
{
    struct fake *fake = context;
    const struct recovery_act_request *request = typed;
    (void)reply;
    if (fake->refusals > 0) {
        fake->refusals--;
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "", "no room");
    }
    if (fake->acted < ENTRIES)
        snprintf(fake->order[fake->acted], sizeof fake->order[0], "%s", request->tenant);
    fake->acted++;
    fake->in_flight++;
    if (fake->in_flight > fake->in_flight_most)
        fake->in_flight_most = fake->in_flight;
    struct delayed *delayed = calloc(1, sizeof *delayed);
    delayed->fake = fake;
    delayed->call = call;
    ev_timer_init(&delayed->timer, on_delay, fake->delay_s, 0);
    delayed->timer.data = delayed;
    ev_timer_start(fake->loop, &delayed->timer);
    rpc_call_defer(call);
    return STATUS_OK;
}

static struct rpc_service service;
static struct settings settings;

static void server_open(struct fake *fake)
{
    char path[4096];
    int listener;
    path_join(path, settings.run_dir, "deployd.sock");
    cr_assert_eq(unix_socket_listen(path, 0600, &listener), STATUS_OK);
    cr_assert_eq(rpc_server_open(&fake->server, fake->loop, &service, listener), STATUS_OK);
}

static void on_restart(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct fake *fake = timer->data;
    rpc_server_close(&fake->server);
    rpc_call_fail(fake->unanswered, STATUS_UNAVAILABLE, NULL); /* to nobody */
    server_open(fake);
}

/* True when the call is never answered: the connection breaks instead. */
static bool dies_of(struct fake *fake, struct rpc_call *call, unsigned at)
{
    cr_assert(call->has_request_id, "a repeat could not be told");
    if (!fake->dies || fake->deaths > at) {
        cr_assert(!fake->dies || memcmp(&fake->died_of[at], &call->request_id, UUID_BYTES) == 0);
        return false;
    }
    fake->died_of[fake->deaths++] = call->request_id;
    ev_timer_init(&fake->restart, on_restart, 0.01, 0);
    fake->restart.data = fake;
    ev_timer_start(fake->loop, &fake->restart);
    rpc_call_defer(call);
    fake->unanswered = call;
    return true;
}

static enum status handle_begin(void *context, struct rpc_call *call, const void *request,
                                void *reply)
{
    struct fake *fake = context;
    struct recovery_begin_reply *typed = reply;
    (void)request;
    if (dies_of(fake, call, 0))
        return STATUS_OK;
    fake->begun++;
    typed->event_id = 7;
    return STATUS_OK;
}

static enum status handle_progress(void *context, struct rpc_call *call, const void *request,
                                   void *reply)
{
    (void)context;
    (void)call;
    (void)request;
    (void)reply;
    return STATUS_OK;
}

static enum status handle_end(void *context, struct rpc_call *call, const void *typed, void *reply)
{
    struct fake *fake = context;
    const struct recovery_end_request *request = typed;
    struct recovery_end_reply *typed_reply = reply;
    cr_assert_eq(request->recovery_id, 7);
    if (dies_of(fake, call, 1))
        return STATUS_OK;
    map_text(request->report, "state", fake->state, sizeof fake->state);
    fake->has_verification = request->verification.size > 0;
    typed_reply->event_id = 8;
    return STATUS_OK;
}

static const struct rpc_route routes[] = {
    { &method_recovery_begin, handle_begin },
    { &method_recovery_act, handle_act },
    { &method_recovery_progress, handle_progress },
    { &method_recovery_end, handle_end },
    { NULL, NULL },
};

static enum status authorise(void *access, struct rpc_call *call, struct span token)
{
    (void)access;
    (void)token;
    call->caller.kind = CALLER_OPERATOR;
    return STATUS_OK;
}

static void on_end(struct ev_loop *loop, struct ev_async *watcher, int events)
{
    (void)watcher;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void *run_fake(void *context)
{
    struct fake *fake = context;
    ev_run(fake->loop, 0);
    return NULL;
}

static struct plan_entry entries[ENTRIES];
static char names[ENTRIES][8];
static struct picture picture;

static void fake_open(struct fake *fake)
{
    service = (struct rpc_service){ .routes = routes, .context = fake, .authorise = authorise };
    fake->loop = ev_loop_new(EVFLAG_AUTO);
    server_open(fake);
    ev_async_init(&fake->end, on_end);
    ev_async_start(fake->loop, &fake->end);
    cr_assert_eq(pthread_create(&fake->thread, NULL, run_fake, fake), 0);
}

static void fake_close(struct fake *fake)
{
    ev_async_send(fake->loop, &fake->end);
    pthread_join(fake->thread, NULL);
    rpc_server_close(&fake->server);
    ev_loop_destroy(fake->loop);
}

/* Tenants big (37 services), a, b and c (one each). */
static void set_up(void)
{
    settings = (struct settings){ .recovery_timeout_ms = 20000, .recovery_parallel = 8 };
    snprintf(settings.run_dir, sizeof settings.run_dir, "/tmp/solo-carry-XXXXXX");
    cr_assert_not_null(mkdtemp(settings.run_dir));
    static const char *const tenants[TENANTS] = { "a", "b", "big", "c" };
    for (size_t i = 0; i < ENTRIES; i++) {
        snprintf(names[i], sizeof names[i], "s%zu", i);
        const char *tenant = i < 2 ? tenants[i] : i < ENTRIES - 1 ? "big" : "c";
        entries[i] = (struct plan_entry){ .action = PLAN_START,
                                          .tenant = tenant,
                                          .name = names[i],
                                          .generation = i + 1,
                                          .since = i + 1 };
    }
    picture = (struct picture){ .plan = { .entries = entries, .count = ENTRIES } };
    picture.plan.of[PLAN_START] = ENTRIES;
}

static void tear_down(void)
{
    directory_remove(settings.run_dir);
}

TestSuite(carry_out, .init = set_up, .fini = tear_down, .timeout = 60);

static void carry_out_all(struct fake *fake, struct report *report)
{
    struct options options = { .progress = PROGRESS_NONE };
    struct carry_out *run = NULL;
    *report = (struct report){ .picture = &picture };
    fake_open(fake);
    cr_assert_eq(carry_out_open(&run, &settings, &options, &picture), STATUS_OK);
    cr_assert_eq(carry_out_run(run, report), STATUS_OK);
    cr_assert_eq(carry_out_finish(run, report), STATUS_OK);
    carry_out_close(&run);
    report->outcomes = NULL; /* they went with it */
    fake_close(fake);
    cr_assert_eq(fake->begun, 1);
}

Test(carry_out, every_action_is_attempted_within_the_bound_and_tenants_take_turns)
{
    struct fake fake = { .result = "recovered", .delay_s = 0.002 };
    struct report report;
    carry_out_all(&fake, &report);
    cr_assert_eq(report.of[RESULT_RECOVERED], ENTRIES);
    cr_assert_not(report.is_cut);
    cr_assert_eq(fake.acted, ENTRIES);
    cr_assert_eq(fake.in_flight_most, 8);
    cr_assert_str_eq(fake.order[0], "a");
    cr_assert_str_eq(fake.order[1], "b");
    cr_assert_str_eq(fake.order[2], "big");
    cr_assert_str_eq(fake.order[3], "c");
    cr_assert_str_eq(fake.order[4], "big");
    cr_assert_str_eq(fake.state, "done");
    cr_assert_not(fake.has_verification);
}

Test(carry_out, a_deployd_that_dies_during_begin_and_end_is_asked_again)
{
    struct fake fake = { .result = "recovered", .dies = true };
    struct report report;
    carry_out_all(&fake, &report);
    cr_assert_eq(fake.deaths, 2);
    cr_assert_eq(report.of[RESULT_RECOVERED], ENTRIES);
    cr_assert_str_eq(fake.state, "done");
}

Test(carry_out, what_found_no_room_is_begun_again)
{
    struct fake fake = { .result = "recovered", .refusals = 30 };
    struct report report;
    carry_out_all(&fake, &report);
    cr_assert_eq(report.of[RESULT_RECOVERED], ENTRIES);
    cr_assert_eq(fake.acted, ENTRIES);
    cr_assert_eq(fake.refusals, 0);
}

/* After the refusals one is in flight at a time; at the end there is time for several again. */
Test(carry_out, the_window_grows_again)
{
    struct fake fake = { .result = "recovered", .delay_s = 0.002, .refusals = 8 };
    struct report report;
    carry_out_all(&fake, &report);
    cr_assert_eq(report.of[RESULT_RECOVERED], ENTRIES);
    cr_assert_gt(fake.in_flight_most, 3);
    cr_assert_leq(fake.in_flight_most, 8);
}

Test(carry_out, past_the_limit_nothing_more_is_begun_and_the_rest_is_skipped)
{
    struct fake fake = { .result = "recovered", .delay_s = 0.2 };
    struct report report;
    settings.recovery_timeout_ms = 1000;
    settings.recovery_parallel = 1;
    carry_out_all(&fake, &report);
    cr_assert(report.is_cut);
    cr_assert_gt(report.of[RESULT_RECOVERED], 0);
    cr_assert_lt(report.of[RESULT_RECOVERED], ENTRIES);
    cr_assert_eq(report.of[RESULT_RECOVERED] + report.of[RESULT_SKIPPED], ENTRIES);
    cr_assert_eq(fake.acted, report.of[RESULT_RECOVERED]);
    cr_assert_str_eq(fake.state, "cut");
}

Test(carry_out, the_limit_also_ends_what_never_finds_room)
{
    struct fake fake = { .result = "recovered", .refusals = 1000000 };
    struct report report;
    settings.recovery_timeout_ms = 300;
    carry_out_all(&fake, &report);
    cr_assert(report.is_cut);
    cr_assert_eq(report.of[RESULT_SKIPPED], ENTRIES);
}

Test(carry_out, failures_are_counted_and_do_not_stop_the_others)
{
    struct fake fake = { .result = "failed" };
    struct report report;
    entries[0].action = PLAN_CANNOT_RECOVER;
    entries[0].is_known = true;
    carry_out_all(&fake, &report);
    cr_assert_eq(report.of[RESULT_FAILED], ENTRIES);
    cr_assert_eq(fake.acted, ENTRIES - 1);
}

Test(carry_out, the_hopeless_are_handed_over_until_deployd_knows_them)
{
    struct fake fake = { .result = "failed" };
    struct report report;
    entries[0].action = PLAN_CANNOT_RECOVER;
    carry_out_all(&fake, &report);
    cr_assert_eq(fake.acted, ENTRIES);
}

Test(carry_out, a_word_that_is_no_result_is_a_failure)
{
    struct fake fake = { .result = "perhaps" };
    struct report report;
    carry_out_all(&fake, &report);
    cr_assert_eq(report.of[RESULT_FAILED], ENTRIES);
}

Test(carry_out, without_deployd_it_is_unavailable)
{
    struct options options = { .progress = PROGRESS_NONE };
    struct carry_out *run = NULL;
    log_setup("test", LOG_LEVEL_ERROR);
    cr_assert_eq(carry_out_open(&run, &settings, &options, &picture), STATUS_UNAVAILABLE);
    cr_assert_null(run);
}
