#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/uuid.h"
#include "tests/support/criterion.h"
#include "tests/unit/solod/scene.h"

TestSuite(solod_start, .init = scene_open, .fini = scene_close, .timeout = 60);

Test(solod_start, daemons_start_in_order_and_recovery_follows)
{
    struct listing listing;
    scene_start(NULL);
    scene_until("solod", "ready");
    scene_story("eventd start\ntokend start\nvaultd start\ndeployd start\nrecoveryd start\n");
    scene_list(&listing);
    cr_assert_eq(listing.count, 5, "solod, eventd, tokend, vaultd, deployd");
    cr_assert_eq(listing_find(&listing, "solod")->pid, scene.solod);
    cr_assert_eq(listing.recovery_exit_code, 0);
    cr_assert_str_empty(listing.reason);
}

Test(solod_start, a_daemon_that_says_nothing_keeps_the_next_from_starting)
{
    struct listing listing;
    scene_ask("EVENTD", "silent");
    scene_start(NULL);
    scene_until("eventd", "starting");
    scene_until_told("eventd start");
    scene_list(&listing);
    cr_assert_str_eq(listing.state, "starting");
    cr_assert_str_eq(listing_find(&listing, "deployd")->state, "stopped");
    cr_assert_not_null(strstr(listing.reason, "eventd is starting"));
}

/* Who has started solod. */
static int parent_open(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/parent", scene.folder);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 50 },
                            sizeof(struct timeval)),
                 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    return fd;
}

static void expect_heard(int fd, const char *status, const char *others)
{
    char said[512], expected[128];
    snprintf(expected, sizeof expected, "STATUS=%s%s", status, others);
    do { /* the rest of what it says */
        ssize_t size = recv(fd, said, sizeof said - 1, 0);
        cr_assert_geq(size, 0, "it never says %s", status);
        said[size] = '\0';
    } while (strcmp(said, expected) != 0);
}

/* Who starts solod waits as long as those go on for whom it waits itself. */
Test(solod_start, how_far_a_start_is_asks_its_own_parent_for_time)
{
    static const char asking[] = "\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000";
    AUTO(fd_close) int fd = parent_open();
    scene_ask("EVENTD", "far");
    scene_ask("RECOVERYD", "slow");
    scene_start(NULL);
    expect_heard(fd, "eventd: 3 of 4", asking);
    expect_heard(fd, "7 of 9", asking);
}

Test(solod_start, how_far_it_was_is_not_said_for_life)
{
    AUTO(fd_close) int fd = parent_open();
    scene_ask("EVENTD", "far");
    scene_start((const char *[]){ "--set", "recovery_enabled=false", NULL });
    expect_heard(fd, "ready", "");
}

Test(solod_start, a_recovery_that_ends_without_a_word_is_told)
{
    AUTO(fd_close) int fd = parent_open();
    scene_ask("RECOVERYD", "code=7");
    scene_start(NULL);
    expect_heard(fd, "recoveryd ended with exit code 7", "");
}

/* Said again and again: while it is tried once more there is nothing to tell of its end. */
static void wait_is_degraded_by(const char *reason)
{
    struct system_wait_reply reply = { 0 };
    const struct system_wait_request request = { .timeout_ms = 50000 };
    uint64_t end_ns = clock_boottime_ns() + 50 * NS_PER_S;
    do {
        cr_assert_lt(clock_boottime_ns(), end_ns, "%s is not in %s", reason, reply.reason);
        cr_assert_eq(scene_call("solod", &method_system_wait, &request, &reply, NULL), STATUS_OK);
        cr_assert_str_eq(reply.state, "degraded");
    } while (strstr(reply.reason, reason) == NULL);
}

Test(solod_start, a_vaultd_and_a_tokend_that_cannot_start_keep_nobody_else_from_it)
{
    struct listing listing;
    scene_ask("VAULTD", "exit=3");
    scene_ask("TOKEND", "exit=4");
    scene_start(NULL);
    wait_is_degraded_by("vaultd is ");
    wait_is_degraded_by("after exit code 3");
    wait_is_degraded_by("tokend is ");
    scene_list(&listing);
    cr_assert_str_eq(listing.state, "degraded");
    cr_assert_str_eq(listing_find(&listing, "deployd")->state, "ready");
    cr_assert_eq(listing.recovery_exit_code, 0);
    cr_assert_eq(scene_story_count("recoveryd start"), 1);
    size_t starts = scene_story_count("vaultd start");
    while (scene_story_count("vaultd start") == starts) /* it is tried again and again */
        scene_until("solod", "degraded");
}

Test(solod_start, a_vaultd_that_hangs_at_its_start_is_waited_for_a_while_only)
{
    scene_ask("VAULTD", "silent");
    scene_start(NULL);
    wait_is_degraded_by("vaultd is starting");
}

