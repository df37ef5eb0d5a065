/* Services that become ready, and such that do not, under the real tenantd. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/supervisor_calls.h"

static struct bed bed;

static void end(void)
{
    bed_close(&bed);
}
TestSuite(ready_program, .fini = end, .timeout = 180);

#define ANNOUNCER(...) "\"argv\": [\"PROGRAMS/announcer\"" __VA_ARGS__ "]"
#define READY(by, more)                                                                            \
    ", \"ready\": {\"by\": \"" by "\"" more "}, \"stop\": {\"timeout\": \"200ms\"}"

static int free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void expect_reason(const struct row *row, const char *part)
{
    cr_assert_not_null(strstr(row->reason, part), "\"%s\" is not in: %s", part, row->reason);
}

Test(ready_program, notify_runs_when_it_has_said_so)
{
    struct row row;
    bed_open(&bed, NULL);
    bed_watch(&bed);
    cr_assert_eq(bed_start(&bed, "web", 5, 5, "deploy",
                           ANNOUNCER(", \"notify:STATUS=warming up\", \"sleep:400\", "
                                     "\"notify:READY=1\\\\nSTATUS=42 pages\"") READY("notify", ""),
                           &row),
                 STATUS_OK, "%s", bed.problem.message);
    cr_assert_str_eq(row.state, "starting");
    cr_assert_neq(row.pid, 0, "answered before it was exec'd");
    cr_assert_eq(bed_reports_of(&bed, "service_started", "web"), 0);
    bed_await(&bed, "web", "running", &row);
    bed_await_report(&bed, "service_started", "web", 1);
}

Test(ready_program, its_status_is_its_reason)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "web", 5, 5, "deploy",
                           ANNOUNCER(", \"notify:STATUS=warming up\"") READY("notify", ""), &row),
                 STATUS_OK);
    for (int i = 0; i < 6000 && strstr(row.reason, "warming up") == NULL; i++) {
        bed_turn(&bed, 10);
        cr_assert(bed_row(&bed, "web", &row));
    }
    cr_assert_str_eq(row.state, "starting");
    expect_reason(&row, "is not ready yet: it says: warming up");
}

Test(ready_program, its_status_beside_its_readiness_is_its_reason_too)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "web", 5, 5, "deploy",
                           ANNOUNCER(", \"notify:READY=1\\nSTATUS=all well\"") READY("notify", ""),
                           &row),
                 STATUS_OK);
    bed_await(&bed, "web", "running", &row);
    expect_reason(&row, "it says: all well");
}

Test(ready_program, a_process_of_its_tree_may_say_so)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "web", 5, 5, "deploy",
                           ANNOUNCER(", \"child-notify:READY=1\"") READY("notify", ""), &row),
                 STATUS_OK);
    bed_await(&bed, "web", "running", &row);
}

Test(ready_program, what_another_service_says_counts_for_that_one)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "silent", 5, 5, "deploy", ANNOUNCER() READY("notify", ""), &row),
                 STATUS_OK);
    cr_assert_eq(bed_start(&bed, "loud", 6, 6, "deploy",
                           ANNOUNCER(", \"notify:READY=1\"") READY("notify", ""), &row),
                 STATUS_OK);
    bed_await(&bed, "loud", "running", &row);
    cr_assert(bed_row(&bed, "silent", &row));
    cr_assert_str_eq(row.state, "starting");
}

/* The first process never says that it is ready, the second one does. */
Test(ready_program, who_waits_for_what_is_restarted_waits_for_its_new_process)
{
    struct row row;
    struct pending_start waiting;
    bed_open(&bed, NULL);
    bed_begin_trial(&bed, "web", 5,
                    ANNOUNCER(", \"stay-once:began\", \"notify:READY=1\"") READY("notify", ""),
                    &waiting);
    bed_await(&bed, "web", "starting", &row);
    uint64_t first = row.pid;
    cr_assert_eq(bed_restart_for(&bed, "web", 5, 5, 6, &row), STATUS_OK, "%s", bed.problem.message);
    cr_assert_neq(row.pid, first);
    bed_await_start(&bed, &waiting);
    cr_assert_eq(waiting.status, STATUS_OK, "%s", waiting.problem.message);
    cr_assert(bed_row(&bed, "web", &row));
    cr_assert_str_eq(row.state, "running");
    cr_assert_neq(row.pid, first);
}

