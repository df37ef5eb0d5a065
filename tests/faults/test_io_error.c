/* A disk that fails a sync. What the commit left is unknown, and a second sync would not tell: so
 * the daemon says `unknown` to those who wait, ends with 87, and the next one begins from what is
 * on the disk; also when it was a commit that nobody waited for. Builds without SOLO_FAULTS skip
 * this. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/access/token_text.h"
#include "common/base/file.h"
#include "common/base/uuid.h"
#include "tests/support/build.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(io_error, .timeout = 120);

enum { WAITING = 5, BRIEF_MS = 8000 };

struct scene {
    struct testbed bed;
    char fault[4096];
    pid_t eventd, service;
    char ids[WAITING][UUID_TEXT_BYTES];
};

static void scene_open(struct scene *scene)
{
    *scene = (struct scene){ 0 };
    testbed_open(&scene->bed, 0);
    if (!build_has_faults(&scene->bed)) {
        testbed_discard(&scene->bed);
        cr_skip_test("this build has no fault points (SOLO_FAULTS)");
    }
    cr_assert_eq(path_join(scene->fault, scene->bed.dir, "sync_fails"), STATUS_OK);
    testbed_set(&scene->bed, "SOLO_FAULT_SYNC", scene->fault);
    cr_assert_eq(path_join(scene->fault, scene->bed.dir, "sync_fails.eventd"), STATUS_OK);
    testbed_set(&scene->bed, "SOLO_TOKEN_CLEANUP_INTERVAL_MS", "1000");
    testbed_start(&scene->bed);
    service_deploy_sleeper(&scene->bed, "acme", "bystander");
    log_settled_id(&scene->bed);
    scene->service = service_pid(&scene->bed, "acme", "bystander");
    scene->eventd = testbed_daemon(&scene->bed, "eventd");
    for (int i = 0; i < WAITING; i++) {
        struct uuid uuid = uuid_draw();
        uuid_text(scene->ids[i], &uuid);
    }
}

static json_t *append_params(const struct scene *scene, int i)
{
    return json_pack("{s:s, s:{s:i}, s:s}", "type", "app.note", "payload", "number", i,
                     "request_id", scene->ids[i]);
}

/* All in one write, so that one turn of the loop has them; each must be answered `unknown`. */
static void expect_unknown(const struct scene *scene)
{
    char path[4096];
    struct caller caller = CALLER_NONE;
    AUTO(buffer_close) struct buffer frames = { .limit = 65536 }, frame = { .limit = 65536 };
    for (int i = 0; i < WAITING; i++) {
        json_t *params = append_params(scene, i);
        buffer_clear(&frame);
        caller_pack(&frame, (uint64_t)i + 1, "event.append", params);
        buffer_append(&frames, frame.data, frame.size);
        json_decref(params);
    }
    cr_assert_eq(caller_open(&caller, testbed_socket(&scene->bed, "eventd", path)), STATUS_OK);
    cr_assert(caller_send(&caller, buffer_span(&frames)));
    for (int i = 0; i < WAITING; i++) {
        json_t *answer = caller_receive(&caller, 60000, NULL);
        cr_assert_not_null(answer, "request %d was not answered", i);
        const char *code = text_in(json_array_get(answer, 2), "code");
        cr_expect_str_eq(code == NULL ? "ok" : code, "unknown", "request %d", i);
        json_decref(answer);
    }
    caller_close(&caller);
}

/* The daemon with another pid than `old`, in this state. */
static pid_t await_daemon(struct testbed *bed, const char *name, pid_t old, const char *state)
{
    for (int i = 0; i < 6000; i++) {
        pid_t pid = testbed_daemon(bed, name);
        json_t *health = NULL;
        bool is_there =
            pid != 0 && pid != old &&
            testbed_call(bed, name, "daemon.health", NULL, &health, NULL) == STATUS_OK &&
            strcmp(text_in(health, "state"), state) == 0;
        json_decref(health);
        if (is_there)
            return pid;
        sleep_ms(10);
    }
    testbed_show_log(bed);
    test_fail("%s did not come back as %s", name, state);
    return 0;
}

static void await_eventd(struct scene *scene, const char *state)
{
    scene->eventd = await_daemon(&scene->bed, "eventd", scene->eventd, state);
}

