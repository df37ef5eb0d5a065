/* Checks against a store that the test itself writes, as tokend would. */
#include "common/access/token_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/access/token_text.h"
#include "common/api/records/schemas.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

static struct db writer;
static struct token_map map;
static struct ev_loop *loop;
static char dir[4096];

static void make_store(void)
{
    struct token_time time;
    struct db_txn txn = { 0 };
    cr_assert_eq(db_open_writer(&writer, &tokens_schema, dir), STATUS_OK);
    cr_assert_eq(token_time_read(&time), STATUS_OK);
    cr_assert_eq(db_begin_write(&writer, &txn), STATUS_OK);
    struct token_anchor anchor = token_anchor_start(&(struct token_anchor){ 0 }, &time);
    cr_assert_eq(token_anchor_write(&txn, &anchor), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

static void set_up(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    snprintf(dir, sizeof dir, "%s", scratch_path("tokens"));
    loop = ev_loop_new(EVFLAG_AUTO);
    cr_assert_eq(token_map_open(&map, loop, dir), STATUS_OK);
}

static void tear_down(void)
{
    token_map_close(&map);
    db_close(&writer);
    ev_loop_destroy(loop);
    scratch_remove();
}

TestSuite(token_map, .init = set_up, .fini = tear_down, .timeout = 60);

static void grant(char text[TOKEN_TEXT_BYTES], const char *tenant, uint32_t permissions,
                  uint64_t expires_ns)
{
    AUTO(buffer_close) struct buffer row = { .limit = TOKEN_RECORD_BYTES_MAX };
    struct token_record record = {
        .accessor = uuid_draw(),
        .permissions = permissions,
        .granted_ns = 1,
        .expires_ns = expires_ns,
    };
    struct db_txn txn = { 0 };
    snprintf(record.tenant, sizeof record.tenant, "%s", tenant);
    token_text_draw(text);
    struct hash hash = token_text_hash(span_of_text(text));
    cr_assert_eq(token_record_encode(&record, &row), STATUS_OK);
    cr_assert_eq(db_begin_write(&writer, &txn), STATUS_OK);
    cr_assert_eq(
        table_put(&txn, TOKENS_TOKENS, span_of(hash.bytes, sizeof hash.bytes), buffer_span(&row)),
        STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

static void take_back(const char *text)
{
    struct db_txn txn = { 0 };
    struct hash hash = token_text_hash(span_of_text(text));
    cr_assert_eq(db_begin_write(&writer, &txn), STATUS_OK);
    cr_assert_eq(table_delete(&txn, TOKENS_TOKENS, span_of(hash.bytes, sizeof hash.bytes)),
                 STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

static enum status verify(const char *text, struct caller *caller)
{
    *caller = (struct caller){ 0 };
    return map.verifier.verify(map.verifier.context, span_of_text(text), caller);
}

static void next_turn(void)
{
    ev_run(loop, EVRUN_NOWAIT);
}

Test(token_map, a_granted_token_says_what_it_allows)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    make_store();
    uint32_t permissions = permission_bit(PERMISSION_READ) | permission_bit(PERMISSION_KILL);
    grant(text, "acme", permissions, 0);
    cr_assert_eq(verify(text, &caller), STATUS_OK);
    cr_expect_str_eq(caller.tenant, "acme");
    cr_expect_eq(caller.permissions, permissions);
    cr_expect_eq(strncmp(caller.accessor, "tok_", 4), 0);
    cr_expect_eq(map.verifier.verify_again(map.verifier.context, &caller), STATUS_OK);
    take_back(text);
    cr_expect_eq(map.verifier.verify_again(map.verifier.context, &caller), STATUS_UNAUTHENTICATED);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "within the same turn too");
}

Test(token_map, what_is_no_valid_token_is_refused)
{
    char text[TOKEN_TEXT_BYTES], other[TOKEN_TEXT_BYTES], expired[TOKEN_TEXT_BYTES];
    struct caller caller;
    cr_expect_eq(verify("garbage", &caller), STATUS_UNAUTHENTICATED);
    token_text_draw(text);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "without a store");
    make_store();
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "in an empty one");
    grant(other, "acme", 1, 0);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "beside another");
    cr_expect_str_eq(caller.accessor, "");
    grant(expired, "acme", 1, 2);
    cr_expect_eq(verify(expired, &caller), STATUS_UNAUTHENTICATED);
    cr_expect_str_neq(caller.accessor, "", "its refusals can be counted");
    cr_expect_str_eq(caller.tenant, "");
    cr_expect_eq(caller.permissions, 0);
    other[10] = other[10] == 'a' ? 'b' : 'a';
    cr_expect_eq(verify(other, &caller), STATUS_UNAUTHENTICATED, "its checksum is wrong");
}

Test(token_map, a_damaged_row_is_data_loss)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    make_store();
    grant(text, "acme", 1, 0);
    struct hash hash = token_text_hash(span_of_text(text));
    MDB_txn *txn;
    MDB_val key = { sizeof hash.bytes, hash.bytes }, value;
    cr_assert_eq(mdb_txn_begin(writer.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_get(txn, writer.tables[TOKENS_TOKENS], &key, &value), 0);
    char copy[4096];
    memcpy(copy, value.mv_data, value.mv_size);
    copy[7] ^= 4; /* one permission more */
    value.mv_data = copy;
    cr_assert_eq(mdb_put(txn, writer.tables[TOKENS_TOKENS], &key, &value, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    cr_expect_eq(verify(text, &caller), STATUS_DATA_LOSS);
    cr_expect_eq(caller.permissions, 0);
}

Test(token_map, another_store_is_noticed_in_the_next_turn)
{
    char first[TOKEN_TEXT_BYTES], second[TOKEN_TEXT_BYTES], aside[4096];
    struct caller caller;
    make_store();
    grant(first, "acme", 1, 0);
    cr_assert_eq(verify(first, &caller), STATUS_OK);
    db_close(&writer);
    cr_expect_eq(verify(first, &caller), STATUS_OK, "nobody writes, and it is valid");
    snprintf(aside, sizeof aside, "%s", scratch_path("aside"));
    cr_assert_eq(rename(dir, aside), 0);
    next_turn();
    cr_expect_eq(verify(first, &caller), STATUS_UNAUTHENTICATED, "there is no store");
    make_store();
    grant(second, "beta", 1, 0);
    next_turn();
    cr_expect_eq(verify(first, &caller), STATUS_UNAUTHENTICATED);
    cr_expect_eq(verify(second, &caller), STATUS_OK);
    cr_expect_str_eq(caller.tenant, "beta");
}

Test(token_map, the_owner_of_the_store_checks_in_its_own_environment)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller = { 0 };
    struct token_map attached;
    make_store();
    grant(text, "acme", 1, 0);
    cr_assert_eq(token_map_attach(&attached, &writer), STATUS_OK);
    cr_expect_eq(attached.verifier.verify(&attached, span_of_text(text), &caller), STATUS_OK);
    take_back(text);
    cr_expect_eq(attached.verifier.verify(&attached, span_of_text(text), &caller),
                 STATUS_UNAUTHENTICATED);
    token_map_close(&attached);
    cr_expect_not_null(writer.env, "it is the owner's to close");
}

Test(token_map, a_token_expires_by_the_trusted_time)
{
    char text[TOKEN_TEXT_BYTES], clock[4096];
    struct caller caller;
    struct token_time time;
    snprintf(clock, sizeof clock, "%s", scratch_path("clock"));
    FILE *file = fopen(clock, "w");
    fprintf(file, "- 0 0 0\n");
    fclose(file);
    setenv("SOLO_TEST_CLOCK", clock, 1);
    make_store();
    cr_assert_eq(token_time_read(&time), STATUS_OK);
    grant(text, "acme", 1, time.wall_ns + UINT64_C(3600) * 1000000000);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
    file = fopen(clock, "w");
    fprintf(file, "- 0 315360000 0\n"); /* ten years forward, and the boot goes on */
    fclose(file);
    cr_expect_eq(verify(text, &caller), STATUS_OK, "a step of the wall clock changes nothing");
    file = fopen(clock, "w");
    fprintf(file, "- 3601 0 0\n");
    fclose(file);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "an hour has passed");
    file = fopen(clock, "w");
    fprintf(file, "- 3601 -86400 0\n");
    fclose(file);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "a step back revives nothing");
}

