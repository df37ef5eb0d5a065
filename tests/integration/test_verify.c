/* recoveryd verify and its repairs, with a Solo whose parts are made to disagree. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(verify, .timeout = 180);

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

/* Runs it and returns its document. */
static json_t *verify(int exit_code, const char *first, const char *second)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "verify", "-o", "json", "--detailed-exitcode", first, second,
                      NULL);
    expect_exit(&result, exit_code);
    return result_json(&result);
}

static void expect_list(const json_t *document, const char *list, const char *code)
{
    const json_t *items = json_object_get(document, list);
    char *text = json_dumps(document, 0);
    cr_assert_eq(json_array_size(items), code == NULL ? 0 : 1, "%s: %s", list, text);
    if (code != NULL) {
        expect_text(json_array_get(items, 0), "code", code);
        cr_assert_not_null(text_in(json_array_get(items, 0), "next"));
    }
    free(text);
}

static void expect_found(int exit_code, const char *first, const char *code)
{
    json_t *document = verify(exit_code, first, NULL);
    expect_list(document, "inconsistencies", code);
    json_decref(document);
}

/* A repair that leaves nothing; what it records is there once, also after a second one. */
static void expect_fixed(const char *flag, const char *full, const char *code)
{
    uint64_t before = log_settled_id(&bed);
    json_t *document = verify(0, flag, full);
    expect_list(document, "inconsistencies", NULL);
    expect_list(document, "fixed", code);
    json_decref(document);
    uint64_t after = log_settled_id(&bed);
    document = verify(0, flag, full);
    expect_list(document, "inconsistencies", NULL);
    expect_list(document, "fixed", NULL);
    json_decref(document);
    cr_assert_eq(log_settled_id(&bed), after, "a second repair has written");
    json_t *events = events_after(&bed, before);
    cr_assert_eq(events_count(events, "inconsistency_found", NULL, NULL), 1);
    cr_assert_eq(events_count(events, "inconsistency_fixed", NULL, NULL), 1);
    const json_t *found = event_last(events, "inconsistency_found", NULL, NULL);
    const json_t *fixed = event_last(events, "inconsistency_fixed", NULL, NULL);
    expect_number(fixed, "causation_id", number_in(found, "id"));
    expect_text(json_object_get(found, "payload"), "code", code);
    json_decref(events);
}

Test(verify, what_is_missing_is_started, .init = set_up, .fini = tear_down)
{
    service_deploy_sleeper(&bed, "acme", "api");
    expect_found(0, NULL, NULL);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_RECOVERY_ENABLED", "false");
    testbed_start(&bed);
    expect_found(2, NULL, "missing");
    expect_fixed("--fix", NULL, "missing");
    service_await(&bed, "acme", "api", "running", 20000);
}

/* A sleeper with a mark that says it is one of this Solo's services. */
static pid_t start_marked(const char *name, uint64_t generation)
{
    AUTO(buffer_close) struct buffer environ = { .limit = 64 * 1024 };
    static char mark[300], service[100], program[4096];
    char log[400];
    json_t *row = service_row_of(&bed, "acme", "api");
    char instance[200];
    snprintf(instance, sizeof instance, "%s", text_in(row, "instance"));
    json_decref(row);
    char *tenant_end = strstr(instance, "/acme/");
    cr_assert_not_null(tenant_end);
    tenant_end[strlen("/acme/")] = '\0';
    snprintf(mark, sizeof mark, "SOLO_INSTANCE=%s%lu/00000000000000aa", instance,
             (unsigned long)generation);
    snprintf(service, sizeof service, "SOLO_SERVICE=%s", name);
    snprintf(log, sizeof log, "%s/marked.log", bed.dir);
    const char *argv[] = { testbed_program(&bed, "sleeper", program), NULL };
    const char *environment[] = { mark, service, "SOLO_TENANT=acme", NULL };
    return command_start(&(struct command){ .argv = argv, .environment = environment }, log);
}

Test(verify, a_duplicate_is_ended_and_the_one_that_is_held_stays, .init = set_up, .fini = tear_down)
{
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "api");
    pid_t held = service_pid(&bed, "acme", "api");
    pid_t second = start_marked("api", generation);
    expect_found(2, NULL, "duplicate");
    expect_fixed("--fix", NULL, "duplicate");
    cr_assert_eq(command_wait(second, 60000), 128 + SIGKILL);
    cr_assert_eq(service_pid(&bed, "acme", "api"), held);
}

Test(verify, an_orphan_is_ended_only_when_asked_for, .init = set_up, .fini = tear_down)
{
    service_deploy_sleeper(&bed, "acme", "api");
    pid_t orphan = start_marked("gone", 999999);
    expect_found(3, NULL, "orphan");
    json_t *document = verify(3, "--fix", NULL);
    expect_list(document, "inconsistencies", "orphan");
    expect_list(document, "fixed", NULL);
    json_decref(document);
    cr_assert(process_is_alive(orphan));
    expect_fixed("--fix-orphans", NULL, "orphan");
    cr_assert_eq(command_wait(orphan, 60000), 128 + SIGKILL);
}

static json_t *status_verification(void)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "status", "-o", "json", NULL);
    json_t *document = result_json(&result);
    json_t *verification = json_incref(json_object_get(document, "verification"));
    json_decref(document);
    return verification;
}

