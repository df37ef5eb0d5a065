/* A disk of 16 MB without space, from a deploy to the next start: a tmpfs in a mount namespace of
 * the test's own, which goes when its processes have gone. Needs root. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/access/token_text.h"
#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"

TestSuite(full_disk, .timeout = 240);

enum {
    TEXT_BYTES = 8000,
    DEPLOYS_MAX = 400,
    WRITERS = 16, /* at once, of 60 kB each: more than what a small disk's reserve holds */
    NOTE_BYTES = 60000,
    GRANTS = 14,
};

/* A testbed whose data, and with `has_run` its run folder too, lie on a disk of their own:
 * `folder`.
 */
static void disk_open(struct testbed *bed, char folder[300], bool has_run)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        cr_skip_test("a disk of its own needs root and mount namespaces");
    testbed_open(bed, 0);
    snprintf(folder, 300, "%s/disk", bed->dir);
    cr_assert_eq(mkdir(folder, 0755), 0);
    if (mount("solo-test", folder, "tmpfs", 0, "size=16m") != 0) {
        testbed_discard(bed);
        cr_skip_test("no tmpfs can be mounted here");
    }
    snprintf(bed->data, sizeof bed->data, "%.270s/data", folder);
    if (has_run)
        snprintf(bed->run, sizeof bed->run, "%.270s/run", folder);
    testbed_set(bed, "SOLO_FAULT_BOUND", "look_ms:resources:200");
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
    for (int i = 0; i < 600; i++) {
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
    for (int i = 0; i < 600; i++) {
        testbed_soloctl(bed, &result, "status", NULL);
        if (strstr(result_out(&result), "there is no room for its store") == NULL)
            return;
        sleep_ms(100);
    }
    test_fail("%s", result_out(&result));
}

/* Before the disk is full, and once. */
static void expect_told_of_disk(const struct testbed *bed)
{
    json_t *events = events_after(bed, 0);
    json_t *event = event_last(events, "resource_usage_high", NULL, NULL);
    cr_assert_not_null(event, "nobody has told that the disk is nearly full");
    const json_t *payload = json_object_get(event, "payload");
    cr_expect_str_eq(text_in(payload, "resource"), "disk");
    cr_expect_str_eq(text_in(payload, "daemon"), "eventd");
    cr_expect_leq(events_count(events, "resource_usage_high", NULL, NULL), 2);
    json_decref(events);
}

/* All but a twentieth. */
static void disk_nearly_fill(const char *folder)
{
    char path[4096];
    struct statvfs disk;
    cr_assert_eq(path_join(path, folder, "filler"), STATUS_OK);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(statvfs(folder, &disk), 0);
    uint64_t bytes = (disk.f_bavail - disk.f_blocks / 20) * disk.f_frsize;
    cr_assert_eq(posix_fallocate(fd, 0, (off_t)bytes), 0);
}

static void disk_close(struct testbed *bed, const char *folder)
{
    cr_assert_eq(testbed_stop(bed), 0);
    cr_assert_eq(umount2(folder, MNT_DETACH), 0);
    testbed_close(bed);
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
    cr_assert_eq(command_wait(bed->solod, 60000), 8);
    bed->solod = 0;
    cr_assert_geq(testbed_log_count(bed, "No space left on device"), 1);
}

