/* A service and a run whose beginning is archived go on as if it stood in the log still. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/auto.h"
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
    testbed_await_new_daemon(&bed, "deployd", old);
    cr_assert(testbed_wait_ready(&bed, PATIENCE_MS), "it waits for a recovery that has been");
    cr_assert_eq(count_after(cut, "system_started"), 0, "that was no new run");
    cr_assert_eq(service_pid(&bed, "acme", "api"), service);
}

/* --- followers --- */

enum { NOTES = 10000, BATCH = 1000 };

static pid_t follow(const char *path, const char *const arguments[4])
{
    char soloctl[4200];
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed.bin);
    const char *argv[] = { soloctl,      "--run",      bed.run,      arguments[0],
                           arguments[1], arguments[2], arguments[3], NULL };
    return command_start(
        &(struct command){ .argv = argv, .environment = testbed_environment(&bed) }, path);
}

static bool has_text(const char *path, const char *words)
{
    AUTO(buffer_close) struct buffer text = { .limit = 1u << 20 };
    return file_read(path, &text) == STATUS_OK && buffer_append(&text, "", 1) == STATUS_OK &&
           strstr((const char *)text.data, words) != NULL;
}

static void await_text(const char *path, const char *words)
{
    for (int waited = 0; !has_text(path, words); waited += 50) {
        cr_assert_lt(waited, PATIENCE_MS, "%s does not come", words);
        sleep_ms(50);
    }
}

static void append(const char *type, const char *subject, size_t count)
{
    for (; count > 0; count -= count < BATCH ? count : BATCH) {
        json_t *events = json_array();
        for (size_t i = 0; i < (count < BATCH ? count : BATCH); i++)
            json_array_append_new(events,
                                  json_pack("{s:s, s:s}", "type", type, "subject", subject));
        json_decref(testbed_ask(&bed, "eventd", "event.append_batch",
                                json_pack("{s:o}", "events", events)));
    }
}

/* More happens than their connections hold, all of it leaves the log, and eventd starts anew. */
Test(archived, who_follows_goes_on_behind_what_was_archived, .init = set_up, .fini = tear_down)
{
    char rare[400], services[400];
    snprintf(rare, sizeof rare, "%s/rare", bed.dir);
    snprintf(services, sizeof services, "%s/services", bed.dir);
    service_deploy_sleeper(&bed, "acme", "api");
    append("app.rare", "first", 1);
    static const char *const follow_rare[] = { "events", "-f", "--type", "app.rare" };
    static const char *const follow_services[] = { "get", "services", "-w", NULL };
    pid_t followers[] = { follow(rare, follow_rare), follow(services, follow_services) };
    await_text(rare, "app.rare");
    await_text(services, "acme");
    for (int i = 0; i < 2; i++)
        cr_assert_eq(process_signal(followers[i], SIGSTOP), 0);
    append("app.note", "notes", NOTES);
    archive_all();
    pid_t old = testbed_daemon(&bed, "eventd");
    cr_assert_eq(process_signal(old, SIGKILL), 0);
    cr_assert(process_wait_gone(old, PATIENCE_MS));
    for (int i = 0; i < 2; i++)
        cr_assert_eq(process_signal(followers[i], SIGCONT), 0);
    await_text(rare, "older ones were archived");
    service_deploy_sleeper(&bed, "acme", "later");
    await_text(services, "later");
    append("app.rare", "second", 1);
    await_text(rare, "second");
    for (int i = 0; i < 2; i++) {
        cr_expect(process_is_alive(followers[i]));
        process_signal(followers[i], SIGTERM);
        command_wait(followers[i], PATIENCE_MS);
    }
}
