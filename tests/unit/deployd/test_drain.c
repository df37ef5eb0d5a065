/* The shutdown, with a supervisor that does not end. The test plays all around it. */
#include "deployd/drain.h"

#include "common/access/daemon_methods.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/daemon/parent.h"
#include "deployd/appends.h"
#include "deployd/operation_queue.h"
#include "deployd/supervisors.h"
#include "tests/support/criterion.h"

static struct {
    struct deployd deployd;
    struct tenant *tenant;
    struct rpc_call calls[2];
    struct {
        bool is_there;
        enum status status;
    } answers[2];
    rpc_on_reply on_closed, on_shut_down;
} world;

enum status append_send(struct deployd *deployd, const struct event_append_request *request,
                        const struct uuid *request_id, uint64_t timeout_ms, rpc_on_reply on_reply,
                        void *context)
{
    (void)deployd, (void)request, (void)request_id, (void)timeout_ms, (void)on_reply, (void)context;
    return STATUS_UNAVAILABLE;
}

void daemon_health_set(const char *state, const char *format, ...)
{
    (void)state, (void)format;
}

void parent_say(const char *format, ...)
{
    (void)format;
}

enum status deployd_is_open(const struct deployd *deployd, struct problem *problem)
{
    (void)deployd;
    return problem_set(problem, STATUS_UNAVAILABLE, "", "shutting down");
}

void operations_refuse_queued(struct deployd *deployd, const struct problem *problem)
{
    (void)deployd, (void)problem;
}

enum status supervisor_call(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, rpc_on_reply on_reply,
                            void *context)
{
    (void)method, (void)request, (void)timeout_ms;
    cr_assert_eq(context, supervisor);
    world.on_shut_down = on_reply;
    return STATUS_OK;
}

enum status rpc_client_call(struct rpc_client *client, const struct method *method,
                            const void *request, const struct rpc_call_options *options,
                            uint64_t *handle)
{
    (void)client, (void)request, (void)handle;
    cr_assert_eq(method, &method_event_close_log);
    world.on_closed = options->on_reply;
    return STATUS_OK;
}

void supervisor_kill(struct supervisor *supervisor)
{
    (void)supervisor; /* who it is was never said */
}

void rpc_call_defer(struct rpc_call *call)
{
    (void)call;
}

static void answered(struct rpc_call *call, enum status status)
{
    size_t index = (size_t)(call - world.calls);
    cr_assert_not(world.answers[index].is_there, "answered once");
    world.answers[index].is_there = true;
    world.answers[index].status = status;
}

void rpc_call_reply(struct rpc_call *call, const void *reply)
{
    (void)reply;
    answered(call, STATUS_OK);
}

void rpc_call_fail(struct rpc_call *call, enum status status, const struct problem *problem)
{
    (void)problem;
    answered(call, status);
}

static void open(void)
{
    struct problem problem;
    log_setup("test", LOG_LEVEL_ERROR);
    world.deployd.loop = ev_loop_new(EVFLAG_NOENV);
    world.deployd.boot.state = BOOT_READY;
    cr_assert_eq(catalog_tenant_make(&world.deployd.catalog, "acme", &world.tenant, &problem),
                 STATUS_OK);
    world.tenant->supervisor.owner = &world.deployd;
    world.tenant->supervisor.tenant = world.tenant;
    world.tenant->supervisor.state = SUPERVISOR_GREETING;
}

static void end(void)
{
    drain_close(&world.deployd);
    catalog_close(&world.deployd.catalog);
    ev_loop_destroy(world.deployd.loop);
}

TestSuite(drain, .init = open, .fini = end);

static void drain(size_t caller)
{
    const struct system_drain_request request = { .timeout_ms = 1 };
    cr_assert_eq(drain_begin(&world.deployd, &world.calls[caller], &request), STATUS_OK);
}

static void time_is_over(void)
{
    ev_feed_event(world.deployd.loop, &world.deployd.drain.timer, EV_TIMER);
    ev_invoke_pending(world.deployd.loop);
}

Test(drain, all_who_ask_are_told_that_a_supervisor_is_left)
{
    drain(0);
    time_is_over();
    cr_assert_not(world.answers[0].is_there, "it is being killed");
    time_is_over();
    cr_assert_eq(world.answers[0].status, STATUS_DEADLINE_EXCEEDED);
    drain(1);
    cr_assert(world.answers[1].is_there);
    cr_assert_eq(world.answers[1].status, STATUS_DEADLINE_EXCEEDED);
}

Test(drain, one_that_comes_after_the_end_gets_the_same_answer)
{
    drain(0);
    drain_supervisor_gone(&world.deployd);
    cr_assert_eq(world.answers[0].status, STATUS_OK);
    drain(1);
    cr_assert(world.answers[1].is_there);
    cr_assert_eq(world.answers[1].status, STATUS_OK);
}

/* One who stops eventd next must not be told so before the log is closed. */
Test(drain, one_that_comes_while_the_log_is_closed_hastens_nobody)
{
    const struct system_drain_request last = { .timeout_ms = 1, .is_last = true };
    cr_assert_eq(drain_begin(&world.deployd, &world.calls[0], &last), STATUS_OK);
    drain_supervisor_gone(&world.deployd);
    cr_assert_not_null(world.on_closed, "eventd is asked to close the log");
    drain(1);
    cr_assert_not(world.answers[0].is_there);
    cr_assert_not(world.answers[1].is_there);
    world.on_closed(&world.deployd, STATUS_OK, NULL, NULL);
    cr_assert(world.answers[0].is_there);
    cr_assert(world.answers[1].is_there);
}

/* Two services are held, one of which had to be killed; the supervisor says so. */
static void begin_with_services(void)
{
    static const char *const names[] = { "deaf", "plain" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct service *service;
        struct problem problem;
        cr_assert_eq(catalog_service_make(&world.deployd.catalog, world.tenant, names[i], &service,
                                          &problem),
                     STATUS_OK);
        service->is_held = true;
        service->state = SERVICE_stopping;
    }
    world.tenant->supervisor.state = SUPERVISOR_READY;
    drain(0);
    cr_assert_not_null(world.on_shut_down);
}

static void all_ended(void)
{
    static const uint8_t names[] = { 0x91, 0xa4, 'd', 'e', 'a', 'f' };
    const struct supervisor_shutdown_reply reply = {
        .stopped = 1,
        .killed = 1,
        .killed_names = span_of(names, sizeof names),
    };
    world.on_shut_down(&world.tenant->supervisor, STATUS_OK, NULL, &reply);
}

Test(drain, a_supervisor_that_has_answered_and_lingers_is_not_counted_twice)
{
    begin_with_services();
    all_ended();
    time_is_over();
    cr_expect_eq(world.deployd.drain.stopped, 1);
    cr_expect_eq(world.deployd.drain.killed, 1);
    cr_expect_str_eq(world.deployd.drain.killed_text, "acme/deaf");
}

Test(drain, nor_is_one_that_answers_when_the_time_is_over)
{
    begin_with_services();
    time_is_over();
    all_ended();
    cr_expect_eq(world.deployd.drain.killed, 2);
}
