/* eventd as a process, alone: how it starts, stops, dies and stays when its store is damaged. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/uuid.h"
#include "tests/support/caller.h"
#include "tests/support/command.h"
#include "tests/support/criterion.h"
#include "tests/support/process.h"
#include "tests/unit/common/base/scratch.h"

static char data[4096], run[4096], log_file[4096], socket_path[4096];
static pid_t eventd;

static void setup(void)
{
    scratch_make();
    snprintf(data, sizeof data, "%s", scratch_path("data"));
    snprintf(run, sizeof run, "%s", scratch_path("run"));
    snprintf(log_file, sizeof log_file, "%s", scratch_path("log"));
    snprintf(socket_path, sizeof socket_path, "%s", scratch_path("run/eventd.sock"));
    cr_assert_eq(mkdir(run, 0755), 0);
}

static void teardown(void)
{
    if (eventd != 0) {
        kill(eventd, SIGKILL);
        command_wait(eventd, 60000);
    }
    scratch_remove();
}

TestSuite(program, .init = setup, .fini = teardown, .timeout = 60);

/* The run's key, as solod passes it. */
static const char run_key[] = "0123456789abcdef0123456789abcdef";

/* `fault` is a value of SOLO_FAULT, or NULL. */
static void launch(const char *fault)
{
    char fault_variable[64] = "SOLO_NO_FAULT=", key_variable[64];
    if (fault != NULL)
        snprintf(fault_variable, sizeof fault_variable, "SOLO_FAULT=%s", fault);
    int key = memfd_create("run-key", 0);
    cr_assert_eq(write(key, run_key, 32), 32);
    snprintf(key_variable, sizeof key_variable, "SOLO_KEY_FD=%d", key);
    const char *const argv[] = { SOLO_BIN_DIR "/eventd", "--data", data, "--run", run, NULL };
    const char *const environment[] = { "PATH=/usr/bin:/bin", fault_variable, key_variable, NULL };
    const struct command command = { .argv = argv, .environment = environment };
    unlink(socket_path);
    eventd = command_start(&command, log_file);
    cr_assert_gt(eventd, 0);
    close(key);
}

/* From now on this connection speaks for a daemon. */
static void say_hello(struct caller *caller, const char *daemon)
{
    char key[80] = "hex:";
    hex_text(key + 4, run_key, 32);
    json_t *params = json_pack("{s:s, s:s}", "daemon", daemon, "key", key);
    cr_assert_eq(caller_call(caller, "daemon.hello", params, 60000, NULL, NULL), STATUS_OK);
    json_decref(params);
}

static enum status close_log(struct caller *caller)
{
    json_t *params = json_pack("{s:b}", "is_forced", 1);
    enum status status = caller_call(caller, "event.close_log", params, 60000, NULL, NULL);
    json_decref(params);
    return status;
}

static struct caller dial(void)
{
    struct caller caller = CALLER_NONE;
    for (int i = 0; i < 3000; i++) {
        if (caller_open(&caller, socket_path) == STATUS_OK)
            return caller;
        cr_assert(process_is_alive(eventd), "eventd has ended");
        usleep(20000);
    }
    cr_assert_fail("eventd does not listen");
    return caller;
}

static int await_end(void)
{
    int code = command_wait(eventd, 60000);
    eventd = 0;
    return code;
}

static int stop(void)
{
    kill(eventd, SIGTERM);
    return await_end();
}

static enum status append(struct caller *caller, const char *text, const char *request_id,
                          json_t **result)
{
    json_t *params = json_pack("{s:s, s:s, s:{s:s}}", "type", "app.x", "tenant", "acme", "payload",
                               "text", text);
    if (request_id != NULL)
        json_object_set_new(params, "request_id", json_string(request_id));
    struct problem problem = { 0 };
    enum status status = caller_call(caller, "event.append", params, 60000, result, &problem);
    json_decref(params);
    return status;
}

static json_t *query_all(struct caller *caller)
{
    json_t *result = NULL;
    cr_assert_eq(caller_call(caller, "event.query", NULL, 60000, &result, NULL), STATUS_OK);
    json_t *events = json_incref(json_object_get(result, "events"));
    json_decref(result);
    return events;
}