/* What was unknown is asked again with its id, and has happened once. */
static void expect_all_once(const struct scene *scene)
{
    for (int i = 0; i < WAITING; i++)
        json_decref(testbed_ask(&scene->bed, "eventd", "event.append", append_params(scene, i)));
    json_t *events = events_after(&scene->bed, 0);
    cr_assert_eq(events_count(events, "app.note", NULL, NULL), WAITING);
    json_decref(events);
    cr_assert_eq(service_pid(&scene->bed, "acme", "bystander"), scene->service);
    service_deploy_sleeper(&scene->bed, "acme", "later");
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&scene->bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
}

Test(io_error, a_sync_that_fails_once_is_unknown_and_the_next_eventd_goes_on)
{
    struct scene scene;
    scene_open(&scene);
    cr_assert_eq(file_write(scene.fault, span_of_text("x"), 0644), STATUS_OK);
    expect_unknown(&scene);
    await_eventd(&scene, "ready");
    cr_assert_neq(access(scene.fault, F_OK), 0, "no sync has failed");
    cr_assert_eq(testbed_log_count(&scene.bed, "name=eventd how=\"exit code 87\""), 1);
    expect_all_once(&scene);
    testbed_close(&scene.bed);
}

Test(io_error, a_disk_that_goes_on_failing_ends_in_the_damaged_mode_until_it_is_mended)
{
    struct scene scene;
    AUTO(result_close) struct result result = { 0 };
    scene_open(&scene);
    cr_assert_eq(mkdir(scene.fault, 0755), 0);
    expect_unknown(&scene);
    await_eventd(&scene, "damaged");
    cr_assert_eq(testbed_log_count(&scene.bed, "name=eventd how=\"exit code 87\""), 1);
    enum status status =
        testbed_call(&scene.bed, "eventd", "event.append", append_params(&scene, 0), NULL, NULL);
    cr_assert_eq(status, STATUS_DATA_LOSS, "%s", status_name(status));
    cr_assert(process_is_alive(scene.service), "a service noticed");
    cr_assert_eq(testbed_daemon(&scene.bed, "eventd"), scene.eventd, "it stays");
    cr_assert_eq(rmdir(scene.fault), 0);
    testbed_soloctl(&scene.bed, &result, "daemon", "restart", "eventd", NULL);
    expect_exit(&result, 0);
    await_eventd(&scene, "ready");
    expect_all_once(&scene);
    testbed_close(&scene.bed);
}

/* Nobody asks for anything: what fails is the commit that eventd makes for its late rows. */
Test(io_error, a_sync_that_fails_while_eventd_tidies_ends_it_too)
{
    struct scene scene;
    scene_open(&scene);
    json_decref(testbed_ask(&scene.bed, "eventd", "event.append", append_params(&scene, 0)));
    cr_assert_eq(file_write(scene.fault, span_of_text("x"), 0644), STATUS_OK);
    await_eventd(&scene, "ready");
    cr_assert_neq(access(scene.fault, F_OK), 0, "no sync has failed");
    cr_assert_eq(testbed_log_count(&scene.bed, "name=eventd how=\"exit code 87\""), 1);
    expect_all_once(&scene);
    testbed_close(&scene.bed);
}

static void grant_brief_token(const struct testbed *bed)
{
    char text[TOKEN_TEXT_BYTES], hash_text[4 + HASH_TEXT_BYTES] = "hex:";
    token_text_draw(text);
    struct hash hash = token_text_hash(span_of_text(text));
    hex_text(hash_text + 4, hash.bytes, HASH_BYTES);
    json_decref(testbed_ask(bed, "tokend", "token.grant",
                            json_pack("{s:s, s:s, s:[s], s:i}", "token_hash", hash_text, "tenant",
                                      "acme", "permissions", "read", "ttl_ms", BRIEF_MS)));
}

/* Until tokend owes the log nothing, so that it does not write for that. */
static void await_outbox_empty(const struct testbed *bed)
{
    for (int i = 0; i < 6000; i++) {
        json_t *stats = testbed_ask(bed, "tokend", "daemon.stats", NULL);
        uint64_t waiting = number_in(json_object_get(stats, "counters"), "outbox");
        json_decref(stats);
        if (waiting == 0)
            return;
        sleep_ms(10);
    }
    test_fail("the outbox does not become empty");
}

