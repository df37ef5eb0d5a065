/* What becomes of tokens when the clock steps, their store is replaced, or they are used: the real
 * daemons, by a clock that the test sets. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/access/token_text.h"
#include "tests/support/build.h"
#include "tests/support/expect.h"
#include "tests/support/files.h"
#include "tests/support/process.h"

TestSuite(token_life, .timeout = 300);

enum { HOUR_S = 3600, DAY_S = 86400, TEN_YEARS_S = 3650 * DAY_S, PATIENCE_MS = 60000 };

static struct testbed bed;

/* -- tokens -- */

struct granted {
    char text[TOKEN_TEXT_BYTES], accessor[ACCESSOR_TEXT_BYTES];
};

static struct granted grant_for(const char *permission, uint64_t ttl_s)
{
    struct granted token;
    char hash_text[4 + HASH_TEXT_BYTES] = "hex:";
    token_text_draw(token.text);
    struct hash hash = token_text_hash(span_of_text(token.text));
    hex_text(hash_text + 4, hash.bytes, HASH_BYTES);
    json_t *reply =
        testbed_ask(&bed, "tokend", "token.grant",
                    json_pack("{s:s, s:s, s:[s], s:I}", "token_hash", hash_text, "tenant", "acme",
                              "permissions", permission, "ttl_ms", (json_int_t)ttl_s * 1000));
    snprintf(token.accessor, sizeof token.accessor, "%s", text_in(reply, "accessor"));
    json_decref(reply);
    return token;
}

static struct granted grant(uint64_t ttl_s)
{
    return grant_for("read", ttl_s);
}

static enum status ask_with(const struct granted *token, const char *daemon, const char *method)
{
    struct problem problem = { 0 };
    return testbed_call(&bed, daemon, method, json_pack("{s:s}", "token", token->text), NULL,
                        &problem);
}

static void expect_valid(const struct granted *token, bool is_valid, const char *when)
{
    static const char *const verifiers[] = { "eventd", "deployd", "tokend" };
    for (size_t i = 0; i < COUNT_OF(verifiers); i++) {
        enum status status = ask_with(token, verifiers[i], "daemon.health");
        cr_assert_eq(status, is_valid ? STATUS_OK : STATUS_UNAUTHENTICATED, "%s, %s: %s",
                     verifiers[i], when, status_name(status));
    }
}

static pid_t pid_of_tokend(void)
{
    pid_t pid = testbed_daemon(&bed, "tokend");
    cr_assert_gt(pid, 0);
    return pid;
}

/* expired or not, but not swept */
static bool is_kept(const struct granted *token)
{
    struct problem problem = { 0 };
    return testbed_call(&bed, "tokend", "token.describe",
                        json_pack("{s:s}", "accessor", token->accessor), NULL,
                        &problem) == STATUS_OK;
}

/* How often the log tells this of a token. */
static size_t told(const char *type, const struct granted *token, json_t **last)
{
    char subject[64];
    size_t count = 0, i;
    json_t *events = events_after(&bed, 0), *event;
    snprintf(subject, sizeof subject, "token/%s", token->accessor);
    json_array_foreach(events, i, event)
    {
        const char *about = text_in(event, "subject");
        if (about == NULL || strcmp(about, subject) != 0 ||
            strcmp(text_in(event, "type"), type) != 0)
            continue;
        count++;
        if (last != NULL) {
            json_decref(*last);
            *last = json_incref(json_object_get(event, "payload"));
        }
    }
    json_decref(events);
    return count;
}

static void await_told(const char *type, const struct granted *token, int timeout_ms)
{
    for (int waited = 0; told(type, token, NULL) == 0; waited += 50) {
        cr_assert_lt(waited, timeout_ms, "no %s", type);
        sleep_ms(50);
    }
}

/* -- the clock -- */

static void set_clock(const char *boot, long long boottime_s, long long wall_s,
                      bool is_synchronised)
{
    char path[400], other[400];
    snprintf(path, sizeof path, "%s/clock", bed.dir);
    snprintf(other, sizeof other, "%s/clock.new", bed.dir);
    FILE *file = fopen(other, "w");
    cr_assert_not_null(file);
    fprintf(file, "%s %lld %lld %d\n", boot, boottime_s, wall_s, is_synchronised);
    fclose(file);
    cr_assert_eq(chmod(other, 0644), 0);
    cr_assert_eq(rename(other, path), 0);
}

