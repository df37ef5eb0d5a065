/* A copy of the token store from earlier, put back: what was revoked since stays void, by the log,
 * and what happens from then on reaches the log, too. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/access/token_text.h"
#include "tests/support/expect.h"
#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/services.h"

TestSuite(older_tokens, .timeout = 180);

enum { PATIENCE_MS = 60000 };

struct granted {
    char text[TOKEN_TEXT_BYTES], accessor[ACCESSOR_TEXT_BYTES];
};

static struct testbed bed;
static char store[400], copy[400];
static struct granted kept, revoked, parent, child;

static void take(const char *method, json_t *params, struct granted *token)
{
    char hash_text[4 + HASH_TEXT_BYTES] = "hex:";
    token_text_draw(token->text);
    struct hash hash = token_text_hash(span_of_text(token->text));
    hex_text(hash_text + 4, hash.bytes, HASH_BYTES);
    json_object_set_new(params, "token_hash", json_string(hash_text));
    json_t *reply = testbed_ask(&bed, "tokend", method, params);
    snprintf(token->accessor, sizeof token->accessor, "%s", text_in(reply, "accessor"));
    json_decref(reply);
}

static void grant(struct granted *token)
{
    take("token.grant", json_pack("{s:s, s:[s]}", "tenant", "acme", "permissions", "read"), token);
}

static void revoke_token(const struct granted *token)
{
    json_decref(testbed_ask(&bed, "tokend", "token.revoke",
                            json_pack("{s:s}", "accessor", token->accessor)));
}

static enum status verify_at(const struct granted *token, const char *daemon)
{
    return testbed_call(&bed, daemon, "daemon.health", json_pack("{s:s}", "token", token->text),
                        NULL, NULL);
}

static bool is_valid(const struct granted *token, const char *daemon)
{
    return verify_at(token, daemon) == STATUS_OK;
}

static void expect_valid(const struct granted *token, bool wanted, const char *which)
{
    static const char *const verifiers[] = { "eventd", "vaultd", "deployd", "tokend" };
    for (size_t i = 0; i < COUNT_OF(verifiers); i++) {
        enum status status = verify_at(token, verifiers[i]);
        for (int waited = 0; wanted && status == STATUS_UNAVAILABLE && waited < PATIENCE_MS;
             waited += 20) { /* each opens the store again by itself */
            sleep_ms(20);
            status = verify_at(token, verifiers[i]);
        }
        cr_assert_eq(status == STATUS_OK, wanted, "%s at %s: %s", which, verifiers[i],
                     status_name(status));
    }
}

static void await_outbox_empty(void)
{
    for (int waited = 0;; waited += 20) {
        json_t *status = testbed_ask(&bed, "tokend", "token.status", NULL);
        bool is_empty = strcmp(text_in(status, "outbox_state"), "empty") == 0;
        cr_assert(is_empty || waited < PATIENCE_MS, "%s", text_in(status, "outbox_reason"));
        json_decref(status);
        if (is_empty)
            return;
        sleep_ms(20);
    }
}

static void put_copy_back(void)
{
    files_copy(&bed, copy, store);
}

static size_t told(const char *type, const struct granted *token)
{
    char subject[64];
    size_t count = 0, i;
    json_t *events = events_after(&bed, 0), *event;
    snprintf(subject, sizeof subject, "token/%s", token->accessor);
    json_array_foreach(events, i, event)
    {
        const char *about = text_in(event, "subject");
        count += about != NULL && strcmp(about, subject) == 0 &&
                 strcmp(text_in(event, "type"), type) == 0;
    }
    json_decref(events);
    return count;
}

/* A copy is taken, then three tokens are revoked, and two granted that the copy does not have. */
static void set_up(void)
{
    struct granted later;
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/tokens", bed.data);
    snprintf(copy, sizeof copy, "%s/copy", bed.dir);
    testbed_start(&bed);
    grant(&kept);
    grant(&revoked);
    grant(&parent);
    take("token.attenuate", json_pack("{s:s}", "parent", parent.accessor), &child);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/cp", "-a", store, copy, NULL);
    testbed_start(&bed);
    revoke_token(&revoked);
    revoke_token(&parent);
    grant(&later);
    grant(&later);
    await_outbox_empty();
}

static void expect_what_holds(void)
{
    expect_valid(&kept, true, "kept");
    expect_valid(&revoked, false, "revoked");
    expect_valid(&parent, false, "parent");
    expect_valid(&child, false, "child");
}

static void expect_it_goes_on(const struct granted *added)
{
    await_outbox_empty();
    cr_assert_eq(told("capability_granted", added), 1);
    cr_assert_eq(told("capability_revoked", &revoked), 1);
    cr_assert_eq(told("capability_revoked", &child), 1);
    revoke_token(&kept);
    await_outbox_empty();
    expect_valid(&kept, false, "kept");
}