/* The same with the sweep of a token that has expired. */
Test(io_error, a_sync_that_fails_while_tokend_sweeps_ends_it_too)
{
    struct scene scene;
    scene_open(&scene);
    pid_t tokend = testbed_daemon(&scene.bed, "tokend");
    grant_brief_token(&scene.bed);
    await_outbox_empty(&scene.bed);
    cr_assert_eq(path_join(scene.fault, scene.bed.dir, "sync_fails.tokend"), STATUS_OK);
    cr_assert_eq(file_write(scene.fault, span_of_text("x"), 0644), STATUS_OK);
    await_daemon(&scene.bed, "tokend", tokend, "ready");
    cr_assert_neq(access(scene.fault, F_OK), 0, "no sync has failed");
    cr_assert_eq(testbed_log_count(&scene.bed, "name=tokend how=\"exit code 87\""), 1);
    grant_brief_token(&scene.bed);
    cr_assert_eq(testbed_daemon(&scene.bed, "eventd"), scene.eventd);
    testbed_close(&scene.bed);
}

/* The command that was cut off says how to learn what became of it, and leaves what that needs. */
static void expect_told(const struct result *result, const char *out, char id[UUID_TEXT_BYTES])
{
    static const char flag[] = "--request-id ";
    expect_exit(result, 70);
    const char *said = strstr(result_err(result), flag);
    cr_assert_not_null(said, "%s", result_err(result));
    snprintf(id, UUID_TEXT_BYTES, "%s", said + strlen(flag));
    expect_contains(result_err(result), "soloctl token revoke");
    bool is_printed =
        token_text_is_valid(span_of(result_out(result), strcspn(result_out(result), "\n")));
    cr_assert_eq(is_printed, out == NULL, "%s", result_out(result));
}

static void repeat_grant(const struct testbed *bed, const char *id, const char *out,
                         char accessor[64])
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(bed, &result, "token", "create", "-t", "acme", "--permission", "read",
                    "--request-id", id, "--out", out, "-o", "name", NULL);
    expect_exit(&result, 0);
    snprintf(accessor, 64, "%s", result_out(&result));
}

/* `out` is NULL for a token on standard output. */
static void cut_off_a_grant(const char *out)
{
    struct scene scene;
    char id[UUID_TEXT_BYTES], file[512], accessor[64], again[64];
    AUTO(result_close) struct result result = { 0 };
    scene_open(&scene);
    snprintf(file, sizeof file, "%s/agent.token", scene.bed.dir);
    pid_t tokend = testbed_daemon(&scene.bed, "tokend");
    cr_assert_eq(path_join(scene.fault, scene.bed.dir, "sync_fails.tokend"), STATUS_OK);
    cr_assert_eq(file_write(scene.fault, span_of_text("x"), 0644), STATUS_OK);
    testbed_soloctl(&scene.bed, &result, "token", "create", "-t", "acme", "--permission", "read",
                    out, file, NULL);
    expect_told(&result, out, id);
    if (out == NULL)
        cr_assert_eq(file_write(file, span_of_text(result_out(&result)), 0600), STATUS_OK);
    await_daemon(&scene.bed, "tokend", tokend, "ready");
    repeat_grant(&scene.bed, id, file, accessor);
    repeat_grant(&scene.bed, id, file, again);
    cr_assert_str_eq(accessor, again);
    testbed_soloctl(&scene.bed, &result, "--token-file", file, "token", "verify", "--permission",
                    "read", "-o", "name", NULL);
    expect_exit(&result, 0);
    cr_assert_str_eq(result_out(&result), accessor);
    testbed_soloctl(&scene.bed, &result, "token", "list", "-o", "name", NULL);
    expect_exit(&result, 0);
    cr_assert_str_eq(result_out(&result), accessor, "one token to a request");
    testbed_close(&scene.bed);
}

Test(io_error, a_grant_of_unknown_outcome_is_repeated_with_its_file)
{
    cut_off_a_grant("--out");
}

Test(io_error, a_grant_of_unknown_outcome_is_repeated_with_what_it_printed)
{
    cut_off_a_grant(NULL);
}
