/* A service and a run whose beginning is archived go on as if it stood in the log still. */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(archived, .timeout = 120);

enum { PATIENCE_MS = 60000 };

static struct testbed bed;

static void set_up(void)
{
    testbed_open(&bed, 0);
    testbed_start(&bed);
}

static void tear_down(void)
{
    testbed_close(&bed);
}

/* Almost everything; the number of the last event that went. */
static uint64_t archive_all(void)
{
    log_settled_id(&bed);
    json_t *answer =
        testbed_ask(&bed, "eventd", "event.archive", json_pack("{s:i}", "keep_events", 1));
    uint64_t cut = number_in(answer, "last");
    json_decref(answer);
    return cut;
}

static size_t count_after(uint64_t after, const char *type)
{
    json_t *events = events_after(&bed, after);
    size_t count = events_count(events, type, NULL, NULL);
    json_decref(events);
    return count;
}

/* In place of a program: a file that is found and executable, and that no kernel can execute. */
static void program_break(const char *path, const char *aside)
{
    cr_assert_eq(rename(path, aside), 0);
    cr_assert_eq(file_write(path,
                            span_of_text("\x7f"
                                         "ELF, but not really"),
                            0755),
                 STATUS_OK);
    cr_assert_eq(chmod(path, 0755), 0);
}

Test(archived, a_service_whose_start_is_archived_has_run, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result failed = { 0 }, restarted = { 0 };
    char path[4096], aside[4200];
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "api");
    service_deploy_sleeper(&bed, "acme", "late");
    uint64_t cut = archive_all();
    cr_assert_gt(cut, generation + 1);
    testbed_program(&bed, "sleeper", path);
    snprintf(aside, sizeof aside, "%s.aside", path);
    program_break(path, aside);
    testbed_soloctl(&bed, &failed, "restart", "acme/api", NULL);
    cr_assert_neq(failed.exit_code, 0, "a broken program was started");
    log_settled_id(&bed);
    cr_assert_eq(count_after(cut, "service_restart_requested"), 1);
    cr_assert_eq(count_after(cut, "service_deployment_failed"), 0);
    cr_assert_eq(rename(aside, path), 0);
    testbed_soloctl(&bed, &restarted, "restart", "acme/api", NULL);
    expect_exit(&restarted, 0);
    json_t *row = service_row_of(&bed, "acme", "api");
    expect_text(row, "state", "running");
    expect_number(row, "generation", generation);
    json_decref(row);
}

Test(archived, a_run_whose_start_is_archived_goes_on, .init = set_up, .fini = tear_down)
{
    service_deploy_sleeper(&bed, "acme", "api");
    pid_t service = service_pid(&bed, "acme", "api"), old = testbed_daemon(&bed, "deployd");
    uint64_t cut = archive_all();
    cr_assert_eq(process_signal(old, SIGKILL), 0);
    cr_assert(process_wait_gone(old, PATIENCE_MS));
    cr_assert_neq(testbed_daemon(&bed, "deployd"), 0);
    cr_assert(testbed_wait_ready(&bed, PATIENCE_MS), "it waits for a recovery that has been");
    cr_assert_eq(count_after(cut, "system_started"), 0, "that was no new run");
    cr_assert_eq(service_pid(&bed, "acme", "api"), service);
}