Test(solod_start, a_daemon_that_fails_at_its_start_once_is_waited_for)
{
    scene_ask("VAULTD", "exit_once=3");
    scene_start(NULL);
    scene_until("solod", "ready");
    cr_assert_eq(scene_story_count("deployd start"), 1);
}

Test(solod_start, a_wait_in_vain_names_what_is_missing)
{
    struct system_wait_reply reply = { 0 };
    struct problem problem = { 0 };
    const struct system_wait_request request = { .timeout_ms = 1000 };
    scene_ask("EVENTD", "exit=3");
    scene_start(NULL);
    cr_assert_eq(scene_call("solod", &method_system_wait, &request, &reply, &problem),
                 STATUS_DEADLINE_EXCEEDED);
    cr_assert_not_null(strstr(problem.message, "eventd is "), "%s", problem.message);
    cr_assert_eq(scene_story_count("deployd start"), 0, "without eventd there is no Solo");
}

/* The stranger's message has come when its process has gone: it is sent before. */
Test(solod_start, a_stranger_cannot_say_ready_for_a_daemon)
{
    struct listing listing;
    scene_ask("EVENTD", "stranger");
    scene_start(NULL);
    scene_until_told("eventd start");
    struct timespec moment = { .tv_nsec = 200 * 1000000 };
    nanosleep(&moment, NULL);
    scene_list(&listing);
    cr_assert_str_eq(listing_find(&listing, "eventd")->state, "starting");
}

Test(solod_start, a_failed_recovery_makes_it_degraded_not_unready)
{
    struct listing listing;
    struct system_wait_reply reply = { 0 };
    const struct system_wait_request request = { 0 };
    scene_ask("RECOVERYD", "code=7");
    scene_start(NULL);
    scene_until("solod", "degraded");
    scene_list(&listing);
    cr_assert_eq(listing.recovery_exit_code, 7);
    cr_assert_not_null(strstr(listing.reason, "exit code 7"));
    cr_assert_eq(scene_call("solod", &method_system_wait, &request, &reply, NULL), STATUS_OK);
    cr_assert_str_eq(reply.state, "degraded");
}

/* The one that runs and is not `old`. */
static pid_t recoveryd_after(pid_t old)
{
    struct listed recoveryd;
    do
        recoveryd = scene_until("recoveryd", "running");
    while (recoveryd.pid == old);
    return recoveryd.pid;
}

Test(solod_start, a_recovery_that_a_signal_ended_is_run_again_twice)
{
    struct listing listing;
    pid_t pid = 0;
    scene_ask("RECOVERYD", "slow");
    scene_start(NULL);
    for (int i = 0; i < 3; i++) {
        pid = recoveryd_after(pid);
        scene_list(&listing);
        cr_assert_eq(listing.recovery_exit_code, -1, "it goes on");
        cr_assert_eq(kill(pid, SIGKILL), 0);
    }
    scene_until("solod", "degraded");
    scene_list(&listing);
    cr_assert_eq(listing.recovery_exit_code, 128 + SIGKILL);
}

Test(solod_start, without_recovery_recoveryd_is_not_run)
{
    struct listing listing;
    scene_start((const char *[]){ "--set", "recovery_enabled=false", NULL });
    scene_until("solod", "ready");
    scene_story("eventd start\ntokend start\nvaultd start\ndeployd start\n");
    scene_list(&listing);
    cr_assert_eq(listing.recovery_exit_code, -1);
}

