/* Starting, crashing, completing, replacing: the real program, one service at a time. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/supervisor_calls.h"

static struct bed bed;

static void end(void)
{
    bed_close(&bed);
}
TestSuite(tenantd, .fini = end);

#define SLEEPER "\"argv\": [\"PROGRAMS/sleeper\"]"

Test(tenantd, starts_a_service_and_says_what_runs)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", SLEEPER, &row), STATUS_OK, "%s",
                 bed.problem.message);
    cr_assert_str_eq(row.state, "running");
    cr_assert_eq(row.generation, 5);
    cr_assert_gt(row.start_ticks, 0);
    cr_assert(is_alive(row.pid), "pid %lu is not a host pid", (unsigned long)row.pid);
    cr_assert_not_null(strstr(row.instance, "/acme/5/"));
    struct row listed;
    cr_assert(bed_row(&bed, "api", &listed));
    cr_assert_eq(listed.pid, row.pid);
    cr_assert_eq(bed_stop(&bed, "api", 6, "kill", -1, NULL), STATUS_OK);
    cr_assert_not(is_alive(row.pid));
    cr_assert_not(bed_row(&bed, "api", &listed));
    cr_assert_eq(bed_stop(&bed, "api", 6, "kill", -1, NULL), STATUS_NOT_FOUND);
    bed_close(&bed);
}

Test(tenantd, makes_folder_and_cgroup_of_a_service_before_it_is_started)
{
    const struct supervisor_prepare_request request = { .name = "api" };
    struct supervisor_prepare_reply reply;
    struct row row;
    struct stat stat;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_call(&bed, &method_supervisor_prepare, &request, &reply), STATUS_OK);
    cr_assert_eq(fstatat(bed.scratch.fd, "data/tenants/acme/api", &stat, 0), 0);
    cr_assert_eq(stat.st_mode, S_IFDIR | 0700);
    cr_assert_eq(stat.st_uid, geteuid() == 0 ? TEST_UID : geteuid());
    cr_assert_not(bed_row(&bed, "api", &row), "nothing is held for it");
    cr_assert(bed_has_cgroup(&bed, "api", true));
    bed_close(&bed);
}

static bool prepare(bool is_refused)
{
    const struct supervisor_prepare_request request = { .name = "api", .is_refused = is_refused };
    struct supervisor_prepare_reply reply;
    struct stat stat;
    cr_assert_eq(bed_call(&bed, &method_supervisor_prepare, &request, &reply), STATUS_OK);
    return fstatat(bed.scratch.fd, "data/tenants/acme/api", &stat, 0) == 0;
}

Test(tenantd, takes_back_the_folder_of_a_service_that_was_not_recorded)
{
    static const char home[] = "data/tenants/acme/api", kept[] = "data/tenants/acme/api/kept";
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_not(prepare(true), "there is none");
    cr_assert(prepare(false));
    cr_assert_not(prepare(true));
    cr_assert_not(bed_has_cgroup(&bed, "api", false));
    cr_assert(prepare(false));
    cr_assert_eq(mkdirat(bed.scratch.fd, kept, 0700), 0);
    cr_assert(prepare(true), "an earlier one has left something in it");
    cr_assert_eq(unlinkat(bed.scratch.fd, kept, AT_REMOVEDIR), 0);
    cr_assert_eq(fchmodat(bed.scratch.fd, home, 0750, 0), 0);
    cr_assert(prepare(true), "somebody has changed it");
    cr_assert_eq(fchmodat(bed.scratch.fd, home, 0700, 0), 0);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", SLEEPER, &row), STATUS_OK);
    cr_assert(prepare(true), "it is held");
    cr_assert(bed_has_cgroup(&bed, "api", true));
    bed_close(&bed);
}

/* deployd ends one that says another incarnation than its log has; one that says none it keeps. */
Test(tenantd, says_for_which_event_log_it_was_started)
{
    static const char *const told[] = { "--store-incarnation", "00112233445566778899aabbccddeeff",
                                        NULL };
    static const uint8_t incarnation[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                             0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
    struct supervisor_hello_reply hello;
    bed_open(&bed, NULL);
    cr_assert_eq(
        bed_call(&bed, &method_supervisor_hello, &(struct supervisor_hello_request){}, &hello),
        STATUS_OK);
    cr_assert_eq(hello.store_incarnation.size, 0);
    bed_close(&bed);
    bed_open(&bed, told);
    cr_assert_eq(
        bed_call(&bed, &method_supervisor_hello, &(struct supervisor_hello_request){}, &hello),
        STATUS_OK);
    cr_assert(span_equal(hello.store_incarnation, span_of(incarnation, sizeof incarnation)));
    bed_close(&bed);
}

Test(tenantd, a_service_gets_its_environment_and_nothing_else)
{
    char expected[PATH_MAX * 3];
    setenv("SECRET_OF_THE_PARENT", "1", 1);
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/spawn_probe\", \"two words\"], "
                           "\"env\": {\"B\": \"2\", \"A\": \"1\"}, "
                           "\"restart\": {\"policy\": \"never\"}",
                           NULL),
                 STATUS_OK);
    bed_await_log(&bed, "api", "stderr F to standard error\n");
    bed_await_log(&bed, "api", "stdout F environment B=2\n");
    AUTO(scratch_free) char *log = bed_log(&bed, "api");
    bool is_fixed = strcmp(bed.isolation, "namespaces") == 0;
    snprintf(expected, sizeof expected,
             "stdout F argument two words\n"
             "stdout F environment PATH=/usr/local/bin:/usr/bin:/bin\n"
             "stdout F environment HOME=%s%s/tenants/acme/api\n"
             "stdout F environment SOLO_TENANT=acme\n"
             "stdout F environment SOLO_SERVICE=api\n"
             "stdout F environment SOLO_INSTANCE=",
             is_fixed ? "" : bed.scratch.path, is_fixed ? "/var/lib/solo" : "/data");
    cr_assert_not_null(strstr(log, expected), "not\n%s\nin\n%s", expected, log);
    const char *rest = strchr(strstr(log, "SOLO_INSTANCE="), '\n');
    static const char own[] = "\nstdout F environment A=1\nstdout F environment B=2\n";
    cr_assert_eq(strncmp(rest, own, sizeof own - 1), 0, "%s", rest);
    cr_assert_null(strstr(log, "SECRET_OF_THE_PARENT"));
    cr_assert_not_null(strstr(log, "descriptors 0 1 2\n"));
    if (geteuid() == 0) {
        char ids[64];
        snprintf(ids, sizeof ids, "ids %d %d %d %d\n", TEST_UID, TEST_UID, TEST_UID, TEST_UID);
        cr_assert_not_null(strstr(log, ids));
        cr_assert_not_null(strstr(log, "CapBnd 0000000000000000\n"));
    }
    cr_assert_not_null(strstr(log, "CapEff 0000000000000000\n"));
    bed_close(&bed);
}

