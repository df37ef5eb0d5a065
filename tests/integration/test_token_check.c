/* recoveryd verify --full compares the tokens with what the log and the outbox tell of them. Rows
 * are taken away and added as tokend itself would, so that every seal and digest still holds. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/api/records/schemas.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/db/table.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(token_check, .timeout = 180);

static struct testbed bed;

struct granted {
    struct hash hash;
    char accessor[ACCESSOR_TEXT_BYTES];
};

static struct granted grant(void)
{
    struct granted token;
    char text[TOKEN_TEXT_BYTES], hash_text[4 + HASH_TEXT_BYTES] = "hex:";
    token_text_draw(text);
    token.hash = token_text_hash(span_of_text(text));
    hex_text(hash_text + 4, token.hash.bytes, HASH_BYTES);
    json_t *reply = testbed_ask(&bed, "tokend", "token.grant",
                                json_pack("{s:s, s:s, s:[s]}", "token_hash", hash_text, "tenant",
                                          "acme", "permissions", "read"));
    snprintf(token.accessor, sizeof token.accessor, "%s", text_in(reply, "accessor"));
    json_decref(reply);
    return token;
}

static void revoke_token(const struct granted *token)
{
    json_decref(testbed_ask(&bed, "tokend", "token.revoke",
                            json_pack("{s:s}", "accessor", token->accessor)));
}

static void stop_when_told(void)
{
    for (int waited = 0; waited < 60000; waited += 20) {
        json_t *reply = testbed_ask(&bed, "tokend", "token.status", NULL);
        bool is_told = number_in(reply, "outbox") == 0;
        json_decref(reply);
        if (is_told)
            break;
        sleep_ms(20);
    }
    cr_assert_eq(testbed_stop(&bed), 0);
}

/* -- the tool -- */

static struct db store;

static struct db_txn change_store(void)
{
    char dir[400];
    struct db_txn txn;
    snprintf(dir, sizeof dir, "%s/tokens", bed.data);
    cr_assert_eq(db_open_writer(&store, &tokens_schema, dir), STATUS_OK);
    cr_assert_eq(db_begin_write(&store, &txn), STATUS_OK);
    return txn;
}

static void finish_store(struct db_txn *txn)
{
    cr_assert_eq(db_commit(txn), STATUS_OK);
    db_close(&store);
}

static struct span tenant_key(char key[NAME_BYTES_MAX + 1 + UUID_BYTES],
                              const struct uuid *accessor)
{
    memcpy(key, "acme", 5);
    memcpy(key + 5, accessor->bytes, UUID_BYTES);
    return span_of(key, 5 + UUID_BYTES);
}

static void remove_row(const struct granted *token)
{
    char key[NAME_BYTES_MAX + 1 + UUID_BYTES];
    struct uuid accessor;
    struct db_txn txn = change_store();
    cr_assert_eq(accessor_parse(token->accessor, &accessor), STATUS_OK);
    cr_assert_eq(table_delete(&txn, TOKENS_TOKENS, span_of(token->hash.bytes, HASH_BYTES)),
                 STATUS_OK);
    cr_assert_eq(table_delete(&txn, TOKENS_BY_ACCESSOR, span_of(accessor.bytes, UUID_BYTES)),
                 STATUS_OK);
    cr_assert_eq(table_delete(&txn, TOKENS_BY_TENANT, tenant_key(key, &accessor)), STATUS_OK);
    finish_store(&txn);
}

static void add_row(const struct granted *token)
{
    AUTO(buffer_close) struct buffer row = { .limit = TOKEN_RECORD_BYTES_MAX };
    char key[NAME_BYTES_MAX + 1 + UUID_BYTES];
    struct token_record record = { .tenant = "acme",
                                   .permissions = permission_bit(PERMISSION_ADMIN),
                                   .granted_ns = 1 };
    struct span hash = span_of(token->hash.bytes, HASH_BYTES);
    struct db_txn txn = change_store();
    cr_assert_eq(accessor_parse(token->accessor, &record.accessor), STATUS_OK);
    cr_assert_eq(token_record_encode(&record, &row), STATUS_OK);
    cr_assert_eq(table_put(&txn, TOKENS_TOKENS, hash, buffer_span(&row)), STATUS_OK);
    cr_assert_eq(
        table_put(&txn, TOKENS_BY_ACCESSOR, span_of(record.accessor.bytes, UUID_BYTES), hash),
        STATUS_OK);
    cr_assert_eq(table_put(&txn, TOKENS_BY_TENANT, tenant_key(key, &record.accessor), hash),
                 STATUS_OK);
    finish_store(&txn);
}

