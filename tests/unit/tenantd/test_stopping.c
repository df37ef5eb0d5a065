/* Whole trees end, in each way that a machine may offer; and with their supervisor. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "tests/support/criterion.h"
#include "tests/support/process.h"
#include "tests/unit/tenantd/supervisor_calls.h"

static struct bed bed;

static void end(void)
{
    bed_close(&bed);
}
TestSuite(stopping, .fini = end);

#define SLEEPER "\"argv\": [\"PROGRAMS/sleeper\"]"
#define QUICK   ", \"stop\": {\"timeout\": \"200ms\"}"

/* The best that the machine has, and each plain path. */
static const char *const *const ways[] = {
    (const char *const[]){ NULL },
    (const char *const[]){ "--without-cgroup", NULL },
    (const char *const[]){ "--without-namespaces", NULL },
    (const char *const[]){ "--without-namespaces", "--without-cgroup", NULL },
};
enum { WAYS = COUNT_OF(ways) };

static void expect_way(size_t way)
{
    if (way == 1 || way == 3)
        cr_assert_str_eq(bed.stop_method, "mark");
    if (way >= 2)
        cr_assert_str_eq(bed.isolation, "none");
}

/* Until so many processes carry our mark at several looks in a row: between fork and exec a process
 * has no environment for a moment. */
static void await_marked(size_t count)
{
    size_t marked = 0;
    for (int looks = 0, same = 0; looks < 3000 && same < 5; looks++) {
        marked = bed_marked(&bed);
        same = marked == count ? same + 1 : 0;
        usleep(1000);
    }
    cr_assert_eq(marked, count, "%zu marked, not %zu", marked, count);
}

static void stop_double_forkers(size_t way)
{
    struct row row, other;
    bed_open(&bed, ways[way]);
    expect_way(way);
    cr_assert_eq(bed_start(&bed, "other", 4, 4, "deploy",
                           "\"argv\": [\"PROGRAMS/double_forker\", \"2\"]", &other),
                 STATUS_OK);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/double_forker\", \"5\"]" QUICK, &row),
                 STATUS_OK);
    bed_await_log(&bed, "api", "forked 5");
    bed_await_log(&bed, "other", "forked 2");
    await_marked(9);
    cr_assert_eq(bed_stop(&bed, "api", 5, "kill", -1, NULL), STATUS_OK);
    cr_assert_eq(bed_marked(&bed), 3, "way %zu: %zu are left", way, bed_marked(&bed));
    cr_assert(is_alive(other.pid));
    bed_close(&bed);
}

Test(stopping, double_forked_processes_end_by_the_best_way)
{
    stop_double_forkers(0);
}
Test(stopping, double_forked_processes_end_by_mark)
{
    stop_double_forkers(1);
}
Test(stopping, double_forked_processes_end_without_namespaces)
{
    stop_double_forkers(2);
}
Test(stopping, double_forked_processes_end_with_neither)
{
    stop_double_forkers(3);
}

static size_t nameless(const char *program)
{
    char command[PATH_MAX + 64], text[32] = "";
    snprintf(command, sizeof command, "pgrep -c -f '^%s/programs/%s orphan'", bed.scratch.path,
             program);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(fgets(text, sizeof text, pipe));
    pclose(pipe);
    return (size_t)atoi(text);
}

static void stop_without_marks(size_t way)
{
    bed_open(&bed, ways[way]);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/double_forker\", \"4\", "
                           "\"clear-environment\"]" QUICK,
                           NULL),
                 STATUS_OK);
    bed_await_log(&bed, "api", "forked 4");
    for (int i = 0; i < 3000 && nameless("double_forker") != 4; i += 10)
        usleep(10000);
    cr_assert_eq(nameless("double_forker"), 4);
    cr_assert_eq(bed_stop(&bed, "api", 5, "kill", -1, NULL), STATUS_OK);
    cr_assert_eq(nameless("double_forker"), 0, "way %zu", way);
    bed_close(&bed);
}