Test(tenantd, a_program_that_does_not_exist_is_refused_and_not_retried)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", "\"argv\": [\"no-such-program\"]", NULL),
                 STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(bed.problem.message, "no-such-program"), "%s", bed.problem.message);
    cr_assert_eq(bed_start(&bed, "web", 6, 6, "deploy", "\"argv\": [\"/etc/passwd\"]", NULL),
                 STATUS_FAILED_PRECONDITION);
    cr_assert_eq(
        bed_start(&bed, "dir", 7, 7, "deploy", SLEEPER ", \"working_dir\": \"/nonexistent\"", NULL),
        STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(bed.problem.message, "No such file"), "%s", bed.problem.message);
    cr_assert(bed_row(&bed, "api", &row));
    cr_assert_str_eq(row.state, "failed");
    cr_assert_eq(row.restarts, 0);
    /* The generation before it comes back. */
    cr_assert_eq(bed_start(&bed, "api", 4, 8, "fallback", SLEEPER, &row), STATUS_OK);
    cr_assert_str_eq(row.state, "running");
    bed_close(&bed);
}

Test(tenantd, crashes_are_retried_with_backoff_and_then_parked)
{
    struct row row;
    bed_open(&bed, NULL);
    bed_watch(&bed);
    static const char crasher[] =
        "\"argv\": [\"PROGRAMS/crasher\"], \"restart\": {\"initial\": \"20ms\", \"max\": "
        "\"40ms\", \"max_restarts\": 3}";
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", crasher, NULL), STATUS_OK);
    bed_await(&bed, "api", "parked", &row);
    cr_assert_eq(row.restarts, 3);
    cr_assert_eq(row.pid, 0);
    cr_assert_eq(row.exits, 4);
    cr_assert_str_eq(row.last_exit, "was killed by SIGSEGV");
    cr_assert_str_eq(row.last_output, "about to crash\n");
    cr_assert_not_null(strstr(row.reason, "crashed 4 times"), "%s", row.reason);
    bed_await_report(&bed, "service_parked", "api", 1);
    /* Transitions, not every exit. */
    cr_assert_eq(bed_reports_of(&bed, "service_started", "api"), 1);
    cr_assert_eq(bed_reports_of(&bed, "service_crashed", "api"), 1);
    cr_assert_eq(bed_reports_of(&bed, "service_restarted", "api"), 1);
    /* The same request again changes nothing; a restart clears the counters. */
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", crasher, &row), STATUS_OK);
    cr_assert_str_eq(row.state, "parked");
    cr_assert_eq(bed_restart(&bed, "api", 5, 5, &row), STATUS_OK);
    cr_assert_eq(row.restarts, 0);
    bed_await(&bed, "api", "parked", &row);
    bed_await_report(&bed, "service_parked", "api", 2);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "recover", SLEEPER, &row), STATUS_OK);
    cr_assert_str_eq(row.state, "running");
    bed_await_report(&bed, "service_recovered", "api", 1);
    bed_close(&bed);
}