static const char *type_at(json_t *events, size_t index)
{
    const char *type = json_string_value(json_object_get(json_array_get(events, index), "type"));
    return type == NULL ? "" : type;
}

Test(program, what_was_acknowledged_survives_kill_9)
{
    launch(NULL);
    struct caller caller = dial();
    for (int i = 0; i < 20; i++)
        cr_assert_eq(append(&caller, "text", NULL, NULL), STATUS_OK);
    kill(eventd, SIGKILL);
    cr_expect_eq(await_end(), 128 + SIGKILL);
    caller_close(&caller);
    launch(NULL);
    caller = dial();
    json_t *events = query_all(&caller);
    cr_expect_eq(json_array_size(events), 20);
    json_decref(events);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
}

Test(program, an_orderly_shutdown_ends_the_log)
{
    launch(NULL);
    struct caller caller = dial();
    cr_assert_eq(append(&caller, "text", NULL, NULL), STATUS_OK);
    cr_expect_eq(close_log(&caller), STATUS_PERMISSION_DENIED, "not even an operator says so");
    say_hello(&caller, "tokend");
    cr_expect_eq(close_log(&caller), STATUS_PERMISSION_DENIED, "another daemon does not");
    struct caller solod = dial();
    say_hello(&solod, "solod");
    cr_assert_eq(close_log(&solod), STATUS_OK);
    caller_close(&solod);
    cr_assert_eq(append(&caller, "after close_log", NULL, NULL), STATUS_OK,
                 "it goes on until then");
    cr_expect_eq(stop(), 0);
    caller_close(&caller);
    launch(NULL);
    caller = dial();
    json_t *events = query_all(&caller);
    cr_assert_eq(json_array_size(events), 3);
    cr_expect_str_eq(type_at(events, 2), "system_shutdown_complete");
    json_t *payload = json_object_get(json_array_get(events, 2), "payload");
    cr_expect(json_is_true(json_object_get(payload, "forced")));
    json_decref(events);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
}

Test(program, a_plain_restart_writes_nothing_into_the_log)
{
    launch(NULL);
    struct caller caller = dial();
    cr_assert_eq(append(&caller, "text", NULL, NULL), STATUS_OK);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
    launch(NULL);
    caller = dial();
    json_t *events = query_all(&caller);
    cr_expect_eq(json_array_size(events), 1);
    json_decref(events);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
}

Test(program, a_second_one_is_refused)
{
    launch(NULL);
    struct caller caller = dial();
    pid_t first = eventd;
    launch(NULL);
    cr_expect_eq(await_end(), 75);
    eventd = first;
    cr_expect(process_is_alive(first));
    caller_close(&caller);
}

#ifdef SOLO_FAULTS
/* Dies at the fault point while it appends; what a repeated request then gets, and how many events
 * there are, says whether that request had happened entirely or not at all. */
static void die_while_appending(const char *fault, bool has_happened)
{
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    uuid_text(id, &uuid);
    launch(fault);
    struct caller caller = dial();
    cr_expect_neq(append(&caller, "text", id, NULL), STATUS_OK);
    cr_expect_eq(await_end(), 128 + SIGKILL);
    caller_close(&caller);
    launch(NULL);
    caller = dial();
    json_t *result = NULL;
    cr_assert_eq(append(&caller, "text", id, &result), STATUS_OK);
    cr_expect_eq(json_is_true(json_object_get(result, "is_repeat")), has_happened);
    cr_expect_eq(json_integer_value(json_object_get(result, "event_id")), 1);
    json_decref(result);
    json_t *events = query_all(&caller);
    cr_expect_eq(json_array_size(events), 1);
    json_decref(events);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
}

Test(program, killed_before_its_commit_a_request_has_not_happened)
{
    die_while_appending("eventd.before_commit", false);
}

Test(program, killed_after_its_commit_a_request_has_happened_once)
{
    die_while_appending("eventd.after_commit", true);
}

