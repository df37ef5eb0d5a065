#include "tests/support/criterion.h"

#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "recoveryd/compare.h"

/* A picture of one service, planned as picture_take plans it. */
static void compare_one(const struct plan_wanted *wanted, const struct actual_service *service,
                        struct findings *findings)
{
    struct actual_service copy = service == NULL ? (struct actual_service){ 0 } : *service;
    struct plan_actual actual = {
        .tenant = copy.tenant,
        .name = copy.name,
        .state = copy.state,
        .generation = copy.generation,
        .pid = copy.pid,
        .is_held = copy.is_held,
        .has_record = true,
    };
    struct picture picture = { .actual = { .services = &copy, .count = service == NULL ? 0 : 1 } };
    cr_assert_eq(plan_make(wanted, wanted == NULL ? 0 : 1, &actual, service == NULL ? 0 : 1, true,
                           &picture.plan),
                 STATUS_OK);
    cr_assert_eq(compare_picture(&picture, findings), STATUS_OK);
    plan_close(&picture.plan);
}

static void assert_finding(const struct plan_wanted *wanted, const struct actual_service *service,
                           const char *expected)
{
    AUTO(findings_close) struct findings findings = { 0 };
    compare_one(wanted, service, &findings);
    cr_assert_eq(findings.count, expected[0] == '\0' ? 0 : 1, "%s", expected);
    if (findings.count > 0) {
        cr_assert_str_eq(finding_code_name(findings.items[0].code), expected);
        cr_assert_str_not_empty(findings.items[0].reason);
        cr_assert_str_eq(findings.items[0].tenant, "acme");
    }
}

Test(compare, each_difference_has_its_code)
{
    struct plan_wanted wanted = { .tenant = "acme",
                                  .name = "api",
                                  .row = { 50, 50, 0, { { 0 } }, { { 0 } } } };
    struct actual_service runs = {
        .tenant = "acme",
        .name = "api",
        .state = SERVICE_running,
        .generation = 50,
        .since = 50,
        .pid = (uint64_t)getpid(),
        .is_held = true,
    };
    assert_finding(&wanted, &runs, "");
    assert_finding(&wanted, NULL, "missing");
    assert_finding(NULL, &runs, "extra");

    struct actual_service other = runs;
    other.generation = 40;
    assert_finding(&wanted, &other, "other_generation");
    other = runs;
    other.is_held = false;
    assert_finding(&wanted, &other, "unsupervised");
    other = runs;
    other.pid = 4294967295u;
    assert_finding(&wanted, &other, "dead_pid");
    other = runs;
    other.start_ticks = 1; /* the pid belongs to another process now */
    assert_finding(&wanted, &other, "dead_pid");
    other = runs;
    other.state = SERVICE_parked;
    assert_finding(&wanted, &other, "");
    other.state = SERVICE_backoff;
    assert_finding(&wanted, &other, "");

    struct plan_actual stranger = {
        .tenant = "acme", .name = "odd", .state = SERVICE_running, .pid = 7, .is_held = true
    };
    AUTO(findings_close) struct findings findings = { 0 };
    struct picture picture = { 0 };
    cr_assert_eq(plan_make(NULL, 0, &stranger, 1, false, &picture.plan), STATUS_OK);
    cr_assert_eq(compare_picture(&picture, &findings), STATUS_OK);
    plan_close(&picture.plan);
    cr_assert_eq(findings.count, 1);
    cr_assert_str_eq(finding_code_name(findings.items[0].code), "no_record");

    wanted.obstacle = PLAN_CODE_program_missing;
    assert_finding(&wanted, NULL, "missing");
}