Test(tenantd, backoff_is_shown_with_its_reason)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/exiter\", \"3\"], "
                           "\"restart\": {\"initial\": \"1h\", \"max\": \"1h\"}",
                           NULL),
                 STATUS_OK);
    bed_await(&bed, "api", "backoff", &row);
    cr_assert_eq(strncmp(row.reason, "exited with code 3 after ", 25), 0, "%s", row.reason);
    cr_assert_not_null(strstr(row.reason, "restarts in 1h, attempt 1 of 5"));
    cr_assert_eq(bed_restart(&bed, "api", 5, 5, &row), STATUS_OK);
    bed_await(&bed, "api", "backoff", &row);
    cr_assert_eq(bed_stop(&bed, "api", 5, "kill", -1, NULL), STATUS_OK);
    cr_assert_not(bed_row(&bed, "api", &row));
    bed_close(&bed);
}

Test(tenantd, a_normal_end_completes_where_the_policy_says_so)
{
    struct row row;
    bed_open(&bed, NULL);
    bed_watch(&bed);
    cr_assert_eq(bed_start(&bed, "once", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/exiter\", \"0\"], "
                           "\"restart\": {\"policy\": \"on-failure\"}",
                           NULL),
                 STATUS_OK);
    cr_assert_eq(bed_start(&bed, "never", 6, 6, "deploy",
                           "\"argv\": [\"PROGRAMS/exiter\", \"9\"], "
                           "\"restart\": {\"policy\": \"never\"}",
                           NULL),
                 STATUS_OK);
    cr_assert_eq(bed_start(&bed, "killed", 7, 7, "deploy",
                           "\"argv\": [\"PROGRAMS/crasher\"], "
                           "\"restart\": {\"policy\": \"never\"}",
                           NULL),
                 STATUS_OK);
    cr_assert_eq(bed_start(&bed, "always", 8, 8, "deploy",
                           "\"argv\": [\"PROGRAMS/exiter\", \"0\"], "
                           "\"restart\": {\"initial\": \"1h\", \"max\": \"1h\"}",
                           NULL),
                 STATUS_OK);
    bed_await(&bed, "once", "completed", &row);
    bed_await(&bed, "never", "completed", &row);
    bed_await(&bed, "killed", "failed", &row);
    bed_await(&bed, "always", "backoff", &row);
    bed_await_report(&bed, "service_completed", "once", 1);
    bed_await_report(&bed, "service_completed", "never", 1);
    bed_await_report(&bed, "service_crashed", "killed", 1);
    bed_await_report(&bed, "service_crashed", "always", 1);
    cr_assert_eq(bed_reports_of(&bed, "service_completed", "killed"), 0);
    cr_assert_eq(bed_reports_of(&bed, "service_completed", "always"), 0);
    bed_close(&bed);
}