/* -- what is found -- */

static void expect_found(const char *code, const struct granted *token)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "verify", "--full", "-o", "json", "--detailed-exitcode", NULL);
    expect_exit(&result, code == NULL ? 0 : 3);
    json_t *document = result_json(&result);
    json_t *findings = json_object_get(document, "inconsistencies");
    cr_assert_eq(json_array_size(findings), code == NULL ? 0 : 1, "%s", result_out(&result));
    if (code != NULL) {
        expect_text(json_array_get(findings, 0), "code", code);
        expect_text(json_array_get(findings, 0), "tenant", "acme");
        expect_text(json_array_get(findings, 0), "service", token->accessor);
    }
    json_decref(document);
}

static void set_up(void)
{
    testbed_open(&bed, 0);
    testbed_start(&bed);
}

static void tear_down(void)
{
    testbed_close(&bed);
}

Test(token_check, what_the_outbox_has_yet_to_tell_is_no_difference, .init = set_up,
     .fini = tear_down)
{
    struct granted told = grant(), revoked = grant();
    revoke_token(&revoked);
    expect_found(NULL, NULL);
    pid_t eventd = testbed_daemon(&bed, "eventd");
    cr_assert_gt(eventd, 0);
    process_signal(eventd, SIGSTOP);
    for (int i = 0; i < 3; i++) {
        revoked = grant();
        grant();
        revoke_token(&revoked);
    }
    revoke_token(&told);
    expect_found(NULL, NULL);
    testbed_kill_everything(&bed);
    expect_found(NULL, NULL);
}

Test(token_check, a_row_that_is_missing_is_named, .init = set_up, .fini = tear_down)
{
    struct granted kept = grant(), lost = grant();
    (void)kept;
    stop_when_told();
    remove_row(&lost);
    expect_found("token_missing", &lost);
    testbed_start(&bed);
    expect_found("token_missing", &lost);
}

Test(token_check, a_row_too_many_is_named, .init = set_up, .fini = tear_down)
{
    struct granted back = grant();
    revoke_token(&back);
    stop_when_told();
    add_row(&back);
    expect_found("token_extra", &back);
}

Test(token_check, a_row_that_nobody_granted_is_named, .init = set_up, .fini = tear_down)
{
    struct granted made = grant();
    struct uuid accessor = uuid_draw();
    stop_when_told();
    made.hash.bytes[0] ^= 1;
    accessor_text(made.accessor, &accessor);
    add_row(&made);
    expect_found("token_extra", &made);
}

static void damage_metadata(const char *text)
{
    char path[4200];
    AUTO(buffer_close) struct buffer bytes = { .limit = 256 << 20 };
    size_t size = strlen(text), damaged = 0;
    snprintf(path, sizeof path, "%s/tokens/data.mdb", bed.data);
    FILE *file = fopen(path, "r+e");
    cr_assert_not_null(file);
    uint8_t page[4096];
    for (size_t more; (more = fread(page, 1, sizeof page, file)) > 0;)
        buffer_append(&bytes, page, more);
    for (size_t i = 0; i + size <= bytes.size; i++)
        if (memcmp(bytes.data + i, text, size) == 0) {
            cr_assert_eq(fseek(file, (long)i, SEEK_SET), 0);
            cr_assert_eq(fputc('X', file), 'X');
            damaged++;
        }
    cr_assert_eq(fclose(file), 0);
    cr_assert_gt(damaged, 0);
}

/* The first node of each leaf page lies behind the page: LMDB dies of looking at it. The leaf with
 * the names of the tables is left whole, so that the store opens. */
