/* What a service can see and touch, tried by a service. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/supervisor_calls.h"

static struct bed bed;

static void end(void)
{
    bed_close(&bed);
}
TestSuite(isolation, .fini = end);

/* Runs a shell line as a service and returns its log when it has said "end". */
static char *log_of_shell(const char *line)
{
    char members[4096];
    snprintf(members, sizeof members,
             "\"argv\": [\"sh\", \"-c\", \"%s; echo end; exec sleep 1000\"]", line);
    cr_assert_eq(bed_start(&bed, "probe", 5, 5, "deploy", members, NULL), STATUS_OK, "%s",
                 bed.problem.message);
    bed_await_log(&bed, "probe", "stdout F end\n");
    return bed_log(&bed, "probe");
}

Test(isolation, as_root_the_supervisors_things_are_out_of_reach)
{
    if (geteuid() != 0)
        cr_skip("needs root");
    char line[3 * PATH_MAX];
    bed_open(&bed, NULL);
    snprintf(
        line, sizeof line,
        "cd %s; for f in run/internal run/internal/tenants/acme.sock data/logs data/logs/acme; "
        "do if test -r $f || test -w $f; then echo can $f; else echo cannot $f; fi; done; "
        "touch data/tenants/x data/x run/x /var/lib/solo/x; ls data/tenants; id -u",
        bed.scratch.path);
    AUTO(scratch_free) char *log = log_of_shell(line);
    cr_assert_null(strstr(log, " can "), "%s", log);
    cr_assert_not_null(strstr(log, "stdout F cannot run/internal\n"), "%s", log);
    cr_assert_not_null(strstr(log, "stdout F cannot data/logs\n"), "%s", log);
    char uid[32];
    snprintf(uid, sizeof uid, "stdout F %d\n", TEST_UID);
    cr_assert_not_null(strstr(log, uid), "%s", log);
    struct stat stat;
    cr_assert_eq(fstatat(bed.scratch.fd, "data/x", &stat, 0), -1);
    cr_assert_eq(fstatat(bed.scratch.fd, "data/tenants/x", &stat, 0), -1);
    cr_assert_eq(fstatat(bed.scratch.fd, "run/x", &stat, 0), -1);
    bed_close(&bed);
}

Test(isolation, in_a_pid_namespace_only_the_tenants_processes_are_seen)
{
    bed_open(&bed, NULL);
    if (strcmp(bed.isolation, "none") == 0)
        cr_skip("no namespaces here");
    AUTO(scratch_free)
    char *log =
        log_of_shell("echo pids $(ls /proc | grep -c '^[0-9]'); echo one $(cat /proc/1/comm)");
    int pids = 0;
    cr_assert_eq(sscanf(strstr(log, "pids "), "pids %d", &pids), 1);
    cr_assert_lt(pids, 8, "%s", log);
    cr_assert_not_null(strstr(log, "one tenantd"), "%s", log);
    bed_close(&bed);
}

Test(isolation, a_service_can_write_in_its_home_and_begins_there)
{
    static const char *const none[] = { "--without-namespaces", NULL };
    for (int i = 0; i < 2; i++) {
        bed_open(&bed, i == 0 ? NULL : none);
        AUTO(scratch_free)
        char *log =
            log_of_shell("test $(pwd -P) = $(cd $HOME && pwd -P) && echo same; echo hello > file");
        cr_assert_not_null(strstr(log, "same"), "%s", log);
        AUTO(scratch_free) char *file = scratch_read(&bed.scratch, "data/tenants/acme/probe/file");
        cr_assert_str_eq(file, "hello\n");
        bed_close(&bed);
    }
}

Test(isolation, a_relative_program_is_found_in_the_working_directory)
{
    bed_open(&bed, NULL);
    char home[PATH_MAX];
    struct row row;
    cr_assert_eq(path_join(home, bed.scratch.path, "programs"), STATUS_OK);
    char members[2 * PATH_MAX];
    snprintf(members, sizeof members, "\"argv\": [\"./sleeper\"], \"working_dir\": \"%s\"", home);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", members, &row), STATUS_OK, "%s",
                 bed.problem.message);
    bed_close(&bed);
}