/* The number of services that the last verification compared; -1 while there was none. */
static long last_checked(void)
{
    json_t *verification = status_verification();
    long checked = json_is_object(verification) ? (long)number_in(verification, "checked") : -1;
    json_decref(verification);
    return checked;
}

Test(verify, solod_verifies_by_itself_and_status_shows_it, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result result = { 0 };
    cr_assert_eq(last_checked(), -1);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_VERIFY_INTERVAL_MS", "300");
    testbed_start(&bed);
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "api");
    for (int waited = 0; last_checked() != 1; waited += 50) {
        cr_assert_lt(waited, 30000);
        sleep_ms(50);
    }
    uint64_t last = log_settled_id(&bed);
    pid_t orphan = start_marked("gone", generation + 1000);
    do {
        testbed_soloctl(&bed, &result, "status", "--check", NULL);
        cr_assert_lt(result.took_ms, 30000);
        sleep_ms(50);
    } while (result.exit_code != 3);
    expect_contains(result_out(&result), "1 inconsistency");
    expect_contains(result_out(&result), "recoveryd verify");
    cr_assert_eq(log_settled_id(&bed), last, "a check has written");
    process_signal(orphan, SIGKILL);
    cr_assert_eq(command_wait(orphan, 60000), 128 + SIGKILL);
}

/* --- the log --- */

static void flip_live_row(const char *key)
{
    char path[4200];
    AUTO(buffer_close) struct buffer bytes = { .limit = 256 << 20 };
    size_t size = strlen(key), damaged = 0;
    snprintf(path, sizeof path, "%s/events/data.mdb", bed.data);
    FILE *file = fopen(path, "r+e");
    cr_assert_not_null(file);
    uint8_t page[4096];
    for (size_t more; (more = fread(page, 1, sizeof page, file)) > 0;)
        buffer_append(&bytes, page, more);
    /* A row of `live` begins with its key; elsewhere the name stands behind "service/". */
    for (size_t i = 1; i + size + 40 <= bytes.size; i++)
        if (bytes.data[i - 1] != '/' && memcmp(bytes.data + i, key, size) == 0) {
            cr_assert_eq(fseek(file, (long)(i + size + 30), SEEK_SET), 0);
            cr_assert_neq(fputc(bytes.data[i + size + 30] ^ 1, file), EOF);
            damaged++;
        }
    cr_assert_eq(fclose(file), 0);
    cr_assert_gt(damaged, 0);
}

Test(verify, damaged_live_rows_are_folded_anew_beside_a_running_eventd, .init = set_up,
     .fini = tear_down)
{
    service_deploy_sleeper(&bed, "acme", "api");
    service_deploy_sleeper(&bed, "acme", "web");
    pid_t pid = service_pid(&bed, "acme", "api");
    flip_live_row("acme/api");
    expect_found(86, NULL, "live_damaged");
    expect_fixed("--fix", "--full", "live_damaged");
    cr_assert_eq(service_pid(&bed, "acme", "api"), pid);
}

/* --- a log from an earlier time --- */

static void copy_log(const char *from, const char *to)
{
    AUTO(result_close) struct result result = { 0 };
    const char *argv[] = { "/bin/cp", "-aT", from, to, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &result);
    expect_exit(&result, 0);
}

static void put_log_back(const char *copy)
{
    char log[400];
    snprintf(log, sizeof log, "%s/events", bed.data);
    cr_assert_eq(directory_remove(log), STATUS_OK);
    copy_log(copy, log);
}

static char *keep_log(char copy[400])
{
    char log[400];
    snprintf(log, sizeof log, "%s/events", bed.data);
    snprintf(copy, 400, "%s/events-earlier", bed.dir);
    copy_log(log, copy);
    return copy;
}

Test(verify, events_that_an_earlier_log_lacks_are_found, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result granted = { 0 }, verified = { 0 };
    char copy[400];
    cr_assert_eq(testbed_stop(&bed), 0);
    keep_log(copy);
    testbed_start(&bed);
    testbed_soloctl(&bed, &granted, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&granted, 0);
    cr_assert_eq(testbed_stop(&bed), 0);
    put_log_back(copy);
    testbed_recoveryd(&bed, &verified, "verify", "--detailed-exitcode", NULL);
    expect_exit(&verified, 3);
    expect_contains(result_out(&verified), "outbox_gap");
    testbed_discard(&bed); /* tokend's next event would not be taken */
}

Test(verify, what_no_record_is_of_is_stopped_only_when_asked_for, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result resolved = { 0 };
    char copy[400];
    service_deploy_sleeper(&bed, "acme", "api");
    cr_assert_eq(testbed_stop(&bed), 0);
    keep_log(copy);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "later");
    pid_t later = service_pid(&bed, "acme", "later");
    testbed_kill_solod(&bed);
    cr_assert(process_is_alive(later));
    put_log_back(copy);
    testbed_start(&bed);
    testbed_recoveryd(&bed, &resolved, "resolve", "--keep", "log", NULL);
    expect_exit(&resolved, 0);
    expect_found(3, NULL, "no_record");
    json_t *document = verify(3, "--fix", NULL);
    expect_list(document, "inconsistencies", "no_record");
    json_decref(document);
    cr_assert(process_is_alive(later));
    expect_fixed("--fix-orphans", NULL, "no_record");
    cr_assert(process_wait_gone(later, 60000));
}