Test(stopping, processes_without_a_mark_end_by_the_best_way)
{
    stop_without_marks(0);
}
Test(stopping, processes_without_a_mark_end_without_cgroups)
{
    stop_without_marks(1);
}
Test(stopping, processes_without_a_mark_end_with_neither)
{
    stop_without_marks(3);
}

/* A stubborn one is so from a moment after its start on. */
static void await_stubborn(uint64_t pid)
{
    cr_assert(process_wait_handles((pid_t)pid, SIGTERM, 60000));
}

static void kill_stubborn(size_t way)
{
    struct row row;
    bool was_killed = false;
    bed_open(&bed, ways[way]);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/stubborn\"], \"stop\": {\"timeout\": \"1h\"}",
                           &row),
                 STATUS_OK);
    await_stubborn(row.pid);
    uint64_t began = clock_boottime_ns();
    cr_assert_eq(bed_stop(&bed, "api", 5, "kill", 300, &was_killed), STATUS_OK);
    uint64_t took_ms = (clock_boottime_ns() - began) / 1000000;
    cr_assert(was_killed);
    cr_assert_geq(took_ms, 300);
    cr_assert_not(is_alive(row.pid));
    cr_assert_eq(bed_start(&bed, "api", 6, 6, "deploy", "\"argv\": [\"PROGRAMS/stubborn\"]", &row),
                 STATUS_OK);
    await_stubborn(row.pid);
    cr_assert_eq(bed_stop(&bed, "api", 6, "kill", 0, &was_killed), STATUS_OK);
    cr_assert(was_killed);
    bed_close(&bed);
}

Test(stopping, who_does_not_stop_is_killed_after_its_grace)
{
    kill_stubborn(0);
}
Test(stopping, who_does_not_stop_is_killed_with_neither)
{
    kill_stubborn(3);
}

static void leave_children(size_t way)
{
    struct row row;
    bed_open(&bed, ways[way]);
    /* The main process ends at once, its children stay; they are gone before it starts again. */
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy",
                           "\"argv\": [\"sh\", \"-c\", \"sleep 1000 & sleep 1001 & exit 3\"], "
                           "\"restart\": {\"initial\": \"1ms\", \"max\": \"1ms\", "
                           "\"max_restarts\": 20}",
                           NULL),
                 STATUS_OK);
    bed_await(&bed, "api", "parked", &row);
    cr_assert_eq(row.restarts, 20);
    await_marked(0);
    bed_close(&bed);
}

Test(stopping, a_crash_leaves_no_children_behind)
{
    leave_children(0);
}
Test(stopping, a_crash_leaves_no_children_behind_with_neither)
{
    leave_children(3);
}

static void kill_supervisor(size_t way)
{
    struct row first, second, after;
    bed_open(&bed, ways[way]);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/double_forker\", \"3\"]", &first),
                 STATUS_OK);
    cr_assert_eq(bed_start(&bed, "web", 6, 6, "deploy", SLEEPER, &second), STATUS_OK);
    bed_await_log(&bed, "api", "forked 3");
    await_marked(5);
    bed_supervisor_kill(&bed);
    cr_assert(is_gone_soon(first.pid));
    cr_assert(is_gone_soon(second.pid));
    /* Without a namespace, the double-forked live on until the next one ends them first. */
    cr_assert_eq(bed_supervisor_start(&bed), 0);
    cr_assert_eq(bed_marked(&bed), 0, "way %zu: %zu left", way, bed_marked(&bed));
    cr_assert_not(bed_row(&bed, "api", &after));
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "recover",
                           "\"argv\": [\"PROGRAMS/double_forker\", \"3\"]", &after),
                 STATUS_OK);
    bed_close(&bed);
}

Test(stopping, services_die_with_their_supervisor)
{
    kill_supervisor(0);
}
Test(stopping, services_die_with_their_supervisor_without_cgroups)
{
    kill_supervisor(1);
}
Test(stopping, leftovers_end_before_the_next_supervisor_listens)
{
    kill_supervisor(2);
}
Test(stopping, leftovers_end_by_mark_as_well)
{
    kill_supervisor(3);
}