static void write_clock(const char *path, const char *boot, long long boottime_s, long long wall_s)
{
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    fprintf(file, "%s %lld %lld 0\n", boot, boottime_s, wall_s);
    cr_assert_eq(fclose(file), 0);
}

/* tokend starts: what the clock is by then. */
static void start_tokend(void)
{
    struct token_time time;
    struct token_anchor previous;
    struct db_txn txn = { 0 };
    cr_assert_eq(token_time_read(&time), STATUS_OK);
    cr_assert_eq(db_begin_write(&writer, &txn), STATUS_OK);
    cr_assert_eq(token_anchor_read(&txn, &previous), STATUS_OK);
    struct token_anchor anchor = token_anchor_start(&previous, &time);
    if (!anchor.is_suspect)
        token_anchor_advance(&anchor, &time);
    cr_assert_eq(token_anchor_write(&txn, &anchor), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

Test(token_map, a_tokend_that_starts_after_a_step_back_revives_nothing)
{
#ifndef SOLO_FAULTS
    cr_skip_test("built without SOLO_FAULTS");
#endif
    char clock[4096], text[TOKEN_TEXT_BYTES], longer[TOKEN_TEXT_BYTES];
    struct caller caller;
    make_store();
    start_tokend(); /* there is a mark */
    grant(text, "acme", 1, clock_wall_ns() + 3600ull * 1000000000u);
    grant(longer, "acme", 1, clock_wall_ns() + 3650 * 86400ull * 1000000000u);
    snprintf(clock, sizeof clock, "%s", scratch_path("clock"));
    setenv("SOLO_TEST_CLOCK", clock, 1);
    static const struct {
        const char *boot;
        long long first_s;
        bool is_counted;
    } looks[] = {
        { "00000000-0000-4000-8000-000000000001", 86400, true },
        { "00000000-0000-4000-8000-000000000002", 20 * 365 * 86400ll, false }, /* suspect */
    };
    for (size_t i = 0; i < COUNT_OF(looks); i++) {
        write_clock(clock, looks[i].boot, 0, looks[i].first_s);
        token_map_close(&map);
        cr_assert_eq(token_map_open(&map, loop, dir), STATUS_OK);
        cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "by the first look");
        write_clock(clock, looks[i].boot, 60, 60);
        start_tokend();
        cr_expect_eq(verify(text, &caller),
                     looks[i].is_counted ? STATUS_UNAUTHENTICATED : STATUS_OK,
                     "after the step back");
        cr_expect_eq(verify(longer, &caller), STATUS_OK, "no long-lived one is lost");
    }
    unsetenv("SOLO_TEST_CLOCK");
}

/* tokend has not started in this boot: its anchor is of the one before. */
Test(token_map, a_step_back_before_tokend_has_started_revives_nothing)
{
#ifndef SOLO_FAULTS
    cr_skip_test("built without SOLO_FAULTS");
#endif
    char clock[4096], text[TOKEN_TEXT_BYTES], longer[TOKEN_TEXT_BYTES];
    struct caller caller;
    const char *boot = "00000000-0000-4000-8000-000000000001";
    make_store();
    grant(text, "acme", 1, clock_wall_ns() + 3600ull * 1000000000u);
    grant(longer, "acme", 1, clock_wall_ns() + 3 * 86400ull * 1000000000u);
    snprintf(clock, sizeof clock, "%s", scratch_path("clock"));
    setenv("SOLO_TEST_CLOCK", clock, 1);
    write_clock(clock, boot, 0, 86400);
    token_map_close(&map); /* a verifier that starts in the new boot */
    cr_assert_eq(token_map_open(&map, loop, dir), STATUS_OK);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "a day later");
    cr_expect_eq(verify(longer, &caller), STATUS_OK);
    write_clock(clock, boot, 60, 0);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED, "the wall clock stepped back");
    cr_expect_eq(verify(longer, &caller), STATUS_OK);
    write_clock(clock, boot, 3 * 86400, 0);
    cr_expect_eq(verify(longer, &caller), STATUS_UNAUTHENTICATED, "time goes on");
    unsetenv("SOLO_TEST_CLOCK");
}