static void fill_again(struct testbed *bed, const char *folder)
{
    AUTO(result_close) struct result result = { 0 };
    disk_fill(folder);
    deploy_until_refused(bed);
    service_kill(bed, "acme", "coded");
    disk_free(folder);
    deploy_until_taken(bed);
    cr_assert_null(service_row_of(bed, "acme", "coded"), "what was killed is back");
    testbed_recoveryd(bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
}

/* `is_run_apart`: RUN lies on another disk, as /run does. */
static void fill_and_free(bool is_run_apart)
{
    char folder[300];
    struct testbed bed = { 0 };
    struct problem problem = { 0 };
    AUTO(result_close) struct result result = { 0 };
    disk_open(&bed, folder, !is_run_apart);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "stays");
    service_deploy_sleeper(&bed, "acme", "goes");
    log_settled_id(&bed);
    pid_t stays = service_pid(&bed, "acme", "stays"), goes = service_pid(&bed, "acme", "goes");

    disk_nearly_fill(folder);
    event_await(&bed, 0, "resource_usage_high", NULL, NULL, 20000);
    disk_fill(folder);
    if (!is_run_apart)
        cr_assert_eq(try_deploy_code(&bed, &problem), STATUS_RESOURCE_EXHAUSTED, "%s",
                     problem.message);
    deploy_until_refused(&bed);
    cr_assert(process_is_alive(stays));
    service_kill(&bed, "acme", "goes");
    cr_assert_not(process_is_alive(goes));
    expect_told_of_disk(&bed);
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
    fill_again(&bed, folder);
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

/* --- in one batch --- */

/* What a stopped daemon finds at once when it goes on. */
struct crowd {
    struct caller writers[WRITERS], asker;
    struct buffer frames;
};

static void crowd_open(struct crowd *crowd, const struct testbed *bed, const char *daemon,
                       const char *asked)
{
    char path[4096];
    *crowd = (struct crowd){ .asker = CALLER_NONE, .frames.limit = 1 << 20 };
    for (int i = 0; i < WRITERS; i++) {
        crowd->writers[i] = CALLER_NONE;
        cr_assert_eq(caller_open(&crowd->writers[i], testbed_socket(bed, daemon, path)), STATUS_OK);
    }
    cr_assert_eq(caller_open(&crowd->asker, testbed_socket(bed, asked, path)), STATUS_OK);
    json_decref(testbed_ask(bed, daemon, "daemon.health", NULL)); /* all were accepted */
}

static void crowd_close(struct crowd *crowd)
{
    for (int i = 0; i < WRITERS; i++)
        caller_close(&crowd->writers[i]);
    caller_close(&crowd->asker);
    buffer_close(&crowd->frames);
}

static void crowd_add(struct crowd *crowd, uint64_t msgid, const char *method, json_t *params)
{
    AUTO(buffer_close) struct buffer frame = { .limit = 1 << 20 };
    caller_pack(&frame, msgid, method, params);
    cr_assert_eq(buffer_append(&crowd->frames, frame.data, frame.size), STATUS_OK);
    json_decref(params);
}

static void crowd_send(struct crowd *crowd, struct caller *caller)
{
    cr_assert(caller_send(caller, buffer_span(&crowd->frames)));
    buffer_clear(&crowd->frames);
}

static const char *answer_code(struct caller *caller, json_t **answer)
{
    *answer = caller_receive(caller, 60000, NULL);
    cr_assert_not_null(*answer);
    const char *code = text_in(json_array_get(*answer, 2), "code");
    return code == NULL ? "ok" : code;
}

/* The writers' `each` answers: some were refused, and none was lost. */
static void expect_some_refused(struct crowd *crowd, int each)
{
    size_t refused = 0;
    for (int i = 0; i < WRITERS; i++) {
        for (int j = 0; j < each; j++) {
            json_t *answer;
            const char *code = answer_code(&crowd->writers[i], &answer);
            bool is_refused = strcmp(code, "resource_exhausted") == 0;
            cr_expect(is_refused || strcmp(code, "ok") == 0, "%s", code);
            refused += is_refused;
            json_decref(answer);
        }
    }
    cr_expect_gt(refused, 0);
}

static void expect_asked_done(struct crowd *crowd)
{
    json_t *answer;
    const char *code = answer_code(&crowd->asker, &answer);
    cr_assert_str_eq(code, "ok", "what must not be refused was: %s",
                     text_in(json_array_get(answer, 2), "message"));
    json_decref(answer);
}

static json_t *note_params(void)
{
    char text[NOTE_BYTES + 1];
    memset(text, 'n', NOTE_BYTES);
    text[NOTE_BYTES] = '\0';
    return json_pack("{s:s, s:{s:s}}", "type", "app.note", "payload", "text", text);
}

static void kill_among_notes(struct testbed *bed, const char *folder)
{
    struct crowd crowd;
    pid_t goes = service_pid(bed, "acme", "goes"), eventd = testbed_daemon(bed, "eventd");
    crowd_open(&crowd, bed, "eventd", "deployd");
    cr_assert_eq(process_signal(eventd, SIGSTOP), 0);
    disk_fill(folder);
    for (int i = 0; i < WRITERS; i++) {
        crowd_add(&crowd, 1, "event.append", note_params());
        crowd_send(&crowd, &crowd.writers[i]);
    }
    crowd_add(&crowd, 1, "service.kill", json_pack("{s:s, s:s}", "tenant", "acme", "name", "goes"));
    crowd_send(&crowd, &crowd.asker);
    sleep_ms(1000); /* until deployd has passed it on */
    cr_assert_eq(process_signal(eventd, SIGCONT), 0);
    expect_asked_done(&crowd);
    expect_some_refused(&crowd, 1);
    cr_assert_not(process_is_alive(goes));
    crowd_close(&crowd);
}

static json_t *grant_params(const char *tenant, const char *metadata)
{
    char text[TOKEN_TEXT_BYTES], hash_text[4 + HASH_TEXT_BYTES] = "hex:";
    token_text_draw(text);
    struct hash hash = token_text_hash(span_of_text(text));
    hex_text(hash_text + 4, hash.bytes, HASH_BYTES);
    return json_pack("{s:s, s:s, s:[s], s:{s:s}}", "token_hash", hash_text, "tenant", tenant,
                     "permissions", "read", "metadata", "note", metadata);
}

static void revoke_among_grants(struct testbed *bed, const char *folder)
{
    struct crowd crowd;
    char metadata[3900];
    pid_t tokend = testbed_daemon(bed, "tokend");
    memset(metadata, 'm', sizeof metadata - 1);
    metadata[sizeof metadata - 1] = '\0';
    json_t *granted = testbed_ask(bed, "tokend", "token.grant", grant_params("acme", "dies"));
    const char *accessor = text_in(granted, "accessor");
    crowd_open(&crowd, bed, "tokend", "tokend");
    cr_assert_eq(process_signal(tokend, SIGSTOP), 0);
    disk_fill(folder);
    for (int i = 0; i < WRITERS; i++) {
        for (uint64_t j = 0; j < GRANTS; j++)
            crowd_add(&crowd, j + 1, "token.grant", grant_params("acme", metadata));
        crowd_send(&crowd, &crowd.writers[i]);
    }
    crowd_add(&crowd, 1, "token.revoke", json_pack("{s:s}", "accessor", accessor));
    crowd_send(&crowd, &crowd.asker);
    cr_assert_eq(process_signal(tokend, SIGCONT), 0);
    expect_asked_done(&crowd);
    expect_some_refused(&crowd, GRANTS);
    cr_assert_eq(testbed_call(bed, "tokend", "token.describe",
                              json_pack("{s:s}", "accessor", accessor), NULL, NULL),
                 STATUS_NOT_FOUND);
    json_decref(granted);
    crowd_close(&crowd);
}

Test(full_disk, a_kill_and_a_revocation_are_done_that_came_with_what_finds_no_room)
{
    char folder[300];
    struct testbed bed = { 0 };
    disk_open(&bed, folder, false);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "goes");
    log_settled_id(&bed);
    kill_among_notes(&bed, folder);
    disk_free(folder);
    revoke_among_grants(&bed, folder);
    disk_free(folder);
    cr_assert_geq(testbed_log_count(&bed, "msg=commit"), 2, "no batch was without room");
    disk_close(&bed, folder);
}