Test(older_tokens, what_was_revoked_since_is_void_from_the_start, .init = set_up)
{
    struct granted added;
    cr_assert_eq(testbed_stop(&bed), 0);
    for (int i = 0; i < 2; i++) {
        put_copy_back();
        testbed_start(&bed);
        expect_what_holds();
        grant(&added);
        expect_valid(&added, true, "added");
        await_outbox_empty();
        cr_assert_eq(told("capability_granted", &added), 1);
        cr_assert_eq(testbed_stop(&bed), 0);
    }
    testbed_start(&bed);
    expect_what_holds();
    expect_it_goes_on(&added);
    testbed_close(&bed);
}

/* A compact copy, with another incarnation, beside the log that it is of. */
Test(older_tokens, what_was_revoked_after_a_backup_is_void_when_tokens_alone_are_restored)
{
    AUTO(result_close) struct result result = { 0 };
    struct granted added;
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/tokens", bed.data);
    snprintf(copy, sizeof copy, "%s/backup", bed.data); /* the daemons write there */
    testbed_start(&bed);
    grant(&kept);
    grant(&revoked);
    testbed_soloctl(&bed, &result, "backup", copy, NULL);
    expect_exit(&result, 0);
    revoke_token(&revoked);
    await_outbox_empty();
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-r", store, NULL);
    testbed_soloctl(&bed, &result, "restore", copy, "--only", "tokens", "--data", bed.data, NULL);
    expect_exit(&result, 0);
    testbed_start(&bed);
    expect_valid(&kept, true, "kept");
    expect_valid(&revoked, false, "revoked");
    grant(&added);
    await_outbox_empty();
    cr_assert_eq(told("capability_granted", &added), 1);
    testbed_close(&bed);
}

/* An empty store revives nothing; that one is lost is told. */
Test(older_tokens, a_store_that_is_gone_voids_every_token, .init = set_up)
{
    struct granted added;
    static const char told_once[] = "the token store is new, though the log tells of another one";
    cr_assert_eq(testbed_log_count(&bed, told_once), 0);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-r", store, NULL);
    testbed_start(&bed);
    expect_valid(&kept, false, "kept");
    expect_valid(&revoked, false, "revoked");
    grant(&added);
    expect_valid(&added, true, "added");
    await_outbox_empty();
    cr_assert_eq(told("capability_granted", &added), 1);
    cr_assert_eq(testbed_log_count(&bed, told_once), 1);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    expect_valid(&added, true, "added");
    cr_assert_eq(testbed_log_count(&bed, told_once), 1);
    testbed_close(&bed);
}

static void expect_nobody_believes(const struct granted *token, const char *which)
{
    static const char *const verifiers[] = { "vaultd", "deployd", "tokend" };
    for (size_t i = 0; i < COUNT_OF(verifiers); i++)
        cr_assert_eq(verify_at(token, verifiers[i]), STATUS_UNAVAILABLE, "%s at %s", which,
                     verifiers[i]);
}

static void expect_status_says(const char *text)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "status", NULL);
    const char *line = strstr(result_out(&result), "\n!");
    cr_assert_not_null(line, "%s", result_out(&result));
    cr_assert_not_null(strstr(line, text), "%s", result_out(&result));
}

static void await_status_says(const char *text)
{
    AUTO(result_close) struct result result = { 0 };
    for (int waited = 0;; waited += 50) {
        testbed_soloctl(&bed, &result, "status", NULL);
        const char *line = strstr(result_out(&result), "\n!");
        if (line != NULL && strstr(line, text) != NULL)
            return;
        cr_assert_lt(waited, PATIENCE_MS, "%s", result_out(&result));
        sleep_ms(50);
    }
}

static void expect_status_is_silent_about(const char *text)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "status", NULL);
    cr_assert_null(strstr(result_out(&result), text), "%s", result_out(&result));
}

