/* Handlers that decide something by themselves, called through their routes. */
#include "eventd/methods.h"

#include "common/api/api.h"
#include "common/base/clock.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_fixture.h"

static enum status call_route(struct eventd *eventd, const struct method *method,
                              struct rpc_call *call, const void *request, void *reply)
{
    struct rpc_service service;
    eventd_service(eventd, &service);
    for (const struct rpc_route *route = service.routes; route->method != NULL; route++)
        if (route->method == method)
            return route->handle(eventd, call, request, reply);
    cr_assert(false, "%s has no route", method->name);
    return STATUS_INTERNAL;
}

Test(methods, a_shutdown_that_does_not_follow_is_forgotten)
{
    struct eventd eventd = { 0 };
    struct rpc_call call = call_of_daemon("solod");
    const struct event_close_log_request request = { .is_forced = true };
    struct event_close_log_reply reply;
    cr_expect_not(eventd_is_closing(&eventd, clock_boottime_ns()));
    cr_assert_eq(call_route(&eventd, &method_event_close_log, &call, &request, &reply), STATUS_OK);
    uint64_t now_ns = clock_boottime_ns();
    cr_expect(eventd_is_closing(&eventd, now_ns));
    cr_expect(eventd.is_forced);
    cr_expect(eventd_is_closing(&eventd, now_ns + 50 * 1000000000ull),
              "the drain may take a while");
    cr_expect_not(eventd_is_closing(&eventd, now_ns + 61 * 1000000000ull));
}

/* A drain whose stop was called off: the next run must not end with eventd's next restart. */
Test(methods, a_run_that_begins_opens_the_log_again)
{
    fixture_open();
    struct eventd eventd = { 0 };
    struct rpc_call call = call_of_daemon("deployd");
    const struct event_close_log_request request = { .is_forced = false };
    struct event_close_log_reply reply;
    cr_assert_eq(call_route(&eventd, &method_event_close_log, &call, &request, &reply), STATUS_OK);
    struct event_append_request start =
        request_of("system_started", "", "system", (struct span){ 0 });
    struct event_append_reply appended;
    event_store_close(&store);
    cr_assert_eq(event_store_open(&eventd.store, fixture_data_dir()), STATUS_OK);
    cr_assert_eq(event_store_begin(&eventd.store), STATUS_OK);
    cr_assert_eq(call_route(&eventd, &method_event_append, &call, &start, &appended), STATUS_OK);
    event_store_abort(&eventd.store);
    cr_expect_not(eventd_is_closing(&eventd, clock_boottime_ns()));
    event_store_close(&eventd.store);
    fixture_close();
}

Test(methods, only_who_ends_a_run_closes_the_log)
{
    struct eventd eventd = { 0 };
    struct rpc_call call = call_of_daemon("tokend");
    const struct event_close_log_request request = { .is_forced = false };
    struct event_close_log_reply reply;
    cr_expect_eq(call_route(&eventd, &method_event_close_log, &call, &request, &reply),
                 STATUS_PERMISSION_DENIED);
    cr_expect_not(eventd_is_closing(&eventd, clock_boottime_ns()));
    call = call_of_daemon("deployd");
    cr_expect_eq(call_route(&eventd, &method_event_close_log, &call, &request, &reply), STATUS_OK);
    cr_expect(eventd_is_closing(&eventd, clock_boottime_ns()));
}