static size_t damage_leaves(void)
{
    enum { PAGE = 4096, FLAGS_AT = 10, LOWER_AT = 12, FIRST_NODE_AT = 16, LEAF = 2 };
    char path[4200];
    uint8_t page[PAGE];
    size_t damaged = 0;
    snprintf(path, sizeof path, "%s/tokens/data.mdb", bed.data);
    FILE *file = fopen(path, "r+e");
    cr_assert_not_null(file);
    for (long i = 2; fseek(file, i * PAGE, SEEK_SET) == 0 && fread(page, PAGE, 1, file) == 1; i++) {
        if ((page[FLAGS_AT] & LEAF) == 0 || page[LOWER_AT] <= FIRST_NODE_AT ||
            memmem(page, PAGE, "by_expiry", strlen("by_expiry")) != NULL)
            continue;
        cr_assert_eq(fseek(file, i * PAGE + FIRST_NODE_AT + 1, SEEK_SET), 0);
        cr_assert_eq(fputc(0x7c, file), 0x7c);
        damaged++;
    }
    cr_assert_eq(fclose(file), 0);
    return damaged;
}

static bool status_says_damaged(void)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    return result.exit_code == 3 && strstr(result_out(&result), "tokend: its store is damaged");
}

static size_t event_count(const char *type)
{
    json_t *events = events_after(&bed, 0);
    size_t count = events_count(events, type, NULL, NULL);
    json_decref(events);
    return count;
}

Test(token_check, a_damaged_page_ends_neither_a_verification_nor_a_recovery)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    /* as the programs that are installed die of it */
    testbed_set(&bed, "ASAN_OPTIONS",
                "detect_leaks=1:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigfpe=0");
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "web");
    testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&result, 0);
    stop_when_told();
    cr_assert_gt(damage_leaves(), 0);
    for (int full = 0; full < 2; full++) {
        testbed_recoveryd(&bed, &result, "verify", "--detailed-exitcode",
                          full == 1 ? "--full" : NULL, NULL);
        expect_exit(&result, 3);
        expect_contains(result_out(&result), "tokens_damaged");
    }
    testbed_start(&bed);
    service_await(&bed, "acme", "web", "running", 20000);
    for (int waited = 0; !status_says_damaged(); waited += 100) {
        cr_assert_lt(waited, 60000, "nobody is told");
        sleep_ms(100);
    }
    testbed_stop(&bed);
    testbed_discard(&bed);
}

Test(token_check, a_damaged_row_needs_a_person, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result granted = { 0 }, other = { 0 }, verified = { 0 };
    testbed_soloctl(&bed, &granted, "token", "create", "-t", "acme", "--permission", "read",
                    "--metadata", "{\"for\": \"somebody-in-particular\"}", NULL);
    expect_exit(&granted, 0);
    testbed_soloctl(&bed, &other, "token", "create", "-t", "acme", "--permission", "read", "-o",
                    "json", NULL);
    expect_exit(&other, 0);
    json_t *document = result_json(&other);
    stop_when_told();
    damage_metadata("somebody-in-particular");
    testbed_recoveryd(&bed, &verified, "verify", "--detailed-exitcode", NULL);
    expect_exit(&verified, 3);
    cr_assert(strstr(result_out(&verified), "1 damaged"), "%s", result_out(&verified));
    expect_contains(result_out(&verified), "tokens_damaged");
    testbed_start(&bed);
    testbed_soloctl(&bed, &verified, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&verified, 86); /* from the first moment on */
    cr_assert(status_says_damaged());
    /* what is whole works, and can be revoked; nothing else is done */
    const char *token = text_in(document, "token");
    testbed_soloctl_input(&bed, &verified, token, "token", "verify", "--permission", "read", NULL);
    expect_exit(&verified, 0);
    testbed_soloctl(&bed, &verified, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&verified, 86);
    testbed_soloctl(&bed, &verified, "token", "revoke", text_in(document, "accessor"), NULL);
    expect_exit(&verified, 0);
    testbed_soloctl_input(&bed, &verified, token, "token", "verify", "--permission", "read", NULL);
    /* where it stood, its neighbour is read now, which may be the damaged one */
    cr_assert(verified.exit_code == 5 || verified.exit_code == 86, "exit %d", verified.exit_code);
    for (int waited = 0; event_count("capability_revoked") == 0; waited += 100) {
        cr_assert_lt(waited, 60000, "the log does not learn of it");
        sleep_ms(100);
    }
    json_decref(document);
}