Test(ready_program, a_first_start_that_is_not_ready_in_time_fails_with_its_reason)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start_ready(&bed, "web", 5, 5,
                                 ANNOUNCER(", \"print:no such table\", \"ignore:15\"")
                                     READY("notify", ", \"timeout\": \"3s\"")),
                 STATUS_DEADLINE_EXCEEDED, "%s", bed.problem.message);
    cr_assert_not_null(strstr(bed.problem.message, "was not ready within 3s"), "%s",
                       bed.problem.message);
    cr_assert_not_null(strstr(bed.problem.message, "\nno such table"), "%s", bed.problem.message);
    cr_assert(bed_row(&bed, "web", &row));
    cr_assert_str_eq(row.state, "failed");
    cr_assert(row.is_trial_over);
    expect_reason(&row, "was not ready within 3s");
    cr_assert_eq(row.pid, 0);
    cr_assert_str_eq(row.last_exit,
                     "was not ready within 3s; was killed by SIGKILL, its grace was over");
}

Test(ready_program, that_it_was_not_ready_is_why_its_process_ended)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start_ready(&bed, "web", 5, 5,
                                 "\"argv\": [\"PROGRAMS/sleeper\"]" READY(
                                     "notify", ", \"timeout\": \"300ms\"")),
                 STATUS_DEADLINE_EXCEEDED, "%s", bed.problem.message);
    cr_assert(bed_row(&bed, "web", &row));
    cr_assert_str_eq(row.last_exit,
                     "was not ready within 300ms; was killed by SIGTERM when asked to stop");
}

Test(ready_program, a_first_start_that_ends_before_it_is_ready_fails_at_once)
{
    struct row row;
    bed_open(&bed, NULL);
    uint64_t began = clock_boottime_ns();
    cr_assert_eq(bed_start_ready(&bed, "web", 5, 5,
                                 ANNOUNCER(", \"print:bad config\", \"exit:3\"")
                                     READY("notify", ", \"timeout\": \"50s\"")),
                 STATUS_DEADLINE_EXCEEDED);
    cr_assert_lt(clock_boottime_ns() - began, UINT64_C(20000000000));
    cr_assert_not_null(strstr(bed.problem.message, "exited with code 3"), "%s",
                       bed.problem.message);
    cr_assert_not_null(strstr(bed.problem.message, "before it was ready\nbad config"), "%s",
                       bed.problem.message);
    bed_await(&bed, "web", "failed", &row);
}

Test(ready_program, one_that_was_ready_follows_its_policy_when_it_is_not_any_more)
{
    struct row row;
    bed_open(&bed, NULL);
    /* Ready the first time only: then there is a file that keeps it from saying so. */
    cr_assert_eq(
        bed_start_ready(
            &bed, "web", 5, 5,
            "\"argv\": [\"/bin/sh\", \"-c\", \"test -e once && exec "
            "PROGRAMS/announcer sleep:1; touch once; exec PROGRAMS/announcer "
            "notify:READY=1 sleep:200 exit:9\"], \"restart\": {\"initial\": \"10ms\"}" READY(
                "notify", ", \"timeout\": \"3s\"")),
        STATUS_OK, "%s", bed.problem.message);
    for (int i = 0; i < 6000 && strstr(row.reason, "was not ready within") == NULL; i++) {
        bed_turn(&bed, 10);
        cr_assert(bed_row(&bed, "web", &row));
        cr_assert_str_neq(row.state, "failed");
    }
    bed_await(&bed, "web", "backoff", &row);
    expect_reason(&row, "was not ready within 3s");
}

