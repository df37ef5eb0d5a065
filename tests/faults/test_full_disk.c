/* A disk without space, from a deploy to the next start: a small tmpfs in a mount namespace of the
 * test's own, which goes when its processes have gone. Needs root. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"

TestSuite(full_disk, .timeout = 240);

enum { TEXT_BYTES = 8000, DEPLOYS_MAX = 400 };

/* For a testbed that is opened after this. */
static void disk_open(char folder[64])
{
    snprintf(folder, 64, "/tmp/solo-disk-XXXXXX");
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        cr_skip_test("a disk of its own needs root and mount namespaces");
    cr_assert_not_null(mkdtemp(folder));
    if (mount("solo-test", folder, "tmpfs", 0, "size=40m") != 0) {
        rmdir(folder);
        cr_skip_test("no tmpfs can be mounted here");
    }
    cr_assert_eq(setenv("TMPDIR", folder, 1), 0);
}

/* Not one byte is left afterwards. */
static void disk_fill(const char *folder)
{
    char path[4096];
    static const uint8_t zeros[65536];
    cr_assert_eq(path_join(path, folder, "filler"), STATUS_OK);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    for (size_t size = sizeof zeros; size > 0; size /= 2)
        while (write(fd, zeros, size) > 0)
            ;
    cr_assert_eq(errno, ENOSPC);
}

static void disk_free(const char *folder)
{
    char path[4096];
    cr_assert_eq(path_join(path, folder, "filler"), STATUS_OK);
    cr_assert_eq(unlink(path), 0);
}

/* One whose code has to be written into RUN, and one that takes room in the log only. */
static enum status try_deploy_code(const struct testbed *bed, struct problem *problem)
{
    return service_try_deploy(bed,
                              json_pack("{s:s, s:s, s:s, s:s}", "tenant", "acme", "name", "coded",
                                        "code", "exec sleep 1000\n", "interpreter", "sh"),
                              NULL, problem);
}

static enum status try_deploy(const struct testbed *bed, struct problem *problem)
{
    char text[TEXT_BYTES + 1];
    memset(text, 'x', TEXT_BYTES);
    text[TEXT_BYTES] = '\0';
    return service_try_deploy(bed, service_spec(bed, "acme", "grows", "sleeper", text, NULL), NULL,
                              problem);
}

static void deploy_until_refused(const struct testbed *bed)
{
    struct problem problem = { 0 };
    enum status status = STATUS_OK;
    int deploys = 0;
    while (status == STATUS_OK && deploys++ < DEPLOYS_MAX)
        status = try_deploy(bed, &problem);
    printf("refused at deploy %d: %s\n", deploys, problem.message);
    cr_assert_eq(status, STATUS_RESOURCE_EXHAUSTED, "%s %s", status_name(status), problem.message);
}

/* The store looks for space with each request that it has refused. */
static void deploy_until_taken(const struct testbed *bed)
{
    struct problem problem = { 0 };
    for (int i = 0; i < 50; i++) {
        if (try_deploy(bed, &problem) == STATUS_OK)
            return;
        sleep_ms(100);
    }
    test_fail("still refused with space: %s", problem.message);
}

/* Each version is 60 kB: what lies ahead in the store of secrets is soon used up. */
static void store_until_refused(const struct testbed *bed)
{
    enum { VALUE_BYTES = 60000 };
    AUTO(result_close) struct result result = { 0 };
    char *value = calloc(1, VALUE_BYTES + 1);
    cr_assert_not_null(value);
    memset(value, '7', VALUE_BYTES);
    for (int i = 0; result.exit_code == 0 && i < 60; i++)
        testbed_soloctl_input(bed, &result, value, "secret", "set", "acme/grows", NULL);
    free(value);
    expect_exit(&result, status_exit_code(STATUS_RESOURCE_EXHAUSTED));
}

/* Whom nobody asked for anything looks by itself, every ten seconds. */
static void expect_room_everywhere(const struct testbed *bed)
{
    AUTO(result_close) struct result result = { 0 };
    for (int i = 0; i < 300; i++) {
        testbed_soloctl(bed, &result, "status", NULL);
        if (strstr(result_out(&result), "there is no room for its store") == NULL)
            return;
        sleep_ms(100);
    }
    test_fail("%s", result_out(&result));
}

