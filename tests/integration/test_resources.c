/* What a daemon may run out of is told before it has: resource_usage_high, once each time, and in
 * status while it lasts. (A disk: test_full_disk.) */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "tests/support/build.h"
#include "tests/support/caller.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/services.h"

TestSuite(resources, .timeout = 240);

enum { AWAIT_MS = 40000, READERS = 114, CROWD = 60 };

/* How often this daemon has told of this resource. */
static size_t count_told(const struct testbed *bed, const char *daemon, const char *resource)
{
    size_t count = 0, i;
    json_t *event, *events = events_after(bed, 0);
    json_array_foreach(events, i, event)
    {
        const json_t *payload = json_object_get(event, "payload");
        if (strcmp(text_in(event, "type"), "resource_usage_high") != 0 ||
            strcmp(text_in(payload, "daemon"), daemon) != 0 ||
            strcmp(text_in(payload, "resource"), resource) != 0)
            continue;
        count++;
        cr_expect_geq(10 * number_in(payload, "used"), 9 * number_in(payload, "allowed"));
        cr_expect_str_eq(text_in(event, "subject"), "system");
    }
    json_decref(events);
    return count;
}

static void await_told(const struct testbed *bed, const char *daemon, const char *resource,
                       size_t count)
{
    for (int i = 0; i < AWAIT_MS / 100; i++) {
        if (count_told(bed, daemon, resource) == count)
            return;
        sleep_ms(100);
    }
    testbed_show_log(bed);
    test_fail("%s has told of its %s %zu times, not %zu", daemon, resource,
              count_told(bed, daemon, resource), count);
}

/* Until status names this need, or no longer does. */
static void await_shown(const struct testbed *bed, const char *text, bool is_shown)
{
    AUTO(result_close) struct result result = { 0 };
    for (int i = 0; i < AWAIT_MS / 100; i++) {
        testbed_soloctl(bed, &result, "status", "--check", NULL);
        if ((strstr(result_out(&result), text) != NULL) == is_shown) {
            cr_expect(!is_shown || result.exit_code == 3, "a person is needed");
            return;
        }
        sleep_ms(100);
    }
    test_fail("\"%s\" is %s: %s", text, is_shown ? "not shown" : "shown", result_out(&result));
}

static void skip_without_faults(struct testbed *bed)
{
    if (!build_has_faults(bed)) {
        testbed_close(bed);
        cr_skip_test("this build has no bounds that a test may lower (SOLO_FAULTS)");
    }
}

static void open_bed(struct testbed *bed, const char *bounds)
{
    testbed_open(bed, 0);
    testbed_set(bed, "SOLO_FAULT_BOUND", bounds);
    testbed_start(bed);
}

/* Connections that stay: a tenth of the rest is then some. */
struct crowd {
    struct caller callers[CROWD];
};

static void crowd_open(struct crowd *crowd, const struct testbed *bed, const char *daemon)
{
    char path[4096];
    for (int i = 0; i < CROWD; i++) {
        crowd->callers[i] = CALLER_NONE;
        cr_assert_eq(caller_open(&crowd->callers[i], testbed_socket(bed, daemon, path)), STATUS_OK);
    }
}

static void crowd_close(struct crowd *crowd)
{
    for (int i = 0; i < CROWD; i++)
        caller_close(&crowd->callers[i]);
}