/* Power lost, RUN gone, another boot id. */
static void reboot_with(char boot, long long wall_s, bool is_synchronised)
{
    char id[37] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    AUTO(result_close) struct result result = { 0 };
    for (char *at = id; *at != '\0'; at++)
        *at = *at == 'x' ? boot : *at;
    testbed_kill_everything(&bed);
    const char *const argv[] = { "/bin/rm", "-rf", bed.run, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &result);
    expect_exit(&result, 0);
    set_clock(id, 0, wall_s, is_synchronised);
    testbed_start(&bed);
}

static void open_with_clock(unsigned flags)
{
    char path[400];
    testbed_open(&bed, flags);
    if (!build_has_faults(&bed)) {
        testbed_discard(&bed);
        cr_skip_test("this build has no test clock (SOLO_FAULTS)");
    }
    snprintf(path, sizeof path, "%s/clock", bed.dir);
    set_clock("-", 0, 0, false);
    testbed_set(&bed, "SOLO_TEST_CLOCK", path);
    testbed_set(&bed, "SOLO_TOKEN_CLEANUP_INTERVAL_MS", "200");
    testbed_start(&bed);
}

static void survives_clock_steps(unsigned flags)
{
    AUTO(result_close) struct result result = { 0 };
    open_with_clock(flags);
    struct granted brief = grant(HOUR_S), lasting = grant(90 * DAY_S);
    set_clock("-", 0, -DAY_S, false);
    expect_valid(&brief, true, "a day back within the boot");
    set_clock("-", 0, TEN_YEARS_S, false);
    expect_valid(&brief, true, "ten years forward within the boot");

    reboot_with('1', TEN_YEARS_S, false);
    expect_valid(&brief, false, "a boot ten years ahead");
    expect_valid(&lasting, false, "a boot ten years ahead");
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_contains(result_out(&result), "suspect clock");
    sleep_ms(1000); /* some sweeps */
    cr_assert(is_kept(&brief) && is_kept(&lasting), "swept by a suspect clock");

    reboot_with('2', HOUR_S / 2, true);
    expect_valid(&lasting, true, "the clock is right again");
    expect_valid(&brief, true, "half an hour later");
    reboot_with('3', -DAY_S, false);
    expect_valid(&brief, true, "a boot a day back");
    reboot_with('4', 2 * HOUR_S, false);
    expect_valid(&brief, false, "after its hour");
    reboot_with('5', -DAY_S, false);
    expect_valid(&brief, false, "it had expired before the clock went back");
    expect_valid(&lasting, true, "a boot a day back, once more");

    reboot_with('6', TEN_YEARS_S, false);
    expect_valid(&lasting, false, "ten years ahead, once more");
    set_clock("66666666-6666-6666-6666-666666666666", 0, 3 * HOUR_S, false);
    testbed_soloctl(&bed, &result, "token", "trust-clock", NULL);
    expect_exit(&result, 0);
    expect_valid(&lasting, true, "an operator has trusted the clock");
    expect_valid(&brief, false, "and revived nothing");
    testbed_close(&bed);
}

Test(token_life, steps_of_the_clock_revive_nothing_and_lose_nothing)
{
    survives_clock_steps(0);
}

Test(token_life, steps_of_the_clock_as_an_ordinary_user)
{
    survives_clock_steps(TESTBED_AS_USER);
}

Test(token_life, warnings_come_before_the_end_and_the_sweep_after_it)
{
    open_with_clock(0);
    struct granted token = grant(8 * DAY_S), brief = grant(HOUR_S / 2);
    /* seven days, a day and an hour before its end, and no warning twice */
    static const long long seconds[] = { 2 * DAY_S, 7 * DAY_S, 8 * DAY_S - HOUR_S };
    for (size_t i = 0; i < COUNT_OF(seconds); i++) {
        set_clock("-", seconds[i] + 60, 0, false);
        process_signal(pid_of_tokend(), SIGKILL); /* it looks soon after its start */
        for (int waited = 0; told("capability_expiring", &token, NULL) < i + 1; waited += 50) {
            cr_assert_lt(waited, PATIENCE_MS, "warning %zu", i + 1);
            sleep_ms(50);
        }
    }
    cr_assert_eq(told("capability_expiring", &token, NULL), COUNT_OF(seconds));
    cr_assert_eq(told("capability_expiring", &brief, NULL), 0, "it never lived that long");
    await_told("capability_expired", &brief, PATIENCE_MS);
    cr_assert(is_kept(&token));
    set_clock("-", 8 * DAY_S + 60, 0, false);
    expect_valid(&token, false, "after its end, swept or not");
    await_told("capability_expired", &token, PATIENCE_MS);
    cr_assert_not(is_kept(&token));
    cr_assert_eq(told("capability_expired", &token, NULL), 1);
    testbed_close(&bed);
}

