#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "tests/support/criterion.h"
#include "tests/unit/solod/scene.h"

TestSuite(solod_restart, .init = scene_open, .fini = scene_close, .timeout = 60);

Test(solod_restart, a_daemon_that_dies_is_restarted_alone)
{
    struct listing before, after;
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_list(&before);
    cr_assert_eq(kill(listing_find(&before, "eventd")->pid, SIGKILL), 0);
    while (scene_story_count("eventd start") < 2)
        scene_list(&after);
    scene_until("solod", "ready");
    scene_list(&after);
    cr_assert_neq(listing_find(&after, "eventd")->pid, listing_find(&before, "eventd")->pid);
    cr_assert_eq(listing_find(&after, "eventd")->restarts, 1);
    cr_assert_eq(listing_find(&after, "deployd")->pid, listing_find(&before, "deployd")->pid);
    cr_assert_eq(listing_find(&after, "deployd")->restarts, 0);
    scene_story(
        "eventd start\ntokend start\nvaultd start\ndeployd start\nrecoveryd start\neventd start\n");
}

/* As an unmounted disk leaves an empty directory: nobody begins anew in there. */
Test(solod_restart, a_daemon_waits_for_the_data_directory_to_come_back)
{
    struct listing listing;
    char aside[100], made[200];
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_list(&listing);
    snprintf(aside, sizeof aside, "%s.aside", scene.data);
    cr_assert_eq(rename(scene.data, aside), 0);
    cr_assert_eq(mkdir(scene.data, 0755), 0);
    cr_assert_eq(kill(listing_find(&listing, "eventd")->pid, SIGKILL), 0);
    scene_until("solod", "degraded");
    do
        scene_list(&listing);
    while (strstr(listing.reason, "is gone: move it back") == NULL);
    cr_assert_eq(scene_story_count("eventd start"), 1);
    snprintf(made, sizeof made, "%s/solod.lock", scene.data);
    cr_assert_neq(access(made, F_OK), 0);
    cr_assert_eq(rmdir(scene.data), 0);
    cr_assert_eq(rename(aside, scene.data), 0);
    scene_until("solod", "ready");
    cr_assert_eq(scene_story_count("eventd start"), 2);
}

Test(solod_restart, a_call_made_while_a_daemon_is_away_waits_for_it)
{
    struct listing listing;
    struct daemon_health_reply reply = { 0 };
    const struct daemon_health_request request;
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_list(&listing);
    cr_assert_eq(kill(listing_find(&listing, "deployd")->pid, SIGKILL), 0);
    cr_assert_eq(scene_call("deployd", &method_daemon_health, &request, &reply, NULL), STATUS_OK);
}

Test(solod_restart, a_crash_loop_is_slowed_down)
{
    struct timespec moment = { .tv_sec = 1 };
    size_t most = 1;
    uint64_t began_ns = clock_boottime_ns();
    scene_ask("EVENTD", "exit=1");
    scene_start(NULL);
    scene_until_told("eventd start");
    nanosleep(&moment, NULL);
    size_t starts = scene_story_count("eventd start");
    uint64_t passed_ms = (clock_boottime_ns() - began_ns) / NS_PER_MS;
    /* At 0, 100, 300 and 700 ms: the n-th not before 100 * (2^(n-1) - 1). */
    while (100u * ((1u << most) - 1) <= passed_ms)
        most++;
    cr_assert_leq(starts, most, "%zu in %lu ms", starts, (unsigned long)passed_ms);
    struct listing listing;
    do /* while it runs there is nothing to tell */
        scene_list(&listing);
    while (strstr(listing.reason, "exit code 1") == NULL);
}

Test(solod_restart, a_damaged_store_is_not_tried_again_until_somebody_asks)
{
    struct listing listing;
    struct daemon_restart_reply reply = { 0 };
    const struct daemon_restart_request request = { .daemon = "eventd" };
    scene_ask("EVENTD", "exit_once=86");
    scene_start(NULL);
    scene_until("eventd", "failed");
    scene_list(&listing);
    cr_assert_not_null(strstr(listing.reason, "eventd is failed after exit code 86"));
    cr_assert_eq(scene_call("solod", &method_daemon_restart, &request, &reply, NULL), STATUS_OK);
    scene_until("solod", "ready");
    cr_assert_eq(scene_story_count("eventd start"), 2);
}

Test(solod_restart, an_io_error_has_one_restart)
{
    scene_ask("EVENTD", "exit=87");
    scene_start(NULL);
    cr_assert_eq(scene_until("eventd", "failed").restarts, 1);
    cr_assert_eq(scene_story_count("eventd start"), 2);
}

Test(solod_restart, an_operator_restarts_one_daemon)
{
    struct listing before;
    struct daemon_restart_reply reply = { 0 };
    struct problem problem = { 0 };
    struct daemon_restart_request request = { .daemon = "deployd" };
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_list(&before);
    cr_assert_eq(scene_call("solod", &method_daemon_restart, &request, &reply, NULL), STATUS_OK);
    cr_assert_neq((pid_t)reply.pid, listing_find(&before, "deployd")->pid);
    cr_assert_eq((pid_t)reply.pid, scene_until("deployd", "ready").pid);
    scene_story("eventd start\ntokend start\nvaultd start\ndeployd start\nrecoveryd start\ndeployd "
                "stop\ndeployd "
                "start\n");
    request.daemon = "nobody";
    cr_assert_eq(scene_call("solod", &method_daemon_restart, &request, &reply, &problem),
                 STATUS_NOT_FOUND);
    cr_assert_str_eq(problem.field, "daemon");
}

Test(solod_restart, a_daemon_that_does_not_stop_is_killed_and_restarted)
{
    struct daemon_restart_reply reply = { 0 };
    const struct daemon_restart_request request = { .daemon = "deployd" };
    scene_ask("DEPLOYD", "deaf");
    scene_start((const char *[]){ "--set", "shutdown_timeout_ms=200", NULL });
    scene_until("solod", "ready");
    cr_assert_eq(scene_call("solod", &method_daemon_restart, &request, &reply, NULL), STATUS_OK);
    cr_assert_eq(scene_story_count("deployd start"), 2);
}

static void until_gone(pid_t pid)
{
    struct timespec moment = { .tv_nsec = 5 * 1000000 };
    for (int i = 0; i < 6000 && kill(pid, 0) == 0; i++)
        nanosleep(&moment, NULL);
    cr_assert_eq(kill(pid, 0), -1, "%d still runs", pid);
}

Test(solod_restart, daemons_die_with_solod)
{
    struct listing listing;
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_list(&listing);
    scene_signal(SIGKILL);
    cr_assert_eq(scene_end(), 128 + SIGKILL);
    until_gone(listing_find(&listing, "eventd")->pid);
    until_gone(listing_find(&listing, "deployd")->pid);
    scene_start(NULL);
    scene_until("solod", "ready");
}