Test(stopping, a_shutdown_ends_all_at_once_and_then_the_supervisor)
{
    char name[32];
    struct row row;
    enum { SERVICES = 20 };
    bed_open(&bed, NULL);
    for (int i = 0; i < SERVICES; i++) {
        snprintf(name, sizeof name, "s%d", i);
        bool is_stubborn = i == 3 || i == 7;
        cr_assert_eq(bed_start(&bed, name, 10, 10, "deploy",
                               is_stubborn ? "\"argv\": [\"PROGRAMS/stubborn\"]" : SLEEPER, &row),
                     STATUS_OK);
        if (is_stubborn)
            await_stubborn(row.pid);
    }
    struct supervisor_shutdown_reply reply = { 0 };
    const struct supervisor_shutdown_request request = { .timeout_ms = 3000 };
    uint64_t began = clock_boottime_ns();
    cr_assert_eq(bed_call(&bed, &method_supervisor_shutdown, &request, &reply), STATUS_OK, "%s",
                 bed.problem.message);
    cr_assert_eq(reply.stopped, SERVICES - 2);
    cr_assert_eq(reply.killed, 2);
    cr_assert_geq(reply.killed_names.size, 1);
    cr_assert_eq(reply.killed_names.data[0], 0x92);
    cr_assert_lt(clock_boottime_ns() - began, 30000000000u);
    cr_assert(is_gone_soon((uint64_t)bed.pid));
    bed_close(&bed);
}

Test(stopping, reports_of_a_shutdown_are_waited_for)
{
    bed_open(&bed, NULL);
    bed_watch(&bed);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", SLEEPER, NULL), STATUS_OK);
    struct supervisor_shutdown_reply reply = { 0 };
    const struct supervisor_shutdown_request request = { .timeout_ms = 60000 };
    cr_assert_eq(bed_call(&bed, &method_supervisor_shutdown, &request, &reply), STATUS_OK);
    bed_await_report(&bed, "service_stopped", "api", 1);
    bed_turn(&bed, 300);
    cr_assert(is_alive((uint64_t)bed.pid), "it did not wait for the acknowledgement");
    cr_assert_eq(bed_start(&bed, "web", 6, 6, "deploy", SLEEPER, NULL), STATUS_UNAVAILABLE);
    struct supervisor_ack_reply nothing = {};
    const struct supervisor_ack_request ack = { .number = 2 };
    cr_assert_eq(bed_call(&bed, &method_supervisor_ack, &ack, &nothing), STATUS_OK);
    cr_assert(is_gone_soon((uint64_t)bed.pid));
    bed_close(&bed);
}

Test(stopping, sigterm_is_an_orderly_end)
{
    struct row row;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", SLEEPER, &row), STATUS_OK);
    kill(bed.pid, SIGTERM);
    cr_assert(is_gone_soon((uint64_t)bed.pid));
    cr_assert_not(is_alive(row.pid));
    bed_close(&bed);
}

Test(stopping, a_fault_while_starting_leaves_nothing)
{
    static const char *const points[] = { "tenantd.before_spawn", "tenantd.after_spawn" };
    for (size_t i = 0; i < COUNT_OF(points); i++) {
        setenv("SOLO_FAULT", points[i], 1);
        bed_open(&bed, NULL);
        unsetenv("SOLO_FAULT");
        enum status status = bed_start(&bed, "api", 5, 5, "deploy", SLEEPER, NULL);
#ifdef SOLO_FAULTS
        cr_assert_eq(status, STATUS_UNKNOWN);
        cr_assert(is_gone_soon((uint64_t)bed.pid));
        await_marked(0);
#else
        cr_assert_eq(status, STATUS_OK);
#endif
        bed_close(&bed);
    }
}

#define STUBBORN_FOR_LONG "\"argv\": [\"PROGRAMS/stubborn\"], \"stop\": {\"timeout\": \"1h\"}"