static void disk_close(struct testbed *bed, const char *folder)
{
    char log[80];
    snprintf(log, sizeof log, "%s.log", folder);
    testbed_close(bed);
    unlink(log);
    cr_assert_eq(umount2(folder, MNT_DETACH), 0);
    cr_assert_eq(rmdir(folder), 0);
}

/* What was wanted runs again, what was killed does not, and what grows is still refused. */
static void start_on_full_disk(struct testbed *bed)
{
    struct problem problem = { 0 };
    testbed_start(bed);
    service_await(bed, "acme", "stays", "running", 20000);
    cr_assert_null(service_row_of(bed, "acme", "goes"), "what was killed is back");
    cr_assert_eq(try_deploy(bed, &problem), STATUS_RESOURCE_EXHAUSTED, "%s", problem.message);
}

/* RUN needs room for a few small files: without it solod says which, and ends. */
static void expect_no_room_for_run(struct testbed *bed)
{
    testbed_launch(bed, NULL);
    cr_assert_eq(command_wait(bed->solod, 20000), 8);
    bed->solod = 0;
    cr_assert_geq(testbed_log_count(bed, "No space left on device"), 1);
}

/* `is_run_apart`: RUN lies on another disk, as /run does. */
static void fill_and_free(bool is_run_apart)
{
    char folder[64];
    struct testbed bed = { 0 };
    struct problem problem = { 0 };
    AUTO(result_close) struct result result = { 0 };
    disk_open(folder);
    testbed_open(&bed, 0);
    snprintf(bed.log, sizeof bed.log, "%s.log", folder); /* what is said must not be lost */
    if (is_run_apart) {
        cr_assert_eq(mkdir(bed.run, 0755), 0);
        cr_assert_eq(mount("solo-test", bed.run, "tmpfs", 0, "size=40m"), 0);
    }
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "stays");
    service_deploy_sleeper(&bed, "acme", "goes");
    log_settled_id(&bed);
    pid_t stays = service_pid(&bed, "acme", "stays"), goes = service_pid(&bed, "acme", "goes");

    disk_fill(folder);
    if (!is_run_apart)
        cr_assert_eq(try_deploy_code(&bed, &problem), STATUS_RESOURCE_EXHAUSTED, "%s",
                     problem.message);
    deploy_until_refused(&bed);
    cr_assert(process_is_alive(stays));
    service_kill(&bed, "acme", "goes");
    cr_assert_not(process_is_alive(goes));
    cr_assert_eq(testbed_call(&bed, "eventd", "event.append",
                              json_pack("{s:s}", "type", "app.note"), NULL, &problem),
                 STATUS_RESOURCE_EXHAUSTED);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result), "!          eventd: there is no room for its store");

    cr_assert_eq(testbed_stop(&bed), 0);
    disk_fill(folder);
    if (is_run_apart)
        start_on_full_disk(&bed);
    else
        expect_no_room_for_run(&bed);

    if (is_run_apart)
        store_until_refused(&bed);
    disk_free(folder);
    if (!is_run_apart)
        testbed_start(&bed);
    cr_assert_eq(secret_put(&bed, "acme", "later", "x"), STATUS_OK, "refused with space");
    deploy_until_taken(&bed);
    cr_assert_eq(try_deploy_code(&bed, &problem), STATUS_OK, "%s", problem.message);
    service_await(&bed, "acme", "stays", "running", 20000);
    service_await(&bed, "acme", "grows", "running", 20000);
    service_await(&bed, "acme", "coded", "running", 20000);
    cr_assert_null(service_row_of(&bed, "acme", "goes"), "what was killed is back");
    testbed_recoveryd(&bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
    expect_room_everywhere(&bed);
    if (is_run_apart) {
        cr_assert_eq(testbed_stop(&bed), 0);
        cr_assert_eq(umount2(bed.run, MNT_DETACH), 0);
    }
    disk_close(&bed, folder);
}

Test(full_disk, deploys_are_refused_the_rest_goes_on_and_all_resumes_with_space)
{
    fill_and_free(true);
}

Test(full_disk, when_run_lies_on_it_too_a_start_says_so)
{
    fill_and_free(false);
}