Test(tenantd, an_end_that_was_asked_for_is_no_completion)
{
    struct row row;
    bool was_killed = true;
    bed_open(&bed, NULL);
    bed_watch(&bed);
    cr_assert_eq(bed_start(&bed, "once", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/exiter\", \"0\", \"on-term\"], "
                           "\"restart\": {\"policy\": \"on-failure\"}",
                           &row),
                 STATUS_OK);
    bed_turn(&bed, 200);
    cr_assert_eq(bed_stop(&bed, "once", 5, "shutdown", -1, &was_killed), STATUS_OK);
    cr_assert_not(was_killed);
    bed_await_report(&bed, "service_stopped", "once", 1);
    cr_assert_eq(bed_reports_of(&bed, "service_completed", "once"), 0);
    bed_close(&bed);
}

Test(tenantd, code_is_written_for_its_generation_and_goes_with_it)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "job", 5, 5, "deploy",
                           "\"code\": \"echo one $1 $HOME; exec sleep 1000\", \"interpreter\": "
                           "\"sh\", \"argv\": [\"two\"]",
                           &row),
                 STATUS_OK, "%s", bed.problem.message);
    bed_await_log(&bed, "job", "stdout F one two /");
    AUTO(scratch_free) char *code = scratch_read(&bed.scratch, "run/tenants/acme/job/5/code");
    cr_assert_str_eq(code, "echo one $1 $HOME; exec sleep 1000");
    struct stat stat;
    cr_assert_eq(fstatat(bed.scratch.fd, "run/tenants/acme/job/5/code", &stat, 0), 0);
    cr_assert_eq(stat.st_mode & 07777, 0440);
    if (geteuid() == 0) {
        cr_assert_eq(stat.st_uid, 0);
        cr_assert_eq(stat.st_gid, TEST_UID);
    }
    cr_assert_eq(fstatat(bed.scratch.fd, "data/tenants/acme/job", &stat, 0), 0);
    cr_assert_eq(stat.st_mode & 07777, 0700);
    cr_assert_eq(stat.st_uid, geteuid() == 0 ? TEST_UID : geteuid());
    cr_assert_eq(bed_start(&bed, "job", 9, 9, "deploy",
                           "\"code\": \"exec sleep 1000\", \"interpreter\": \"sh\"", &row),
                 STATUS_OK);
    cr_assert_eq(faccessat(bed.scratch.fd, "run/tenants/acme/job/5", F_OK, 0), -1);
    cr_assert_eq(faccessat(bed.scratch.fd, "run/tenants/acme/job/9/code", F_OK, 0), 0);
    cr_assert_eq(bed_stop(&bed, "job", 9, "kill", 0, NULL), STATUS_OK);
    cr_assert_eq(faccessat(bed.scratch.fd, "run/tenants/acme/job", F_OK, 0), -1);
    cr_assert_eq(faccessat(bed.scratch.fd, "data/tenants/acme/job", F_OK, 0), 0);
    bed_close(&bed);
}

Test(tenantd, a_newer_generation_replaces_the_older_one)
{
    struct row first, second;
    bed_open(&bed, NULL);
    bed_watch(&bed);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", SLEEPER, &first), STATUS_OK);
    cr_assert_eq(bed_start(&bed, "api", 9, 9, "deploy", SLEEPER, &second), STATUS_OK);
    cr_assert_eq(second.generation, 9);
    cr_assert_neq(first.pid, second.pid);
    cr_assert_not(is_alive(first.pid));
    cr_assert(is_alive(second.pid));
    bed_await_report(&bed, "service_started", "api", 2);
    cr_assert_eq(bed_reports_of(&bed, "service_stopped", "api"), 1);
    bed_close(&bed);
}