Test(program, killed_while_it_creates_the_store_it_begins_again)
{
    launch("eventd.before_rename");
    cr_expect_eq(await_end(), 128 + SIGKILL);
    struct stat status;
    cr_expect_neq(stat(scratch_path("data/events"), &status), 0);
    launch(NULL);
    struct caller caller = dial();
    cr_expect_eq(append(&caller, "text", NULL, NULL), STATUS_OK);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
    cr_expect_neq(stat(scratch_path("data/events.new"), &status), 0);
}
#endif

Test(program, a_damaged_store_is_said_to_be_and_nothing_is_touched)
{
    launch(NULL);
    struct caller caller = dial();
    cr_assert_eq(append(&caller, "text", NULL, NULL), STATUS_OK);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);

    const char *path = scratch_path("data/events/data.mdb");
    struct buffer before = { .limit = 64 << 20 }, after = { .limit = 64 << 20 };
    int fd = open(path, O_WRONLY);
    static const uint8_t zeros[8192];
    cr_assert_eq(pwrite(fd, zeros, sizeof zeros, 0), (ssize_t)sizeof zeros);
    close(fd);
    cr_assert_eq(file_read(path, &before), STATUS_OK);

    launch(NULL);
    caller = dial();
    struct problem problem = { 0 };
    json_t *health = NULL;
    cr_expect_eq(append(&caller, "text", NULL, NULL), STATUS_DATA_LOSS);
    cr_expect_eq(caller_call(&caller, "event.query", NULL, 60000, NULL, &problem),
                 STATUS_DATA_LOSS);
    cr_expect_not_null(strstr(problem.message, "recoveryd salvage"));
    cr_expect_eq(caller_call(&caller, "store.backup", json_pack("{s:s}", "dir", scratch_path(".")),
                             60000, NULL, NULL),
                 STATUS_DATA_LOSS);
    cr_assert_eq(caller_call(&caller, "daemon.health", NULL, 60000, &health, NULL), STATUS_OK);
    cr_expect_str_eq(json_string_value(json_object_get(health, "state")), "damaged");
    cr_expect_not_null(
        strstr(problem.message, json_string_value(json_object_get(health, "reason"))),
        "health says the same, with what to do");
    json_decref(health);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
    cr_assert_eq(file_read(path, &after), STATUS_OK);
    cr_expect(span_equal(buffer_span(&before), buffer_span(&after)));
    buffer_close(&before);
    buffer_close(&after);
}

/* In each place where `text` stands, the byte that is `behind` it. */
static void damage_behind(const char *text, size_t behind)
{
    AUTO(buffer_close) struct buffer file = { .limit = 64 << 20 };
    const char *path = scratch_path("data/events/data.mdb");
    size_t size = strlen(text), found = 0;
    cr_assert_eq(file_read(path, &file), STATUS_OK);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (size_t at = 0; at + size + behind < file.size; at++) {
        uint8_t other = file.data[at + size + behind] ^ 1;
        if (memcmp(file.data + at, text, size) != 0)
            continue;
        cr_assert_eq(pwrite(fd, &other, 1, (off_t)(at + size + behind)), 1);
        found++;
    }
    close(fd);
    cr_assert_gt(found, 0);
}

/* More than the newest thousand, which the probe reads. */
static void append_beyond_the_probe(struct caller *caller)
{
    enum { ROUNDS = 12, EACH = 100 };
    for (int round = 0; round < ROUNDS; round++) {
        AUTO(buffer_close) struct buffer frames = { .limit = 1 << 20 };
        for (uint64_t i = 1; i <= EACH; i++) {
            json_t *params = json_pack("{s:s, s:s}", "type", "app.x", "tenant", "acme");
            caller_pack(&frames, i, "event.append", params);
            json_decref(params);
        }
        cr_assert(caller_send(caller, buffer_span(&frames)));
        for (int i = 0; i < EACH; i++) {
            json_t *answer = caller_receive(caller, 60000, NULL);
            cr_assert(json_is_null(json_array_get(answer, 2)));
            json_decref(answer);
        }
    }
}