Test(stopping, a_kill_ends_what_waits_to_replace_as_well)
{
    struct row row;
    struct pending_start pending;
    bool was_killed = false;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", STUBBORN_FOR_LONG, &row), STATUS_OK);
    await_stubborn(row.pid);
    bed_begin_start(&bed, "api", 6, 6, SLEEPER, &pending);
    cr_assert_not(pending.is_answered);
    cr_assert_eq(bed_stop(&bed, "api", 7, "kill", 0, &was_killed), STATUS_OK);
    cr_assert(was_killed);
    bed_await_start(&bed, &pending);
    cr_assert_eq(pending.status, STATUS_ABORTED);
    cr_assert_not(is_alive(row.pid));
    cr_assert_not(bed_row(&bed, "api", &row));
    bed_close(&bed);
}

Test(stopping, a_shorter_grace_counts_from_now_on)
{
    struct row row;
    struct pending_start pending;
    bool was_killed = false;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", STUBBORN_FOR_LONG, &row), STATUS_OK);
    await_stubborn(row.pid);
    bed_begin_start(&bed, "api", 6, 6, SLEEPER, &pending);
    cr_assert_not(pending.is_answered);
    uint64_t began = clock_boottime_ns();
    cr_assert_eq(bed_stop(&bed, "api", 7, "kill", 300, &was_killed), STATUS_OK);
    uint64_t took_ms = (clock_boottime_ns() - began) / 1000000;
    cr_assert(was_killed);
    cr_assert_geq(took_ms, 300);
    cr_assert_lt(took_ms, 60 * 1000);
    bed_await_start(&bed, &pending);
    cr_assert_not(is_alive(row.pid));
    bed_close(&bed);
}

Test(stopping, the_newest_of_several_replacements_is_started)
{
    struct row row;
    struct pending_start first, same, second;
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy",
                           "\"argv\": [\"PROGRAMS/stubborn\"], \"stop\": {\"timeout\": \"1s\"}",
                           &row),
                 STATUS_OK);
    await_stubborn(row.pid);
    bed_begin_start(&bed, "api", 6, 6, SLEEPER, &first);
    bed_begin_start(&bed, "api", 6, 6, SLEEPER, &same);
    bed_begin_start(&bed, "api", 8, 8, SLEEPER, &second);
    bed_await_start(&bed, &first);
    bed_await_start(&bed, &same);
    cr_assert_eq(first.status, STATUS_ABORTED);
    cr_assert_eq(same.status, STATUS_ABORTED);
    cr_assert_eq(bed_start(&bed, "api", 7, 7, "deploy", SLEEPER, NULL), STATUS_ABORTED);
    bed_await_start(&bed, &second);
    cr_assert_eq(second.status, STATUS_OK, "%s", second.problem.message);
    cr_assert(bed_row(&bed, "api", &row));
    cr_assert_eq(row.generation, 8);
    cr_assert_str_eq(row.state, "running");
    bed_close(&bed);
}

Test(stopping, a_start_that_a_kill_overtook_is_refused)
{
    bed_open(&bed, NULL);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "deploy", SLEEPER, NULL), STATUS_OK);
    cr_assert_eq(bed_stop(&bed, "api", 9, "kill", -1, NULL), STATUS_OK);
    cr_assert_eq(bed_start(&bed, "api", 5, 5, "recover", SLEEPER, NULL), STATUS_ABORTED);
    cr_assert_eq(bed_start(&bed, "api", 8, 8, "deploy", SLEEPER, NULL), STATUS_ABORTED);
    cr_assert_eq(bed_start(&bed, "api", 10, 10, "deploy", SLEEPER, NULL), STATUS_OK);
    /* Also when the kill found nothing to end. */
    cr_assert_eq(bed_stop(&bed, "web", 20, "kill", -1, NULL), STATUS_NOT_FOUND);
    cr_assert_eq(bed_start(&bed, "web", 15, 15, "deploy", SLEEPER, NULL), STATUS_ABORTED);
    cr_assert_eq(bed_start(&bed, "web", 21, 21, "deploy", SLEEPER, NULL), STATUS_OK);
    bed_close(&bed);
}