/* tokend is held, so that nobody takes the copy for the store. */
Test(older_tokens, a_copy_under_a_running_solo_is_believed_by_nobody, .init = set_up)
{
    struct granted added;
    pid_t eventd = testbed_daemon(&bed, "eventd"), tokend = testbed_daemon(&bed, "tokend");
    expect_what_holds();
    process_signal(tokend, SIGSTOP);
    put_copy_back();
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    cr_assert_eq(verify_at(&revoked, "deployd"), STATUS_UNAUTHENTICATED);
    cr_assert_eq(verify_at(&kept, "deployd"), STATUS_OK, "it has the store itself open");
    cr_assert_eq(verify_at(&revoked, "vaultd"), STATUS_UNAVAILABLE, "it started with the copy");
    cr_assert_eq(verify_at(&kept, "vaultd"), STATUS_UNAVAILABLE);

    process_signal(eventd, SIGSTOP); /* the next tokend cannot ask what has ended */
    process_signal(tokend, SIGKILL);
    enum status status = testbed_call(&bed, "tokend", "token.grant",
                                      json_pack("{s:s, s:s, s:[s]}", "token_hash",
                                                "hex:11" /* of 32 bytes */
                                                "22222222222222222222222222222222222222222222"
                                                "222222222222222222",
                                                "tenant", "acme", "permissions", "read"),
                                      NULL, NULL);
    cr_assert_eq(status, STATUS_UNAVAILABLE);
    expect_nobody_believes(&revoked, "revoked");
    expect_nobody_believes(&kept, "kept");
    json_t *health = testbed_ask(&bed, "tokend", "daemon.health", NULL);
    cr_assert_not_null(strstr(text_in(health, "reason"), "compared with the log"));
    json_decref(health);
    expect_status_says("compared with the log");

    process_signal(eventd, SIGCONT);
    for (int waited = 0; !is_valid(&kept, "deployd"); waited += 20) {
        cr_assert_lt(waited, PATIENCE_MS, "it never works again");
        sleep_ms(20);
    }
    expect_what_holds();
    grant(&added);
    expect_it_goes_on(&added);
    expect_valid(&added, true, "added");
    testbed_close(&bed);
}

/* What tokend wrote into the other file would be gone with its next start. */
Test(older_tokens, tokend_does_not_go_on_with_a_store_that_lies_elsewhere, .init = set_up)
{
    struct granted added;
    for (unsigned i = 1; i <= 2; i++) { /* as often as somebody does it: no disk is broken */
        pid_t before = testbed_daemon(&bed, "tokend");
        put_copy_back();
        if (testbed_call(&bed, "tokend", "token.trust_clock", NULL, NULL, NULL) == STATUS_OK)
            cr_assert_neq(testbed_daemon(&bed, "tokend"), before, "it goes on");
        testbed_await_new_daemon(&bed, "tokend", before);
        for (int waited = 0;
             testbed_call(&bed, "tokend", "token.trust_clock", NULL, NULL, NULL) != STATUS_OK;
             waited += 20) {
            cr_assert_lt(waited, PATIENCE_MS, "it never works again");
            sleep_ms(20);
        }
        expect_what_holds();
        cr_assert_eq(testbed_log_count(&bed, "name=tokend how=\"exit code 6\""), i);
    }
    grant(&added);
    expect_it_goes_on(&added);
    testbed_close(&bed);
}

static void await_next_tokend(pid_t before)
{
    for (int waited = 0; process_is_alive(before); waited += 20) {
        cr_assert_lt(waited, PATIENCE_MS, "it goes on");
        sleep_ms(20);
    }
    for (int waited = 0; !is_valid(&kept, "deployd"); waited += 20) {
        cr_assert_lt(waited, PATIENCE_MS, "it never works again");
        sleep_ms(20);
    }
}

/* Nobody asks tokend for anything: it looks by itself. */
Test(older_tokens, a_store_that_is_written_over_in_its_place_is_seen_by_an_idle_tokend,
     .init = set_up)
{
    char from[510], to[510];
    pid_t before = testbed_daemon(&bed, "tokend");
    snprintf(from, sizeof from, "if=%s/data.mdb", copy);
    snprintf(to, sizeof to, "of=%s/data.mdb", store);
    /* not cut first: nobody gets SIGBUS */
    files_change(&bed, "/bin/dd", from, to, "conv=notrunc", "status=none", NULL);
    await_next_tokend(before);
    expect_what_holds();
    testbed_close(&bed);
}

Test(older_tokens, without_its_voucher_tokend_serves_and_says_that_nobody_else_believes_it)
{
    char page[400], inner[500];
    testbed_open(&bed, 0);
    snprintf(page, sizeof page, "%s/tokens.voucher", bed.run);
    snprintf(inner, sizeof inner, "%s/inner", page);
    testbed_start(&bed);
    grant(&kept);
    grant(&revoked);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-f", page, NULL);
    files_change(&bed, "/bin/mkdir", "-p", inner, NULL);
    testbed_start(&bed);
    json_t *health = testbed_ask(&bed, "tokend", "daemon.health", NULL);
    cr_assert_not_null(strstr(text_in(health, "reason"), "tokens.voucher"));
    json_decref(health);
    expect_status_says("tokens.voucher");
    cr_assert_eq(verify_at(&kept, "deployd"), STATUS_UNAVAILABLE);
    revoke_token(&revoked);
    cr_assert_eq(verify_at(&revoked, "tokend"), STATUS_UNAUTHENTICATED);
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-r", page, NULL);
    testbed_start(&bed);
    expect_valid(&kept, true, "kept");
    expect_valid(&revoked, false, "revoked");
    testbed_close(&bed);
}

