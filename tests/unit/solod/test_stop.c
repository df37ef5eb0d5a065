#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "tests/support/command.h"
#include "tests/support/criterion.h"
#include "tests/unit/solod/scene.h"

extern char **environ;

TestSuite(solod_stop, .init = scene_open, .fini = scene_close, .timeout = 60);

static const char whole_story[] =
    "eventd start\ntokend start\nvaultd start\ndeployd start\nrecoveryd start\n"
    "deployd drain\ndeployd stop\nvaultd stop\ntokend stop\neventd close_log\neventd stop\n";

Test(solod_stop, everything_stops_in_reverse_order)
{
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    scene_story(whole_story);
    cr_assert_not(scene_has("solod.sock"));
    cr_assert_not(scene_has("eventd.sock"));
    cr_assert_not(scene_has("deployd.sock"));
}

Test(solod_stop, sigint_is_the_same_and_a_second_signal_changes_nothing)
{
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_signal(SIGINT);
    scene_signal(SIGTERM);
    scene_signal(SIGINT);
    cr_assert_eq(scene_end(), 0);
    scene_story(whole_story);
}

Test(solod_stop, a_hangup_is_no_shutdown)
{
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_signal(SIGHUP);
    scene_until("solod", "ready");
    scene_story("eventd start\ntokend start\nvaultd start\ndeployd start\nrecoveryd start\n");
}

Test(solod_stop, during_the_start_it_ends_what_has_begun)
{
    scene_ask("EVENTD", "silent");
    scene_start(NULL);
    scene_until_told("eventd start");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    scene_story("eventd start\neventd stop\n");
}

Test(solod_stop, a_deployd_that_was_never_started_is_not_waited_for)
{
    uint64_t began_ns = clock_boottime_ns();
    scene_ask("VAULTD", "silent");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=30000", NULL });
    scene_until_told("vaultd start");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    cr_assert_lt(clock_boottime_ns() - began_ns, 15 * NS_PER_S);
    cr_assert_eq(scene_story_count("deployd start"), 0);
}

Test(solod_stop, a_vaultd_that_never_started_leaves_nothing_unfinished)
{
    scene_ask("VAULTD", "exit=3");
    scene_start(NULL);
    scene_until("solod", "degraded");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    cr_assert_eq(scene_story_count("deployd drain"), 1);
    cr_assert_eq(scene_story_count("eventd close_log\n"), 1);
}

/* No supervisor lives: there is nothing that it could stop. */
Test(solod_stop, a_deployd_that_cannot_start_is_not_waited_for)
{
    uint64_t began_ns = clock_boottime_ns();
    struct listing listing;
    scene_ask("DEPLOYD", "exit=3");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=30000", NULL });
    scene_until("deployd", "backoff");
    for (int i = 0; i < 1000; i++) {
        scene_list(&listing);
        if (strstr(listing.reason, "exit code 3: it has had enough") != NULL)
            break;
        cr_assert_lt(i, 999, "its last words are not passed on: %s", listing.reason);
        poll(NULL, 0, 10);
    }
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    cr_assert_lt(clock_boottime_ns() - began_ns, 25 * NS_PER_S);
}

Test(solod_stop, during_recovery_it_ends_recovery)
{
    scene_ask("RECOVERYD", "slow");
    scene_start(NULL);
    scene_until("recoveryd", "running");
    scene_until_told("recoveryd start");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    cr_assert_eq(scene_story_count("recoveryd stop"), 1);
    cr_assert_eq(scene_story_count("eventd close_log\n"), 1);
}

Test(solod_stop, with_a_daemon_away_it_is_started_to_stop_the_services)
{
    struct listing listing;
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_list(&listing);
    cr_assert_eq(kill(listing_find(&listing, "deployd")->pid, SIGKILL), 0);
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    cr_assert_eq(scene_story_count("deployd drain"), 1);
    cr_assert_eq(scene_story_count("deployd start"), 2);
}

Test(solod_stop, killed_services_make_it_forced)
{
    scene_ask("DEPLOYD", "drain_kills");
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    cr_assert_eq(scene_story_count("eventd close_log forced"), 1);
}

Test(solod_stop, a_daemon_that_fails_to_finish_makes_it_forced)
{
    scene_ask("EVENTD", "code=87");
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    char story[512];
    snprintf(story, sizeof story, "%seventd close_behind\n", whole_story);
    scene_story(story);
}

Test(solod_stop, shutdown_events_can_be_switched_off)
{
    scene_start((const char *[]){ "--set", "log_shutdown_events=false", NULL });
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    scene_story("eventd start\ntokend start\nvaultd start\ndeployd start\nrecoveryd start\n"
                "deployd drain quietly\ndeployd stop\nvaultd stop\ntokend stop\n"
                "eventd close_log\neventd stop\n");
}

Test(solod_stop, a_deployd_that_hangs_is_killed_and_the_log_closed_behind_it)
{
    scene_ask("DEPLOYD", "drain_hangs deaf");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=2600", NULL });
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    cr_assert_eq(scene_story_count("eventd close_log forced"), 1);
    cr_assert_eq(scene_story_count("eventd stop"), 1);
}

Test(solod_stop, a_store_daemon_that_hangs_is_killed_and_named)
{
    scene_ask("TOKEND", "deaf");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=3000", NULL });
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    cr_assert_eq(scene_story_count("eventd close_log forced: tokend\neventd stop\n"), 1);
}

