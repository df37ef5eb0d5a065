/* Tokens as tokend keeps them: what was granted is there after any crash, what was revoked is not,
 * and the log learns of each once and in order, whoever was down meanwhile. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/access/token_text.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "tests/support/build.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(tokens, .timeout = 1200);

enum { LOG_MS = 120000 };

/* A token of its own, drawn here as a client does; only its hash is sent. */
static json_t *grant_params(char text[TOKEN_TEXT_BYTES], const char *tenant, uint64_t ttl_ms)
{
    char hash_text[4 + HASH_TEXT_BYTES] = "hex:";
    token_text_draw(text);
    struct hash hash = token_text_hash(span_of_text(text));
    hex_text(hash_text + 4, hash.bytes, HASH_BYTES);
    json_t *params = json_pack("{s:s, s:s, s:[s, s]}", "token_hash", hash_text, "tenant", tenant,
                               "permissions", "read", "deploy");
    if (ttl_ms != 0)
        json_object_set_new(params, "ttl_ms", json_integer((json_int_t)ttl_ms));
    return params;
}

static void grant(const struct testbed *bed, const char *tenant, uint64_t ttl_ms,
                  char accessor[ACCESSOR_TEXT_BYTES])
{
    char text[TOKEN_TEXT_BYTES];
    json_t *reply = testbed_ask(bed, "tokend", "token.grant", grant_params(text, tenant, ttl_ms));
    snprintf(accessor, ACCESSOR_TEXT_BYTES, "%s", text_in(reply, "accessor"));
    json_decref(reply);
}

static enum status describe(const struct testbed *bed, const char *accessor)
{
    struct problem problem = { 0 };
    return testbed_call(bed, "tokend", "token.describe", json_pack("{s:s}", "accessor", accessor),
                        NULL, &problem);
}

static void revoke_token(const struct testbed *bed, const char *accessor)
{
    json_decref(
        testbed_ask(bed, "tokend", "token.revoke", json_pack("{s:s}", "accessor", accessor)));
}

static uint64_t counter(const struct testbed *bed, const char *name)
{
    json_t *reply = testbed_ask(bed, "tokend", "daemon.stats", NULL);
    uint64_t value = number_in(json_object_get(reply, "counters"), name);
    json_decref(reply);
    return value;
}

/* How often the log speaks of an accessor with this type. */
static size_t told(const json_t *events, const char *type, const char *accessor)
{
    size_t count = 0, i;
    char subject[64];
    snprintf(subject, sizeof subject, "token/%s", accessor);
    const json_t *event;
    json_array_foreach(events, i, event)
    {
        const char *about = text_in(event, "subject");
        count += about != NULL && strcmp(about, subject) == 0 &&
                 strcmp(text_in(event, "type"), type) == 0;
    }
    return count;
}

static void await_outbox_empty(const struct testbed *bed)
{
    uint64_t end = clock_boottime_ns() + LOG_MS * 1000000ull;
    while (counter(bed, "outbox") != 0) {
        cr_assert_lt(clock_boottime_ns(), end, "%lu events wait", counter(bed, "outbox"));
        sleep_ms(5);
    }
}

static void lives_through_everything(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char kept[ACCESSOR_TEXT_BYTES], gone[ACCESSOR_TEXT_BYTES], brief[ACCESSOR_TEXT_BYTES];
    testbed_open(&bed, flags);
    testbed_start(&bed);
    grant(&bed, "acme", 0, kept);
    grant(&bed, "acme", 3600000, gone);
    grant(&bed, "acme", 1, brief);
    revoke_token(&bed, gone);
    pid_t old = testbed_daemon(&bed, "tokend");
    process_signal(old, SIGKILL);
    cr_assert_eq(describe(&bed, kept), STATUS_OK);
    cr_assert_eq(describe(&bed, gone), STATUS_NOT_FOUND);
    cr_assert_neq(testbed_daemon(&bed, "tokend"), old);
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    cr_assert_eq(describe(&bed, kept), STATUS_OK);
    cr_assert_eq(describe(&bed, gone), STATUS_NOT_FOUND);
    json_t *reply =
        testbed_ask(&bed, "tokend", "token.describe", json_pack("{s:s}", "accessor", brief));
    cr_assert(json_is_true(json_object_get(json_object_get(reply, "token"), "is_expired")));
    json_decref(reply);
    cr_assert_eq(counter(&bed, "token_restored"), 2);
    await_outbox_empty(&bed);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(told(events, "capability_granted", kept), 1);
    cr_assert_eq(told(events, "capability_granted", gone), 1);
    cr_assert_eq(told(events, "capability_revoked", gone), 1);
    json_decref(events);
}

