/* P6: a token whose revocation was acknowledged is refused by every check that starts later, in
 * every process that verifies, whoever is killed meanwhile. SOLO_LONG makes ten times as many. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/access/token_text.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(revocation, .timeout = 1200);

enum { TOKENS = 1000, CHECKS_BEFORE = 6, PATIENCE_MS = 30000, KILL_EVERY = 150 };

/* Each maps tokend's store by itself; tokend looks into the one it has open. */
static const char *const verifiers[] = { "eventd", "deployd", "tokend" };
static struct caller callers[COUNT_OF(verifiers)];

static void dial(const struct testbed *bed, size_t verifier)
{
    char path[4096];
    caller_close(&callers[verifier]);
    cr_assert_eq(caller_open(&callers[verifier], testbed_socket(bed, verifiers[verifier], path)),
                 STATUS_OK);
}

static json_t *grant_params(char text[TOKEN_TEXT_BYTES])
{
    char hash_text[4 + HASH_TEXT_BYTES] = "hex:";
    token_text_draw(text);
    struct hash hash = token_text_hash(span_of_text(text));
    hex_text(hash_text + 4, hash.bytes, HASH_BYTES);
    return json_pack("{s:s, s:s, s:[s]}", "token_hash", hash_text, "tenant", "acme", "permissions",
                     "read");
}

/* Until it is answered, with one request id: tokend may die of us at any moment. */
static json_t *change(const struct testbed *bed, const char *method, json_t *params)
{
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    json_t *reply = NULL;
    struct problem problem = { 0 };
    enum status status = STATUS_UNAVAILABLE;
    json_object_set_new(params, "request_id", json_string(uuid_text(id, &uuid)));
    for (int i = 0; status != STATUS_OK; i++) {
        cr_assert_lt(i, 3000, "%s: %s", method, problem.message);
        if (i > 0)
            sleep_ms(20);
        status = testbed_call(bed, "tokend", method, json_deep_copy(params), &reply, &problem);
    }
    json_decref(params);
    return reply;
}

static void send_checks(size_t verifier, const char *text, uint64_t first_id, int count)
{
    AUTO(buffer_close) struct buffer frames = { .limit = 64 * 1024 };
    json_t *params = json_pack("{s:s}", "token", text);
    for (int i = 0; i < count; i++)
        caller_pack(&frames, first_id + (uint64_t)i, "daemon.health", params);
    json_decref(params);
    caller_send(&callers[verifier], buffer_span(&frames)); /* whether it went shows in the answer */
}

enum answer { ALLOWED, REFUSED, NO_ANSWER };

static enum answer receive_check(size_t verifier)
{
    json_t *answer = caller_receive(&callers[verifier], PATIENCE_MS, NULL);
    const json_t *error = json_array_get(answer, 2);
    enum answer said = answer == NULL ? NO_ANSWER : json_is_null(error) ? ALLOWED : REFUSED;
    if (said == REFUSED)
        cr_assert_str_eq(text_in(error, "code"), "unauthenticated");
    json_decref(answer);
    return said;
}

static enum answer check(const struct testbed *bed, size_t verifier, const char *text)
{
    for (int i = 0; i < 3000; i++) {
        dial(bed, verifier);
        send_checks(verifier, text, 1, 1);
        enum answer said = receive_check(verifier);
        if (said != NO_ANSWER)
            return said;
        sleep_ms(20);
    }
    return NO_ANSWER;
}

/* Checks before, during and after the revocation, those before it not waited for: verifiers meet
 * both in one turn. */
static void race(const struct testbed *bed, const char *text, const char *accessor)
{
    for (size_t i = 0; i < COUNT_OF(verifiers); i++)
        send_checks(i, text, 1, CHECKS_BEFORE);
    json_decref(change(bed, "token.revoke", json_pack("{s:s}", "accessor", accessor)));
    for (size_t i = 0; i < COUNT_OF(verifiers); i++)
        send_checks(i, text, 1 + CHECKS_BEFORE, 1);
    for (size_t i = 0; i < COUNT_OF(verifiers); i++) {
        enum answer said = ALLOWED;
        for (int k = 0; k <= CHECKS_BEFORE && said != NO_ANSWER; k++)
            said = receive_check(i);
        if (said == NO_ANSWER) /* it was killed, and its successor must know */
            said = check(bed, i, text);
        cr_assert_eq(said, REFUSED, "%s lets a revoked token in", verifiers[i]);
    }
}

static void revoke_and_check(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    static char texts[10 * TOKENS][TOKEN_TEXT_BYTES];
    int count = getenv("SOLO_LONG") != NULL ? 10 * TOKENS : TOKENS;
    unsigned allowed = 0;
    testbed_open(&bed, flags);
    testbed_start(&bed);
    for (size_t i = 0; i < COUNT_OF(verifiers); i++) {
        callers[i].fd = -1;
        dial(&bed, i);
    }
    for (int token = 0; token < count; token++) {
        char accessor[ACCESSOR_TEXT_BYTES];
        json_t *reply = change(&bed, "token.grant", grant_params(texts[token]));
        snprintf(accessor, sizeof accessor, "%s", text_in(reply, "accessor"));
        json_decref(reply);
        if (token % 50 == 0)
            for (size_t i = 0; i < COUNT_OF(verifiers); i++)
                allowed += check(&bed, i, texts[token]) == ALLOWED;
        if (token % KILL_EVERY >= KILL_EVERY - 2) {
            pid_t victim = testbed_daemon(&bed, token % 2 == 0 ? "tokend" : "eventd");
            if (victim > 0)
                process_signal(victim, SIGKILL);
        }
        race(&bed, texts[token], accessor);
    }
    cr_assert_eq(allowed, COUNT_OF(verifiers) * (unsigned)((count + 49) / 50));
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    for (size_t i = 0; i < COUNT_OF(verifiers); i++)
        for (int token = 0; token < count; token += 10)
            cr_assert_eq(check(&bed, i, texts[token]), REFUSED, "%s, token %d", verifiers[i],
                         token);
    for (size_t i = 0; i < COUNT_OF(verifiers); i++)
        caller_close(&callers[i]);
}

Test(revocation, holds_for_every_check_after_its_acknowledgement)
{
    revoke_and_check(0);
}