Test(solod_stop, a_deployd_that_never_comes_costs_no_other_its_end)
{
    scene_ask("DEPLOYD", "silent");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=100", NULL });
    scene_until_told("deployd start");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1, "services may have been killed");
    scene_story("eventd start\ntokend start\nvaultd start\ndeployd start\ndeployd stop\n"
                "vaultd stop\ntokend stop\neventd close_log forced: every service\neventd stop\n");
}

Test(solod_stop, an_eventd_that_never_comes_ends_in_time)
{
    scene_ask("EVENTD", "silent deaf");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=100", NULL });
    scene_until_told("eventd start");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    scene_story("eventd start\n");
}

static pid_t supervisor_start(void)
{
    char directory[256];
    snprintf(directory, sizeof directory, "%s/internal/tenants", scene.run);
    const char *argv[] = { "supervisor", directory, NULL };
    const char *const *environment = (const char *const *)environ;
    char path[128];
    snprintf(path, sizeof path, "%s/supervisor", scene.bin);
    cr_assert_eq(symlink(SOLO_STAND_IN, path), 0);
    argv[0] = path;
    return command_start(&(struct command){ .argv = argv, .environment = environment }, scene.log);
}

/* There are services of the run before. */
Test(solod_stop, during_the_start_deployd_is_started_when_a_supervisor_lives)
{
    char path[128];
    struct file_lock lock = FILE_LOCK_NONE;
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    snprintf(path, sizeof path, "%s/internal/tenants/acme.lock", scene.run);
    cr_assert_eq(file_lock_take(&lock, path, 0), STATUS_OK);
    scene_ask("EVENTD", "late");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=30000", NULL });
    while (scene_story_count("eventd start") < 2)
        scene_until("solod", "starting");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    cr_assert_eq(scene_story_count("deployd drain"), 2);
    cr_assert_eq(scene_story_count("vaultd start"), 1);
    cr_assert_eq(scene_story_count("recoveryd start"), 1);
    file_lock_release(&lock);
}

static int supervisor_end(pid_t pid)
{
    int status = 0;
    struct timespec moment = { .tv_nsec = 5 * 1000000 };
    for (int i = 0; i < 6000; i++, nanosleep(&moment, NULL))
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return -1;
}

Test(solod_stop, services_that_nobody_stops_are_killed_with_their_supervisor)
{
    scene_ask("DEPLOYD", "drain_fails");
    scene_start(NULL);
    scene_until("solod", "ready");
    pid_t supervisor = supervisor_start();
    while (!scene_has("internal/tenants/acme.is_held"))
        scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    cr_assert_eq(supervisor_end(supervisor), SIGKILL);
    cr_assert_eq(scene_story_count("eventd close_log forced"), 1);
}

Test(solod_stop, a_drain_without_an_answer_ends_in_time)
{
    scene_ask("DEPLOYD", "drain_hangs");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=100", NULL });
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    cr_assert_eq(scene_story_count("eventd stop"), 1);
}

static void daemon_hold(const char *name)
{
    struct listing listing;
    scene_list(&listing);
    cr_assert_eq(kill(listing_find(&listing, name)->pid, SIGSTOP), 0);
}

/* Whoever hangs is found out when the time is over, not after everybody's own margin. */
Test(solod_stop, behind_an_eventd_that_hangs_another_one_closes_the_log)
{
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=300", NULL });
    scene_until("solod", "ready");
    daemon_hold("eventd");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    cr_assert_eq(scene_story_count("deployd drain\n"), 1);
    cr_assert_eq(scene_story_count("eventd stop"), 0);
    cr_assert_eq(scene_story_count("eventd close_behind eventd\n"), 1);
}

Test(solod_stop, an_eventd_that_hangs_keeps_a_drain_no_longer_than_it_may_take)
{
    scene_ask("DEPLOYD", "drain_hangs");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=300", NULL });
    scene_until("solod", "ready");
    daemon_hold("eventd");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    cr_assert_eq(scene_story_count("eventd close_behind every service, "), 1);
    cr_assert_eq(scene_story_count(", eventd\n"), 1);
}

static bool log_has(const char *text)
{
    AUTO(buffer_close) struct buffer log = { .limit = 1 << 20 };
    cr_assert_eq(file_read(scene.log, &log), STATUS_OK);
    cr_assert_eq(buffer_append(&log, "", 1), STATUS_OK);
    return strstr((const char *)log.data, text) != NULL;
}

/* As one that waits for a device. The others end in order, and the log names it. */
Test(solod_stop, a_daemon_that_sigkill_does_not_end_is_left_behind)
{
    scene_ask("DEPLOYD", "stuck");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=100", NULL });
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    cr_assert_eq(scene_story_count("eventd close_log forced: deployd\neventd stop\n"), 1);
    cr_assert(log_has("not even SIGKILL ends it"));
    cr_assert(log_has("name=deployd"));
}

Test(solod_stop, an_eventd_that_sigkill_does_not_end_is_left_behind_too)
{
    scene_ask("EVENTD", "stuck");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=100", NULL });
    scene_until("solod", "ready");
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 1);
    cr_assert(log_has("not even SIGKILL ends it"));
    cr_assert_eq(scene_story_count("close_behind"), 0, "its store is not free");
}