Test(tokens, what_was_granted_and_revoked_stays_so_through_crashes)
{
    lives_through_everything(0);
}

Test(tokens, what_was_granted_and_revoked_stays_so_as_an_ordinary_user)
{
    lives_through_everything(TESTBED_AS_USER);
}

Test(tokens, a_repeated_request_has_the_one_accessor)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char text[TOKEN_TEXT_BYTES], id[UUID_TEXT_BYTES], accessor[ACCESSOR_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *params = grant_params(text, "acme", 60000);
    json_object_set_new(params, "request_id", json_string(uuid_text(id, &uuid)));
    json_t *first = testbed_ask(&bed, "tokend", "token.grant", json_deep_copy(params));
    snprintf(accessor, sizeof accessor, "%s", text_in(first, "accessor"));
    for (int i = 0; i < 3; i++) {
        json_t *again = testbed_ask(&bed, "tokend", "token.grant", json_deep_copy(params));
        expect_text(again, "accessor", accessor);
        expect_number(again, "expires_ns", number_in(first, "expires_ns"));
        json_decref(again);
        if (i == 0)
            testbed_kill_everything(&bed), testbed_start(&bed);
        if (i == 1)
            revoke_token(&bed, accessor); /* a repetition brings nothing back */
    }
    cr_assert_eq(describe(&bed, accessor), STATUS_NOT_FOUND);
    struct problem problem = { 0 };
    json_t *other = grant_params(text, "acme", 60000);
    json_object_set_new(other, "request_id", json_string(id));
    enum status status = testbed_call(&bed, "tokend", "token.grant", other, NULL, &problem);
    expect_refused(status, STATUS_ABORTED, &problem, "request_id");
    json_object_del(params, "request_id");
    status = testbed_call(&bed, "tokend", "token.grant", params, NULL, &problem);
    expect_refused(status, STATUS_ALREADY_EXISTS, &problem, "token_hash");
    json_decref(first);
    await_outbox_empty(&bed);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(told(events, "capability_granted", accessor), 1);
    json_decref(events);
}

Test(tokens, the_log_learns_everything_once_and_in_order_after_eventd_was_away)
{
    enum { GRANTS = 600 };
    static char accessors[GRANTS][ACCESSOR_TEXT_BYTES];
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    pid_t eventd = testbed_daemon(&bed, "eventd");
    process_signal(eventd, SIGSTOP);
    for (size_t i = 0; i < GRANTS; i++)
        grant(&bed, "acme", 0, accessors[i]);
    cr_assert_eq(counter(&bed, "outbox"), GRANTS);
    process_signal(testbed_daemon(&bed, "tokend"), SIGKILL);
    cr_assert_eq(describe(&bed, accessors[GRANTS - 1]), STATUS_OK);
    process_signal(eventd, SIGCONT);
    process_signal(eventd, SIGKILL);
    await_outbox_empty(&bed);
    json_t *events = events_after(&bed, 0);
    size_t next = 0, i;
    json_t *event;
    json_array_foreach(events, i, event)
    {
        if (strcmp(text_in(event, "type"), "capability_granted") != 0)
            continue;
        cr_assert_lt(next, GRANTS);
        expect_text(json_object_get(event, "payload"), "accessor", accessors[next]);
        next++;
    }
    cr_assert_eq(next, GRANTS, "%zu grants in the log", next);
    json_decref(events);
}