/* -- the store -- */

Test(token_life, another_store_in_place_is_noticed)
{
    char store[400], spare[400], aside[400];
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/tokens", bed.data);
    snprintf(spare, sizeof spare, "%s/spare", bed.dir);
    snprintf(aside, sizeof aside, "%s/aside", bed.dir);
    testbed_start(&bed);
    struct granted old = grant(HOUR_S);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/cp", "-a", store, spare, NULL);
    testbed_start(&bed);
    struct granted late = grant(HOUR_S);
    expect_valid(&old, true, "before");
    expect_valid(&late, true, "before");
    pid_t tokend = pid_of_tokend();
    process_signal(tokend, SIGSTOP);
    cr_assert_eq(rename(store, aside), 0);
    cr_assert_eq(rename(spare, store), 0);
    static const char *const verifiers[] = { "eventd", "deployd" };
    for (size_t i = 0; i < COUNT_OF(verifiers); i++) { /* tokend goes on with what it has open */
        cr_assert_eq(ask_with(&old, verifiers[i], "daemon.health"), STATUS_OK);
        cr_assert_eq(ask_with(&late, verifiers[i], "daemon.health"), STATUS_OK);
    }
    process_signal(tokend, SIGKILL);
    json_decref(testbed_ask(&bed, "tokend", "token.status", NULL)); /* the next one is there ... */
    for (size_t i = 0; i < COUNT_OF(verifiers); i++) /* ... and may still compare the store */
        for (int waited = 0; ask_with(&old, verifiers[i], "daemon.health") != STATUS_OK;
             waited += 50) {
            cr_assert_lt(waited, PATIENCE_MS, "%s believes it", verifiers[i]);
            sleep_ms(50);
        }
    expect_valid(&late, false, "in the other store");
    expect_valid(&old, true, "in the other store");
    json_decref(
        testbed_ask(&bed, "tokend", "token.revoke", json_pack("{s:s}", "accessor", old.accessor)));
    expect_valid(&old, false, "revoked in the other store");
    testbed_discard(&bed);
}

/* -- use -- */

/* Refused by the permission of a method, by a handler, by a spec's tenant, by solod, which asks
 * another daemon: whoever refuses, it is counted. */
struct denial {
    const char *daemon, *method, *params;
    enum status status;
    int times;
};

static const struct denial denials[] = {
    { "eventd", "event.append", "{}", STATUS_PERMISSION_DENIED, 5 },
    { "deployd", "token.check", "{\"permission\": \"kill\"}", STATUS_PERMISSION_DENIED, 2 },
    { "solod", "daemon.restart", "{\"daemon\": \"x\"}", STATUS_PERMISSION_DENIED, 3 },
    { "vaultd", "secret.list", "{\"tenant\": \"beta\"}", STATUS_UNAUTHENTICATED, 1 },
    { "tokend", "token.list", "{}", STATUS_PERMISSION_DENIED, 4 },
};
static const struct denial foreign_spec = {
    "deployd", "service.deploy",
    "{\"spec\": {\"tenant\": \"beta\", \"name\": \"api\", \"argv\": [\"/bin/true\"]}}",
    STATUS_UNAUTHENTICATED, 1
};
static const struct denial unknown_token = { "solod", "daemon.list", "{}", STATUS_UNAUTHENTICATED,
                                             1 };

static void be_refused(const struct granted *token, const struct denial *denial)
{
    struct problem problem = { 0 };
    json_t *params = json_loads(denial->params, 0, NULL);
    json_object_set_new(params, "token", json_string(token->text));
    enum status status = testbed_call(&bed, denial->daemon, denial->method, params, NULL, &problem);
    cr_assert_eq(status, denial->status, "%s: %s, %s", denial->method, status_name(status),
                 problem.message);
}