Test(program, damage_that_the_probe_leaves_alone_is_found_while_it_works)
{
    launch(NULL);
    struct caller caller = dial();
    cr_assert_eq(append(&caller, "the first of many", NULL, NULL), STATUS_OK);
    append_beyond_the_probe(&caller);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
    damage_behind("the first of many", 0);
    launch(NULL);
    caller = dial();
    char reason[300] = "";
    for (int waited = 0; strstr(reason, "damaged in places") == NULL; waited += 100) {
        json_t *health = NULL;
        cr_assert_lt(waited, 60000);
        cr_assert_eq(caller_call(&caller, "daemon.health", NULL, 60000, &health, NULL), STATUS_OK);
        cr_assert_str_eq(json_string_value(json_object_get(health, "state")), "ready");
        snprintf(reason, sizeof reason, "%s", json_string_value(json_object_get(health, "reason")));
        json_decref(health);
        usleep(100 * 1000);
    }
    cr_expect_eq(append(&caller, "text", NULL, NULL), STATUS_OK, "what is whole goes on");
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
}

static bool is_suspect(void)
{
    return access(scratch_path("data/events.suspect"), F_OK) == 0;
}

/* The watchdog of a parent does that, when a disk is slow. */
Test(program, a_signal_that_somebody_sends_makes_no_store_suspect)
{
    launch(NULL);
    struct caller caller = dial();
    cr_assert_eq(append(&caller, "text", NULL, NULL), STATUS_OK);
    caller_close(&caller);
    kill(eventd, SIGABRT);
    cr_assert_eq(await_end(), 128 + SIGABRT);
    cr_expect_not(is_suspect());
}

Test(program, of_a_suspect_store_what_is_whole_goes_on)
{
    launch(NULL);
    struct caller caller = dial();
    cr_assert_eq(append(&caller, "text", NULL, NULL), STATUS_OK);
    caller_close(&caller);
    cr_expect_eq(stop(), 0);
    damage_behind("tacme", 3);
    AUTO(fd_close)
    int mark = open(scratch_path("data/events.suspect"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(mark, 0);
    launch(NULL);
    caller = dial();
    cr_expect_eq(append(&caller, "text", NULL, NULL), STATUS_OK);
    caller_close(&caller);
    cr_expect_not(is_suspect(), "every row was read once");
    cr_expect_eq(stop(), 0);
}

Test(program, a_watch_sees_what_another_client_appends)
{
    launch(NULL);
    struct caller watcher = dial(), writer = dial();
    struct buffer frame = { .limit = 4096 };
    json_t *params = json_pack("{s:b}", "from_end", 1);
    caller_pack(&frame, 7, "event.watch", params);
    json_decref(params);
    cr_assert(caller_send(&watcher, buffer_span(&frame)));
    json_t *answer = NULL;
    cr_assert_eq(caller_call(&writer, "daemon.health", NULL, 60000, NULL, NULL), STATUS_OK);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(append(&writer, "text", NULL, NULL), STATUS_OK);
    size_t seen = 0;
    while (seen < 3 && (answer = caller_receive(&watcher, 60000, NULL)) != NULL) {
        json_t *body = json_array_get(json_array_get(answer, 2), 1);
        cr_expect_eq(json_integer_value(json_array_get(json_array_get(answer, 2), 0)), 7);
        seen += json_array_size(json_object_get(body, "events"));
        json_decref(answer);
    }
    cr_expect_eq(seen, 3);
    caller_close(&watcher);
    caller_close(&writer);
    buffer_close(&frame);
    cr_expect_eq(stop(), 0);
}

Test(program, stopping_tells_watchers_to_come_back)
{
    launch(NULL);
    struct caller watcher = dial();
    struct buffer frame = { .limit = 4096 };
    caller_pack(&frame, 7, "event.watch", NULL);
    cr_assert(caller_send(&watcher, buffer_span(&frame)));
    struct caller other = dial();
    cr_assert_eq(caller_call(&other, "daemon.health", NULL, 60000, NULL, NULL), STATUS_OK);
    kill(eventd, SIGTERM);
    json_t *answer = caller_receive(&watcher, 60000, NULL);
    cr_assert_not_null(answer);
    const char *code = json_string_value(json_object_get(json_array_get(answer, 2), "code"));
    cr_expect_str_eq(code == NULL ? "" : code, "unavailable");
    json_decref(answer);
    cr_expect_eq(await_end(), 0);
    caller_close(&watcher);
    caller_close(&other);
    buffer_close(&frame);
}