Test(tenantd, an_older_order_is_refused_and_the_same_one_is_answered)
{
    struct row first, again;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 9, 9, "deploy", SLEEPER, &first), STATUS_OK);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", SLEEPER, NULL), STATUS_ABORTED);
    cr_assert_eq(bed_start(&bed, "api", 9, 9, "deploy", SLEEPER, &again), STATUS_OK);
    cr_assert_eq(again.pid, first.pid);
    cr_assert_eq(bed_start(&bed, "api", 5, 9, "fallback", SLEEPER, NULL), STATUS_ABORTED);
    cr_assert_eq(bed_stop(&bed, "api", 8, "kill", -1, NULL), STATUS_ABORTED);
    cr_assert_eq(bed_restart(&bed, "api", 9, 8, NULL), STATUS_ABORTED);
    cr_assert_eq(bed_restart(&bed, "api", 8, 9, NULL), STATUS_ABORTED);
    cr_assert(is_alive(first.pid));
    /* A later event that wants the same generation: nothing to do but to remember it. */
    cr_assert_eq(bed_start(&bed, "api", 9, 12, "fallback", SLEEPER, &again), STATUS_OK);
    cr_assert_eq(again.pid, first.pid);
    cr_assert_eq(again.since, 12);
    cr_assert_eq(bed_start(&bed, "api", 11, 11, "deploy", SLEEPER, NULL), STATUS_ABORTED);
    bed_close(&bed);
}

/* A log that went back gives a number again, to another program. */
Test(tenantd, another_program_under_the_same_number_replaces_what_is_held)
{
    struct row first, second;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 9, 9, "deploy", SLEEPER, &first), STATUS_OK);
    cr_assert_eq(
        bed_start(&bed, "api", 9, 9, "deploy", SLEEPER ", \"env\": {\"A\": \"b\"}", &second),
        STATUS_OK);
    cr_assert_neq(second.pid, first.pid);
    cr_assert_not(is_alive(first.pid));
    cr_assert(is_alive(second.pid));
    bed_close(&bed);
}

Test(tenantd, a_stop_never_ends_what_is_newer_than_it_names)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 9, 9, "deploy", SLEEPER, &row), STATUS_OK);
    cr_assert_eq(bed_stop_generation(&bed, "api", 7, 9), STATUS_ABORTED);
    cr_assert_str_eq(bed.problem.field, "generation");
    cr_assert_eq(bed_stop_generation(&bed, "api", 9, 8), STATUS_ABORTED);
    cr_assert_eq(bed_stop_generation(&bed, "api", 7, 7), STATUS_ABORTED);
    cr_assert_eq(bed_stop_generation(&bed, "api", 0, 0), STATUS_ABORTED, "0 is not any");
    cr_assert(is_alive(row.pid));
    cr_assert_eq(bed_stop_generation(&bed, "api", 9, 9), STATUS_OK);
    cr_assert_not(is_alive(row.pid));
    bed_close(&bed);
}

Test(tenantd, what_is_wrong_with_a_request_is_named)
{
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "whim", SLEEPER, NULL), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(bed.problem.field, "cause");
    cr_assert_eq(bed_start(&bed, "api", 5, 4, "deploy", SLEEPER, NULL), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(bed.problem.field, "since");
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", "\"argv\": []", NULL),
                 STATUS_INVALID_ARGUMENT);
    cr_assert_eq(strncmp(bed.problem.field, "spec.", 5), 0, "%s", bed.problem.field);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", SLEEPER ", \"wrong\": 1", NULL),
                 STATUS_INVALID_ARGUMENT);
    cr_assert_eq(bed_restart(&bed, "api", 5, 5, NULL), STATUS_NOT_FOUND);
    struct supervisor_ack_reply reply = {};
    const struct supervisor_ack_request request = { .number = 1 };
    cr_assert_eq(bed_call(&bed, &method_supervisor_ack, &request, &reply), STATUS_INVALID_ARGUMENT);
    struct row row;
    cr_assert_not(bed_row(&bed, "api", &row));
    bed_close(&bed);
}

Test(tenantd, a_second_supervisor_is_refused)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", SLEEPER, &row), STATUS_OK);
    cr_assert_eq(bed_supervisor_start(&bed), 75);
    cr_assert(is_alive(row.pid));
    bed_close(&bed);
}