/* Its deadline is over with it: nothing else is due. */
Test(ready_program, what_is_parked_before_it_is_ready_has_no_next_start)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(
        bed_start_ready(
            &bed, "web", 5, 5,
            "\"argv\": [\"/bin/sh\", \"-c\", \"test -e once && exit 3; touch once; "
            "exec PROGRAMS/announcer notify:READY=1 sleep:100 exit:9\"], "
            "\"restart\": {\"initial\": \"10ms\", \"max_restarts\": 1}" READY("notify", "")),
        STATUS_OK, "%s", bed.problem.message);
    bed_await(&bed, "web", "parked", &row);
    expect_reason(&row, "exited with code 3");
    cr_assert_eq(row.due_ns, 0);
}

Test(ready_program, tcp_and_its_counterpart)
{
    struct row row;
    char members[512];
    bed_open(&bed, NULL);
    int port = free_port();
    snprintf(members, sizeof members,
             ANNOUNCER(", \"sleep:200\", \"listen:%d\"") READY("tcp", ", \"port\": %d"), port,
             port);
    cr_assert_eq(bed_start_ready(&bed, "web", 5, 5, members), STATUS_OK, "%s", bed.problem.message);
    cr_assert(bed_row(&bed, "web", &row));
    cr_assert_str_eq(row.state, "running");
    port = free_port();
    snprintf(members, sizeof members,
             ANNOUNCER() READY("tcp", ", \"port\": %d, \"timeout\": \"300ms\""), port);
    cr_assert_eq(bed_start_ready(&bed, "deaf", 6, 6, members), STATUS_DEADLINE_EXCEEDED);
    cr_assert_not_null(strstr(bed.problem.message, "nothing listens on port"), "%s",
                       bed.problem.message);
}

Test(ready_program, exec_and_its_counterparts)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(
        bed_start_ready(&bed, "web", 5, 5,
                        ANNOUNCER(", \"sleep:150\", \"touch:up\"")
                            READY("exec", ", \"argv\": [\"/bin/sh\", \"-c\", \"test -e $HOME/up && "
                                          "test $SOLO_SERVICE = web\"]")),
        STATUS_OK, "%s", bed.problem.message);
    cr_assert(bed_row(&bed, "web", &row));
    cr_assert_str_eq(row.state, "running");
    cr_assert_eq(bed_start_ready(&bed, "no", 6, 6,
                                 ANNOUNCER() READY("exec", ", \"argv\": [\"/bin/false\"], "
                                                           "\"timeout\": \"3s\"")),
                 STATUS_DEADLINE_EXCEEDED);
    cr_assert_not_null(strstr(bed.problem.message, "its probe exited with code 1"), "%s",
                       bed.problem.message);
    cr_assert_eq(bed_start_ready(&bed, "none", 7, 7,
                                 ANNOUNCER() READY("exec", ", \"argv\": [\"/no/probe\"], "
                                                           "\"timeout\": \"300ms\"")),
                 STATUS_DEADLINE_EXCEEDED);
    cr_assert_not_null(strstr(bed.problem.message, "no such program"), "%s", bed.problem.message);
    /* One that hangs is gone with the rest. */
    cr_assert_eq(bed_start_ready(&bed, "hangs", 8, 8,
                                 ANNOUNCER() READY("exec", ", \"argv\": [\"PROGRAMS/sleeper\"], "
                                                           "\"timeout\": \"300ms\"")),
                 STATUS_DEADLINE_EXCEEDED);
    for (int i = 0; i < 6000 && bed_marked(&bed) > 1; i++)
        usleep(10000);
    cr_assert_eq(bed_marked(&bed), 1, "%zu processes are left", bed_marked(&bed));
}

Test(ready_program, a_stop_and_a_newer_order_do_not_wait_for_readiness)
{
    struct row row;
    bool was_killed;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "web", 5, 5, "deploy", ANNOUNCER() READY("notify", ""), &row),
                 STATUS_OK);
    cr_assert_eq(bed_start(&bed, "web", 7, 7, "deploy", ANNOUNCER() READY("notify", ""), &row),
                 STATUS_OK);
    cr_assert_eq(row.generation, 7);
    cr_assert_str_eq(row.state, "starting");
    cr_assert_eq(bed_restart(&bed, "web", 7, 7, &row), STATUS_OK);
    cr_assert_eq(bed_stop(&bed, "web", 9, "kill", -1, &was_killed), STATUS_OK);
    cr_assert_not(bed_row(&bed, "web", &row));
}