/* Each daemon tells for itself, what it refused last. Another daemon counts for who asked it. */
static uint64_t denied(const struct granted *token, const struct denial *denial)
{
    char subject[64];
    uint64_t count = 0;
    size_t i;
    json_t *events = events_after(&bed, 0), *event;
    snprintf(subject, sizeof subject, "token/%s", token->accessor);
    json_array_foreach(events, i, event)
    {
        const json_t *payload = json_object_get(event, "payload");
        const char *about = text_in(event, "subject");
        if (about != NULL && strcmp(about, subject) == 0 &&
            strcmp(text_in(event, "type"), "capability_denied") == 0 &&
            (denial == &unknown_token || strcmp(text_in(payload, "method"), denial->method) == 0))
            count += number_in(payload, "count");
    }
    json_decref(events);
    return count;
}

static void await_denied(const struct granted *token, const struct denial *denial)
{
    enum { MINUTES_MS = 150000 };
    for (int waited = 0; denied(token, denial) == 0; waited += 50) {
        cr_assert_lt(waited, MINUTES_MS, "nothing is told of %s", denial->method);
        sleep_ms(50);
    }
    cr_assert_eq(denied(token, denial), (uint64_t)denial->times, "%s", denial->method);
}

Test(token_life, a_use_and_its_refusals_are_told_once_a_minute)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    struct granted token = grant(HOUR_S), unused = grant(HOUR_S);
    expect_valid(&token, true, "at first");
    struct granted deployer = grant_for("deploy", HOUR_S), stranger = { .accessor = "unknown" };
    token_text_draw(stranger.text);
    for (size_t i = 0; i < COUNT_OF(denials); i++)
        for (int j = 0; j < denials[i].times; j++)
            be_refused(&token, &denials[i]);
    be_refused(&deployer, &foreign_spec);
    be_refused(&stranger, &unknown_token);
    for (size_t i = 0; i < COUNT_OF(denials); i++)
        await_denied(&token, &denials[i]);
    await_denied(&deployer, &foreign_spec);
    await_denied(&stranger, &unknown_token);
    cr_assert_eq(told("capability_denied", &token, NULL), COUNT_OF(denials));
    cr_assert_eq(told("capability_denied", &unused, NULL), 0);
    testbed_soloctl(&bed, &result, "token", "list", "-o", "json", NULL);
    json_t *document = result_json(&result), *item;
    size_t i;
    json_array_foreach(json_object_get(document, "items"), i, item)
    {
        bool is_used = strcmp(text_in(item, "accessor"), unused.accessor) != 0;
        const json_t *last = json_object_get(item, "last_used_at");
        cr_assert_eq(json_is_string(last), is_used, "%s", json_dumps(item, 0));
        if (is_used) /* to the minute */
            expect_contains(json_string_value(last), ":00.000Z");
    }
    cr_assert_eq(i, 3);
    json_decref(document);
    /* nothing was closed in order: not in the log, the stores, nor a core */
    testbed_kill_everything(&bed);
    char canary[24];
    snprintf(canary, sizeof canary, "%.20s", token.text + 10);
    const char *const argv[] = { "/bin/grep", "-r", "-l", "-a", "-F", "-e", canary, bed.dir, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &result);
    cr_assert_eq(result.exit_code, 1, "found in %s", result_out(&result));
    testbed_discard(&bed);
}

/* -- solod, which asks others -- */

Test(token_life, solod_knows_tokens_while_a_daemon_hangs)
{
    static const char *const hanging[] = { "deployd", "tokend" };
    pid_t pids[COUNT_OF(hanging)];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    struct granted admin = grant_for("admin", HOUR_S), token = grant(HOUR_S);
    for (size_t i = 0; i < COUNT_OF(hanging); i++) {
        pids[i] = testbed_daemon(&bed, hanging[i]);
        process_signal(pids[i], SIGSTOP);
        cr_assert_eq(ask_with(&admin, "solod", "daemon.stats"), STATUS_OK, "without %s",
                     hanging[i]);
        cr_assert_eq(ask_with(&token, "solod", "daemon.stats"), STATUS_PERMISSION_DENIED);
        token.text[TOKEN_TEXT_SIZE - 1] ^= 1;
        cr_assert_eq(ask_with(&token, "solod", "daemon.stats"), STATUS_UNAUTHENTICATED);
        token.text[TOKEN_TEXT_SIZE - 1] ^= 1;
    }
    for (size_t i = 0; i < COUNT_OF(hanging); i++)
        process_signal(pids[i], SIGCONT);
    testbed_close(&bed);
}