Test(tokens, a_stop_in_order_leaves_nothing_in_the_outbox)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char accessor[ACCESSOR_TEXT_BYTES];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int i = 0; i < 50; i++)
        grant(&bed, "acme", 0, accessor);
    cr_assert_eq(testbed_stop(&bed), 0);
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "log", "--type", "capability_granted", "-n", "1000", "-o",
                      "jsonl", NULL);
    expect_exit(&result, 0);
    size_t count = 0;
    for (const char *at = result_out(&result); (at = strstr(at, "capability_granted")) != NULL;
         at++)
        count++;
    cr_assert_eq(count, 50, "%zu", count);
    testbed_start(&bed);
    cr_assert_eq(counter(&bed, "outbox_acknowledged"), 0);
}

/* Pipelined: a batch of them is one commit. */
static void send_grants(struct caller *caller, int from, int count)
{
    char text[TOKEN_TEXT_BYTES];
    AUTO(buffer_close) struct buffer frames = { .limit = 1 << 20 };
    for (int i = from; i < from + count; i++) {
        json_t *params = grant_params(text, i % 2 == 0 ? "acme" : "beta", 0);
        caller_pack(&frames, (uint64_t)i + 1, "token.grant", params);
        json_decref(params);
    }
    cr_assert(caller_send(caller, buffer_span(&frames)));
}

/* At most so many, fewer when the connection ends; how many were granted. */
static int receive_grants(struct caller *caller, int count)
{
    int granted = 0;
    json_t *answer;
    for (int i = 0; i < count && (answer = caller_receive(caller, 60000, NULL)) != NULL; i++) {
        granted += json_is_null(json_array_get(answer, 2));
        json_decref(answer);
    }
    return granted;
}

/* SIGTERM in the midst of grants: what was received is answered, and the store, its outbox and the
 * log agree on every one. SOLO_LONG makes it twenty. */
Test(tokens, stops_in_order_under_grants_lose_and_leave_nothing)
{
    enum { SENT = 600, ANSWERED = 50 };
    AUTO(testbed_close) struct testbed bed = { 0 };
    int rounds = getenv("SOLO_LONG") != NULL ? 20 : 3;
    uint64_t granted = 0;
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int round = 0; round < rounds; round++) {
        AUTO(caller_close) struct caller caller = CALLER_NONE;
        AUTO(result_close) struct result result = { 0 };
        char path[4096];
        int answers = 0;
        cr_assert_eq(caller_open(&caller, testbed_socket(&bed, "tokend", path)), STATUS_OK);
        send_grants(&caller, 0, SENT);
        answers += receive_grants(&caller, ANSWERED);
        cr_assert_eq(testbed_stop(&bed), 0);
        answers += receive_grants(&caller, SENT); /* what is in our socket */
        granted += (uint64_t)answers;
        testbed_recoveryd(&bed, &result, "verify", "--full", "--detailed-exitcode", NULL);
        expect_exit(&result, 0);
        testbed_start(&bed);
        cr_assert_eq(counter(&bed, "outbox_acknowledged"), 0, "it left something to be told");
        cr_assert_geq(counter(&bed, "tokens"), granted);
    }
}