Test(solod_start, wait_is_answered_when_recovery_has_ended_or_in_time)
{
    struct system_wait_reply reply = { 0 };
    struct problem problem = { 0 };
    struct system_wait_request request = { .timeout_ms = 100 };
    scene_ask("RECOVERYD", "slow");
    scene_start(NULL);
    struct listed recoveryd = scene_until("recoveryd", "running");
    scene_until_told("recoveryd start"); /* from then on SIGTERM is a request */
    cr_assert_eq(scene_call("solod", &method_system_wait, &request, &reply, &problem),
                 STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(kill(recoveryd.pid, SIGTERM), 0);
    request.timeout_ms = 0;
    cr_assert_eq(scene_call("solod", &method_system_wait, &request, &reply, &problem), STATUS_OK);
    cr_assert_str_eq(reply.state, "ready");
}

Test(solod_start, the_progress_of_recovery_is_passed_on)
{
    struct listing listing;
    scene_ask("RECOVERYD", "slow");
    scene_start(NULL);
    scene_until("solod", "recovering");
    do
        scene_list(&listing);
    while (strstr(listing.reason, "7 of 9") == NULL);
}

/* One that was killed while it forked holds its locks a moment longer. */
Test(solod_start, a_holder_of_the_lock_that_is_about_to_die_is_waited_for)
{
    char path[128];
    struct file_lock lock = FILE_LOCK_NONE;
    snprintf(path, sizeof path, "%s/internal", scene.run);
    cr_assert_eq(directory_make(scene.run, 0755), STATUS_OK);
    cr_assert_eq(directory_make(path, 0700), STATUS_OK);
    snprintf(path, sizeof path, "%s/internal/solod.lock", scene.run);
    cr_assert_eq(file_lock_take(&lock, path, 0), STATUS_OK);
    scene_start(NULL);
    struct timespec moment = { .tv_nsec = 200 * 1000000 };
    nanosleep(&moment, NULL);
    file_lock_release(&lock);
    scene_until("solod", "ready");
}

Test(solod_start, a_second_instance_is_refused_by_run_and_by_data)
{
    char other[128];
    scene_start(NULL);
    scene_until("solod", "ready");
    cr_assert_eq(scene_run_other(scene.data, scene.run), 75);
    snprintf(other, sizeof other, "%s/other", scene.folder);
    cr_assert_eq(scene_run_other(scene.data, other), 75, "two RUNs must not share one DATA");
    cr_assert_eq(scene_run_other(other, scene.run), 75);
    scene_until("solod", "ready");
}

Test(solod_start, a_missing_program_is_named_at_once)
{
    char path[128];
    snprintf(path, sizeof path, "%s/tenantd", scene.bin);
    cr_assert_eq(unlink(path), 0);
    scene_start(NULL);
    cr_assert_eq(scene_end(), 4);
    scene_story("");
}

Test(solod_start, a_bad_setting_is_refused_before_anything_is_made)
{
    scene_start((const char *[]){ "--set", "recovery_enabled=perhaps", NULL });
    cr_assert_eq(scene_end(), 64);
    cr_assert_not(scene_has(""));
}

static mode_t mode_of(const char *path_in_run)
{
    char path[256];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", scene.run, path_in_run);
    cr_assert_eq(stat(path, &status), 0, "%s", path);
    return status.st_mode & 07777;
}

Test(solod_start, directories_and_sockets_have_their_modes)
{
    cr_assert_eq(mkdir(scene.run, 0700), 0);
    scene_start(NULL);
    scene_until("solod", "ready");
    cr_assert_eq(mode_of(""), 0755);
    cr_assert_eq(mode_of("internal"), 0700);
    cr_assert_eq(mode_of("internal/tenants"), 0700);
    cr_assert_eq(mode_of("internal/run_id"), 0644);
    cr_assert_eq(mode_of("solod.sock"), 0666);
    cr_assert_eq(mode_of("eventd.sock"), 0666);
    cr_assert_eq(mode_of("deployd.sock"), 0666);
}

static void run_write(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", scene.run, name);
    cr_assert_eq(file_write(path, span_of_text(text), 0644), STATUS_OK);
}

Test(solod_start, a_run_directory_of_an_earlier_boot_is_emptied)
{
    cr_assert_eq(mkdir(scene.run, 0755), 0);
    run_write("boot_id", "00000000-0000-0000-0000-000000000000");
    run_write("stale", "x");
    scene_start(NULL);
    scene_until("solod", "ready");
    cr_assert_not(scene_has("stale"));
    cr_assert_eq(scene_run_other(scene.data, scene.run), 75, "the lock was taken anew");
}

Test(solod_start, a_run_directory_of_this_boot_or_of_nobody_is_kept)
{
    char boot_id[BOOT_ID_BYTES];
    cr_assert_eq(mkdir(scene.run, 0755), 0);
    run_write("somebodys", "x");
    scene_start(NULL);
    scene_until("solod", "ready");
    cr_assert(scene_has("somebodys"));
    scene_signal(SIGTERM);
    cr_assert_eq(scene_end(), 0);
    cr_assert_eq(clock_boot_id(boot_id), STATUS_OK);
    scene_start(NULL);
    scene_until("solod", "ready");
    cr_assert(scene_has("somebodys"));
}

static void run_id_read(struct uuid *id)
{
    char path[256];
    struct buffer text = { .limit = 64 };
    snprintf(path, sizeof path, "%s/internal/run_id", scene.run);
    cr_assert_eq(file_read(path, &text), STATUS_OK);
    cr_assert_eq(buffer_append(&text, "", 1), STATUS_OK);
    cr_assert_eq(uuid_parse((const char *)text.data, id), STATUS_OK);
    buffer_close(&text);
}

Test(solod_start, each_start_is_a_run_of_its_own)
{
    struct uuid first, second;
    scene_start(NULL);
    scene_until("solod", "ready");
    run_id_read(&first);
    scene_signal(SIGKILL);
    cr_assert_eq(scene_end(), 128 + SIGKILL);
    scene_start(NULL);
    scene_until("solod", "ready");
    run_id_read(&second);
    cr_assert_neq(memcmp(&first, &second, sizeof first), 0);
}