static struct testbed other;
static struct granted foreign;

/* Two commits: the second one keeps what was told of the first. */
static void make_foreign_store(void)
{
    testbed_open(&other, 0);
    testbed_start(&other);
    bed = other;
    take("token.grant", json_pack("{s:s, s:[s]}", "tenant", "acme", "permissions", "admin"),
         &foreign);
    await_outbox_empty();
    grant(&kept);
    await_outbox_empty();
    other = bed;
    cr_assert_eq(testbed_stop(&other), 0);
    snprintf(copy, sizeof copy, "%s/tokens", other.data);
}

static void launch_with_foreign_store(void)
{
    AUTO(result_close) struct result result = { 0 };
    static const char *const verifiers[] = { "eventd", "vaultd", "deployd", "tokend" };
    testbed_launch(&bed, NULL); /* it may be told FORKED before recovery, which then ends with 6 */
    testbed_soloctl(&bed, &result, "wait", "--ready", "--timeout", "60s", NULL);
    for (size_t i = 0; i < COUNT_OF(verifiers); i++) {
        enum status status;
        for (int waited = 0; (status = verify_at(&foreign, verifiers[i])) != STATUS_UNAVAILABLE;
             waited += 20) {
            cr_assert_neq(status, STATUS_OK, "%s believes a foreign token", verifiers[i]);
            cr_assert_lt(waited, PATIENCE_MS, "a foreign token is decided on");
            sleep_ms(20);
        }
    }
    for (int waited = 0;; waited += 20) {
        testbed_soloctl(&bed, &result, "status", NULL);
        if (strstr(result_out(&result), "FORKED") != NULL)
            break;
        cr_assert_lt(waited, PATIENCE_MS, "the log is told: %s", result_out(&result));
        sleep_ms(20);
    }
    expect_contains(result_out(&result),
                    "every token is refused: the store belongs to another log");
    testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission", "read", "--out",
                    "new", NULL);
    expect_exit(&result, 6);
    testbed_recoveryd(&bed, &result, "verify", NULL);
    expect_contains(result_out(&result), "the store of tokens belongs to another log");
}

static void resolve(void)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_launch(&bed, NULL);
    testbed_soloctl(&bed, &result, "wait", "--ready", "--timeout", "60s", NULL);
    testbed_recoveryd(&bed, &result, "resolve", "--keep", "log", NULL);
    expect_exit(&result, 0);
    testbed_recoveryd(&bed, &result, NULL);
    expect_exit(&result, 0);
}

/* Its tokens would act here. That it knows of another log makes ours FORKED: either may be the
 * wrong one. */
Test(older_tokens, the_store_of_another_solo_is_believed_by_nobody)
{
    char aside[400];
    make_foreign_store();
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "api");
    grant(&kept);
    await_outbox_empty();
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(store, sizeof store, "%s/tokens", bed.data);
    snprintf(aside, sizeof aside, "%s/aside", bed.dir);
    files_change(&bed, "/bin/mv", store, aside, NULL);
    files_copy(&bed, copy, store);
    launch_with_foreign_store();
    cr_assert_eq(testbed_stop(&bed), 0);

    files_change(&bed, "/bin/rm", "-r", store, NULL);
    files_change(&bed, "/bin/mv", aside, store, NULL);
    resolve();
    expect_valid(&kept, true, "kept");
    expect_valid(&foreign, false, "foreign");
    service_await(&bed, "acme", "api", "running", 60000);
    testbed_close(&bed);
    testbed_close(&other);
}

/* A log that knows no tokens at all, as after DATA/events was lost. */
Test(older_tokens, a_new_log_believes_no_tokens_of_another)
{
    struct granted added;
    make_foreign_store();
    testbed_open(&bed, 0);
    snprintf(store, sizeof store, "%s/tokens", bed.data);
    files_change(&bed, "/bin/mkdir", bed.data, NULL);
    files_copy(&bed, copy, store);
    launch_with_foreign_store();
    cr_assert_eq(testbed_stop(&bed), 0);
    launch_with_foreign_store(); /* what it was told meanwhile makes it no better */
    cr_assert_eq(testbed_stop(&bed), 0);

    files_change(&bed, "/bin/rm", "-r", store, NULL);
    resolve();
    grant(&added);
    await_outbox_empty();
    cr_assert_eq(testbed_stop(&bed), 0);
    files_change(&bed, "/bin/rm", "-r", store, NULL);
    testbed_start(&bed);
    await_status_says("every token that was granted before is void");
    grant(&added);
    await_outbox_empty();
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    expect_status_is_silent_about("is void");
    expect_valid(&added, true, "added");
    expect_valid(&foreign, false, "foreign");
    testbed_close(&bed);
    testbed_close(&other);
}