Test(tokens, thousands_are_listed_once_each)
{
    const int tokens = getenv("SOLO_LONG") != NULL ? 100000 : 10000;
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    AUTO(caller_close) struct caller caller = CALLER_NONE;
    char path[4096];
    cr_assert_eq(caller_open(&caller, testbed_socket(&bed, "tokend", path)), STATUS_OK);
    for (int sent = 0, answered = 0; answered < tokens;) {
        send_grants(&caller, sent, 200);
        sent += 200;
        for (; answered < sent; answered++) {
            json_t *answer = caller_receive(&caller, 60000, NULL);
            cr_assert(json_is_null(json_array_get(answer, 2)), "%s", json_dumps(answer, 0));
            json_decref(answer);
        }
    }
    char after[128] = "", last[64] = "";
    size_t listed = 0;
    do {
        json_t *page = testbed_ask(
            &bed, "tokend", "token.list",
            json_pack("{s:s, s:s, s:i}", "tenant", "beta", "after", after, "limit", 1000));
        size_t i;
        json_t *item;
        json_array_foreach(json_object_get(page, "tokens"), i, item)
        {
            cr_assert_gt(strcmp(text_in(item, "accessor"), last), 0);
            snprintf(last, sizeof last, "%s", text_in(item, "accessor"));
            expect_text(item, "tenant", "beta");
            listed++;
        }
        const char *next = text_in(page, "next");
        snprintf(after, sizeof after, "%s", next == NULL ? "" : next);
        json_decref(page);
    } while (after[0] != '\0');
    cr_assert_eq(listed, (size_t)tokens / 2);
    await_outbox_empty(&bed);
    cr_assert_eq(counter(&bed, "tokens"), (uint64_t)tokens);
}

Test(tokens, without_persistence_they_lie_in_run)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    char accessor[ACCESSOR_TEXT_BYTES], path[400];
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_TOKEN_PERSISTENCE", "false");
    testbed_start(&bed);
    grant(&bed, "acme", 0, accessor);
    snprintf(path, sizeof path, "%s/tokens", bed.data);
    cr_assert_neq(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/tokens/data.mdb", bed.run);
    cr_assert_eq(access(path, F_OK), 0);
    json_t *reply = testbed_ask(&bed, "tokend", "token.status", NULL);
    cr_assert_not(json_is_true(json_object_get(reply, "is_persistent")));
    json_decref(reply);
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "kept for this boot only");
    testbed_soloctl(&bed, &result, "status", "-o", "json", NULL);
    json_t *document = result_json(&result);
    cr_assert(json_is_false(json_object_get(json_object_get(document, "tokens"), "is_persistent")));
    json_decref(document);
    await_outbox_empty(&bed);
    testbed_set(&bed, "SOLO_TOKEN_PERSISTENCE", "true"); /* as who calls recoveryd by hand */
    testbed_recoveryd(&bed, &result, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&result, 0);
    cr_assert_null(strstr(result_out(&result), "token_missing"), "%s", result_out(&result));
    testbed_set(&bed, "SOLO_TOKEN_PERSISTENCE", "false");
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    cr_assert_eq(describe(&bed, accessor), STATUS_OK, "the same boot");
    testbed_kill_everything(&bed);
    cr_assert_eq(directory_remove(bed.run), STATUS_OK); /* as at the start of a boot */
    testbed_start(&bed);
    cr_assert_eq(describe(&bed, accessor), STATUS_NOT_FOUND, "another boot");
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_TOKEN_PERSISTENCE", "true");
    testbed_start(&bed);
    testbed_recoveryd(&bed, &result, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&result, 0);
    cr_assert_null(strstr(result_out(&result), "token_missing"), "%s", result_out(&result));
}

Test(tokens, the_text_of_a_token_is_nowhere)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char text[TOKEN_TEXT_BYTES];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_decref(testbed_ask(&bed, "tokend", "token.grant", grant_params(text, "acme", 0)));
    await_outbox_empty(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    /* its middle: neither prefix nor checksum are secret */
    char canary[24];
    snprintf(canary, sizeof canary, "%.20s", text + 10);
    const char *const argv[] = { "/bin/grep", "-r", "-l", "-a", "-F", "-e", canary, bed.dir, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &result);
    cr_assert_eq(result.exit_code, 1, "found in %s", result_out(&result));
}

/* A tokend that dies on its way up lets its callers wait: they do so for a moment only. */
static enum status ask_briefly(const struct testbed *bed, const char *method, const json_t *params,
                               json_t **reply, struct problem *problem)
{
    char path[4096];
    struct caller caller;
    *problem = (struct problem){ 0 };
    enum status status = caller_open(&caller, testbed_socket(bed, "tokend", path));
    if (status != STATUS_OK)
        return status;
    status = caller_call(&caller, method, params, 1500, reply, problem);
    caller_close(&caller);
    return status;
}