static void bound_descriptors(struct testbed *bed, const char *daemon)
{
    pid_t pid = testbed_daemon(bed, daemon);
    struct rlimit limit;
    cr_assert_eq(prlimit(pid, RLIMIT_NOFILE, NULL, &limit), 0);
    limit.rlim_cur = (rlim_t)process_descriptors(pid) * 100 / 92;
    cr_assert_eq(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

Test(resources, each_daemon_tells_once_that_its_descriptors_are_nearly_used_up)
{
    /* Of the others an ordinary user's limits cannot be set: they are not dumpable. */
    static const char *const daemons[] = { "eventd", "deployd", "tokend", "vaultd" };
    static struct crowd crowds[COUNT_OF(daemons)];
    size_t count = geteuid() == 0 ? COUNT_OF(daemons) : 2, last = count - 1;
    char shown[64];
    struct testbed bed = { 0 };
    open_bed(&bed, "look_ms:resources:200");
    for (size_t i = 0; i < count; i++) {
        crowd_open(&crowds[i], &bed, daemons[i]);
        json_decref(testbed_ask(&bed, daemons[i], "daemon.health", NULL)); /* all were accepted */
        bound_descriptors(&bed, daemons[i]);
    }
    for (size_t i = 0; i < count; i++)
        await_told(&bed, daemons[i], "descriptors", 1);
    snprintf(shown, sizeof shown, "%s: its descriptors: ", daemons[last]);
    await_shown(&bed, shown, true);
    crowd_close(&crowds[last]);
    await_shown(&bed, shown, false);
    crowd_open(&crowds[last], &bed, daemons[last]);
    await_told(&bed, daemons[last], "descriptors", 2);
    cr_expect_eq(count_told(&bed, "eventd", "descriptors"), 1, "one event to a crossing");
    for (size_t i = 0; i < count; i++)
        crowd_close(&crowds[i]);
    testbed_close(&bed);
}

Test(resources, slots_for_readers_of_the_log)
{
    struct testbed bed = { 0 };
    struct db db;
    MDB_txn *readers[READERS];
    char dir[300];
    open_bed(&bed, "look_ms:resources:200");
    snprintf(dir, sizeof dir, "%s/events", bed.data);
    cr_assert_eq(db_open_reader(&db, &events_schema, dir), STATUS_OK);
    for (size_t i = 0; i < READERS; i++)
        cr_assert_eq(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &readers[i]), 0);
    await_told(&bed, "eventd", "readers", 1);
    await_shown(&bed, "eventd: the slots for readers of its store: ", true);
    for (size_t i = 0; i < READERS; i++)
        mdb_txn_abort(readers[i]);
    db_close(&db);
    await_shown(&bed, "eventd: the slots for readers of its store: ", false);
    testbed_close(&bed);
}

/* This machine runs more than ten. */
Test(resources, processes)
{
    struct testbed bed = { 0 };
    open_bed(&bed, "look_ms:resources:200,most:processes:10");
    skip_without_faults(&bed);
    await_told(&bed, "deployd", "processes", 1);
    await_shown(&bed, "deployd: the processes that may exist: ", true);
    testbed_close(&bed);
}

static enum status append_note(const struct testbed *bed)
{
    char text[16000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    return testbed_call(bed, "eventd", "event.append",
                        json_pack("{s:s, s:{s:s}}", "type", "app.note", "payload", "text", text),
                        NULL, NULL);
}

/* The map of the log, made small: told at 90 %; then what grows is refused, a kill is not, and a
 * shutdown and a start are not either. */
Test(resources, the_map_of_the_log_is_told_of_and_its_end_leaves_room_for_kills)
{
    struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    enum status status = STATUS_OK;
    char refused[4200];
    open_bed(&bed, "look_ms:resources:200,map_bytes:events:8388608");
    skip_without_faults(&bed);
    service_deploy_sleeper(&bed, "acme", "goes");
    pid_t pid = service_pid(&bed, "acme", "goes");
    for (int i = 0; i < 2000 && status == STATUS_OK; i++)
        status = append_note(&bed);
    cr_assert_eq(status, STATUS_RESOURCE_EXHAUSTED, "%s", status_name(status));
    await_shown(&bed, "eventd: there is no room for its store", true);
    cr_assert_eq(service_try_deploy(&bed, service_spec(&bed, "acme", "refused", "sleeper", NULL),
                                    NULL, NULL),
                 STATUS_RESOURCE_EXHAUSTED);
    service_kill(&bed, "acme", "goes"); /* its supervisor has done by then what it was told */
    cr_assert_not(process_is_alive(pid));
    snprintf(refused, sizeof refused, "%s/tenants/acme/refused", bed.data);
    cr_assert_neq(access(refused, F_OK), 0, "a refused deploy has left a folder behind");
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    cr_assert_null(service_row_of(&bed, "acme", "goes"));
    cr_assert_eq(append_note(&bed), STATUS_RESOURCE_EXHAUSTED);
    testbed_recoveryd(&bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
    testbed_close(&bed);
}
