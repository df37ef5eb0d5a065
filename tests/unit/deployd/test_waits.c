#include <string.h>

#include "deployd/operation.h"
#include "deployd/waits.h"
#include "tests/support/criterion.h"

static struct problem problem;

static enum status judge(const struct service *service, enum wait_condition condition)
{
    problem = (struct problem){ 0 };
    return wait_judge(service, condition, 0, &problem);
}

static struct service held(enum service_state state)
{
    return (struct service){
        .is_held = true, .state = state, .generation = 7, .wanted = { .generation = 7, .since = 7 }
    };
}

Test(waits, running_holds_when_the_wanted_generation_runs)
{
    struct service service = held(SERVICE_running);
    cr_assert_eq(judge(&service, WAIT_RUNNING), STATUS_OK);
    service.generation = 6;
    cr_assert_eq(judge(&service, WAIT_RUNNING), STATUS_UNAVAILABLE, "an older one does not count");
}

Test(waits, ready_needs_more_than_running)
{
    struct service service = held(SERVICE_running);
    cr_assert_eq(judge(&service, WAIT_READY), STATUS_UNAVAILABLE);
    service.is_ready = true;
    cr_assert_eq(judge(&service, WAIT_READY), STATUS_OK);
}

Test(waits, what_starts_or_backs_off_may_still_run)
{
    static const enum service_state states[] = { SERVICE_starting, SERVICE_backoff,
                                                 SERVICE_stopping };
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        struct service service = held(states[i]);
        cr_assert_eq(judge(&service, WAIT_RUNNING), STATUS_UNAVAILABLE);
    }
    struct service wanted = { .wanted = { .generation = 7 }, .state = SERVICE_wanted };
    cr_assert_eq(judge(&wanted, WAIT_RUNNING), STATUS_UNAVAILABLE);
}

Test(waits, what_has_ended_will_not_run_by_itself)
{
    static const enum service_state states[] = { SERVICE_completed, SERVICE_failed,
                                                 SERVICE_parked };
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        struct service service = held(states[i]);
        cr_assert_eq(judge(&service, WAIT_RUNNING), STATUS_FAILED_PRECONDITION);
        cr_assert_not_null(strstr(problem.message, service_state_name(states[i])));
    }
}

Test(waits, gone_means_neither_wanted_nor_held)
{
    struct service service = held(SERVICE_running);
    cr_assert_eq(judge(&service, WAIT_GONE), STATUS_UNAVAILABLE);
    service.wanted = (struct live_row){ 0 };
    cr_assert_eq(judge(&service, WAIT_GONE), STATUS_UNAVAILABLE, "it is still held");
    service.is_held = false;
    cr_assert_eq(judge(&service, WAIT_GONE), STATUS_OK);
    cr_assert_eq(judge(NULL, WAIT_GONE), STATUS_OK);
}

Test(waits, what_has_completed_is_gone_unless_it_is_wanted_again)
{
    struct service service = held(SERVICE_completed);
    struct operation operation = { 0 };
    cr_assert_eq(judge(&service, WAIT_GONE), STATUS_UNAVAILABLE, "the log still wants it");
    service.wanted = (struct live_row){ 0 };
    cr_assert_eq(judge(&service, WAIT_GONE), STATUS_OK);
    service.queue = &operation;
    cr_assert_eq(judge(&service, WAIT_GONE), STATUS_UNAVAILABLE, "it is being deployed");
    service.queue = NULL;
    service.state = SERVICE_failed;
    cr_assert_eq(judge(&service, WAIT_GONE), STATUS_UNAVAILABLE, "a kill has to end it");
}

Test(waits, what_is_not_there_is_not_found_unless_it_is_being_deployed)
{
    struct service service = { 0 };
    struct operation operation = { 0 };
    cr_assert_eq(judge(NULL, WAIT_RUNNING), STATUS_NOT_FOUND);
    cr_assert_eq(judge(&service, WAIT_RUNNING), STATUS_NOT_FOUND);
    service.queue = &operation;
    cr_assert_eq(judge(&service, WAIT_RUNNING), STATUS_UNAVAILABLE);
}

Test(waits, what_was_waited_for_failed_when_an_older_generation_is_wanted_again)
{
    struct service service = held(SERVICE_running);
    service.is_ready = true;
    problem = (struct problem){ 0 };
    cr_assert_eq(wait_judge(&service, WAIT_READY, 7, &problem), STATUS_OK);
    cr_assert_eq(wait_judge(&service, WAIT_READY, 5, &problem), STATUS_OK, "a newer one counts");
    cr_assert_eq(wait_judge(&service, WAIT_READY, 9, &problem), STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(problem.message, "generation 9 of"), "%s", problem.message);
    cr_assert_not_null(strstr(problem.message, "generation 7 is wanted again"));
}