/* One that dies on its way up, again and again, is started without the fault. */
static void start_again(struct testbed *bed, const char *fault)
{
    testbed_kill_everything(bed);
    testbed_set(bed, "SOLO_FAULT", fault);
    testbed_launch(bed, NULL);
    if (testbed_wait_ready(bed, strcmp(fault, "none") == 0 ? LOG_MS : 2000))
        return;
    cr_assert_str_neq(fault, "none", "it does not start");
    start_again(bed, "none");
}

/* Grants and revocations with their ids until they are answered, while tokend or eventd dies at a
 * point of its work; then the log is compared with what was answered. Solo runs, and runs again
 * afterwards. */
static void torture(struct testbed *bed, const char *point, int arrival)
{
    enum { STEPS = 12 };
    char fault[100], accessors[STEPS][ACCESSOR_TEXT_BYTES];
    uint64_t before = log_last_id(bed);
    snprintf(fault, sizeof fault, "%s:%d", point, arrival);
    start_again(bed, fault);
    unsigned failures = 0;
    for (int step = 0; step < STEPS; step++) {
        char text[TOKEN_TEXT_BYTES], id[UUID_TEXT_BYTES];
        struct uuid uuid = uuid_draw();
        json_t *params = step % 3 == 2 ? json_pack("{s:s}", "accessor", accessors[step - 1])
                                       : grant_params(text, "acme", 0);
        const char *method = step % 3 == 2 ? "token.revoke" : "token.grant";
        json_object_set_new(params, "request_id", json_string(uuid_text(id, &uuid)));
        json_t *reply = NULL;
        struct problem problem = { 0 };
        while (ask_briefly(bed, method, params, &reply, &problem) != STATUS_OK) {
            cr_assert(problem.code == STATUS_UNAVAILABLE || problem.code == STATUS_UNKNOWN ||
                          problem.code == STATUS_OK || problem.code == STATUS_DEADLINE_EXCEEDED,
                      "%s: %s", fault, problem.message);
            if (++failures == 4) { /* it dies each time it gets there: let it get further now */
                start_again(bed, "none");
            }
            cr_assert_lt(failures, 100, "%s", fault);
            sleep_ms(20);
        }
        if (step % 3 != 2)
            snprintf(accessors[step], sizeof accessors[step], "%s", text_in(reply, "accessor"));
        json_decref(reply);
        json_decref(params);
    }
    sleep_ms(50);
    start_again(bed, "none");
    await_outbox_empty(bed);
    json_t *events = events_after(bed, before);
    for (int step = 0; step < STEPS; step++) {
        if (step % 3 == 2)
            continue;
        size_t grants = told(events, "capability_granted", accessors[step]);
        size_t revocations = told(events, "capability_revoked", accessors[step]);
        cr_assert_eq(grants, 1, "%s: grant %d is %zu times in the log", fault, step, grants);
        cr_assert_eq(revocations, (size_t)(step % 3 == 1), "%s: step %d", fault, step);
        cr_assert_eq(describe(bed, accessors[step]), step % 3 == 1 ? STATUS_NOT_FOUND : STATUS_OK,
                     "%s: step %d", fault, step);
    }
    cr_assert_eq(events_count(events, "capability_granted", NULL, NULL), 2 * STEPS / 3);
    json_decref(events);
}

Test(tokens, the_outbox_is_exact_whoever_dies_where)
{
    static const char *const points[] = {
        "tokend.before_commit", "tokend.after_commit", "outbox.sent",
        "outbox.acknowledged",  "outbox.removed",      "eventd.before_commit",
        "eventd.after_commit",  "rpc_committed",
    };
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    if (!build_has_faults(&bed)) {
        testbed_discard(&bed);
        cr_skip_test("this build has no fault points (SOLO_FAULTS)");
    }
    testbed_start(&bed);
    for (size_t i = 0; i < COUNT_OF(points); i++)
        for (int arrival = 1; arrival <= 4; arrival += 3)
            torture(&bed, points[i], arrival);
}
