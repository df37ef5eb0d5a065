/* Checks against a store that the test itself writes, as tokend would. */
#include "common/access/token_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/access/token_text.h"
#include "common/api/records/schemas.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

static struct db writer;
static struct store_voucher voucher;
static struct token_map map;
static char dir[4096], run_dir[4096];

static void open_map(struct token_map *opened)
{
    cr_assert_eq(token_map_open(opened, dir, run_dir), STATUS_OK);
}

static void commit(struct db_txn *txn)
{
    cr_assert_eq(db_commit(txn), STATUS_OK);
    store_voucher_advance(&voucher, db_last_txn(&writer));
}

/* tokend starts: what the clock is by then, and whether its store is the one it vouched for. */
static bool start_tokend(void)
{
    struct token_time time;
    struct token_anchor previous;
    struct db_txn txn = { 0 };
    db_close(&writer);
    store_voucher_close(&voucher);
    cr_assert_eq(db_open_writer(&writer, &tokens_schema, dir), STATUS_OK);
    cr_assert_eq(token_time_read(&time), STATUS_OK);
    cr_assert_eq(store_voucher_make(&voucher, run_dir, TOKENS_VOUCHER, time.boot_id), STATUS_OK);
    bool is_covered = store_voucher_covers(&voucher, &writer);
    cr_assert_eq(db_begin_write(&writer, &txn), STATUS_OK);
    cr_assert_eq(token_anchor_read(&txn, &previous), STATUS_OK);
    struct token_anchor anchor = token_anchor_start(&previous, &time);
    if (!anchor.is_suspect)
        token_anchor_advance(&anchor, &time);
    cr_assert_eq(token_anchor_write(&txn, &anchor), STATUS_OK);
    if (!is_covered)
        store_voucher_withdraw(&voucher);
    commit(&txn);
    return is_covered;
}

static void make_store(void)
{
    cr_assert_not(start_tokend());
    store_voucher_give(&voucher, &writer);
}

static void set_up(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    snprintf(dir, sizeof dir, "%s", scratch_path("tokens"));
    snprintf(run_dir, sizeof run_dir, "%s", scratch_path("."));
    writer.lease = FILE_LOCK_NONE;
    open_map(&map);
}

static void tear_down(void)
{
    token_map_close(&map);
    db_close(&writer);
    store_voucher_close(&voucher);
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
    commit(&txn);
}

static void take_back(const char *text)
{
    struct db_txn txn = { 0 };
    struct hash hash = token_text_hash(span_of_text(text));
    cr_assert_eq(db_begin_write(&writer, &txn), STATUS_OK);
    cr_assert_eq(table_delete(&txn, TOKENS_TOKENS, span_of(hash.bytes, sizeof hash.bytes)),
                 STATUS_OK);
    commit(&txn);
}

static enum status verify(const char *text, struct caller *caller)
{
    *caller = (struct caller){ 0 };
    return map.verifier.verify(map.verifier.context, span_of_text(text), caller);
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
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE, "nobody knows without a store");
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

/* --- which store is believed --- */

static void copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    static char bytes[1 << 20];
    char from[4200], to[4200];
    snprintf(from, sizeof from, "%s/%s", from_dir, name);
    snprintf(to, sizeof to, "%s/%s", to_dir, name);
    FILE *in = fopen(from, "re"), *out = fopen(to, "we");
    cr_assert_not_null(in);
    cr_assert_not_null(out);
    size_t size = fread(bytes, 1, sizeof bytes, in);
    cr_assert(size > 0 && size < sizeof bytes);
    cr_assert_eq(fwrite(bytes, 1, size, out), size);
    fclose(in);
    cr_assert_eq(fclose(out), 0);
}

static void copy_store(const char *from, const char *to)
{
    mkdir(to, 0750);
    copy_file(from, to, "data.mdb");
    copy_file(from, to, "lock.mdb");
}

/* By a verifier that starts now. */
static enum status verify_anew(const char *text)
{
    struct token_map other;
    struct caller caller = { 0 };
    open_map(&other);
    enum status status = other.verifier.verify(&other, span_of_text(text), &caller);
    token_map_close(&other);
    return status;
}

Test(token_map, what_tokend_does_not_vouch_for_is_unavailable)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    cr_assert_not(start_tokend());
    grant(text, "acme", 1, 0);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE);
    store_voucher_give(&voucher, &writer);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
    store_voucher_withdraw(&voucher);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE, "at once");
    store_voucher_give(&voucher, &writer);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
}

/* What is mapped of it says the same for ever. */
Test(token_map, a_page_that_was_removed_is_not_believed)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    make_store();
    grant(text, "acme", 1, 0);
    cr_assert_eq(verify(text, &caller), STATUS_OK);
    cr_assert_eq(store_voucher_keep(&voucher, &writer), STATUS_OK);
    cr_assert_eq(unlink(voucher.path), 0);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE);
    cr_assert_eq(store_voucher_keep(&voucher, &writer), STATUS_OK);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
    cr_assert_eq(unlink(voucher.path), 0);
    cr_assert_not(start_tokend(), "nobody knows which store was left");
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE);
    store_voucher_give(&voucher, &writer);
    cr_expect_eq(verify(text, &caller), STATUS_OK);
    store_voucher_withdraw(&voucher);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE, "it has the new page");
    cr_assert_eq(unlink(voucher.path), 0);
    cr_assert_eq(store_voucher_keep(&voucher, &writer), STATUS_OK);
    cr_expect_eq(verify(text, &caller), STATUS_UNAVAILABLE, "another page says the same");
}

Test(token_map, a_restart_of_tokend_goes_on_with_its_store)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller;
    make_store();
    grant(text, "acme", 1, 0);
    cr_assert_eq(verify(text, &caller), STATUS_OK);
    db_close(&writer);
    cr_expect_eq(verify(text, &caller), STATUS_OK, "nobody writes");
    cr_expect(start_tokend(), "it is the same");
    cr_expect_eq(verify(text, &caller), STATUS_OK);
    take_back(text);
    cr_expect_eq(verify(text, &caller), STATUS_UNAUTHENTICATED);
}

Test(token_map, an_older_copy_is_not_believed_before_tokend_vouches_for_it)
{
    char revoked[TOKEN_TEXT_BYTES], kept[TOKEN_TEXT_BYTES], copy[4096], aside[4096];
    struct caller caller;
    snprintf(copy, sizeof copy, "%s", scratch_path("copy"));
    snprintf(aside, sizeof aside, "%s", scratch_path("aside"));
    make_store();
    grant(revoked, "acme", 1, 0);
    grant(kept, "beta", 1, 0);
    copy_store(dir, copy);
    take_back(revoked);
    cr_assert_eq(verify(kept, &caller), STATUS_OK);
    cr_assert_eq(rename(dir, aside), 0);
    copy_store(copy, dir);
    cr_expect_eq(verify(revoked, &caller), STATUS_UNAUTHENTICATED, "it has the other one open");
    cr_expect_eq(verify_anew(revoked), STATUS_UNAVAILABLE);
    cr_expect_eq(verify_anew(kept), STATUS_UNAVAILABLE);
    cr_expect_not(start_tokend());
    cr_expect_eq(verify(revoked, &caller), STATUS_UNAVAILABLE);
    cr_expect_eq(verify(kept, &caller), STATUS_UNAVAILABLE);
    take_back(revoked); /* by the word of the log */
    store_voucher_give(&voucher, &writer);
    cr_expect_eq(verify(revoked, &caller), STATUS_UNAUTHENTICATED);
    cr_expect_eq(verify(kept, &caller), STATUS_OK);
    cr_expect_str_eq(caller.tenant, "beta");
}

Test(token_map, an_older_copy_that_is_written_into_the_same_file_is_not_believed)
{
    static const char *const files[] = { "data.mdb", "lock.mdb" };
    char revoked[TOKEN_TEXT_BYTES], copy[4096];
    struct caller caller;
    for (size_t count = 1; count <= COUNT_OF(files); count++) {
        snprintf(copy, sizeof copy, "%s", scratch_path(files[count - 1]));
        db_close(&writer);
        make_store();
        grant(revoked, "acme", 1, 0);
        copy_store(dir, copy);
        take_back(revoked);
        cr_assert_eq(verify(revoked, &caller), STATUS_UNAUTHENTICATED);
        for (size_t i = 0; i < count; i++)
            copy_file(copy, dir, files[i]);
        cr_expect_eq(verify(revoked, &caller), STATUS_UNAVAILABLE, "%zu of its files", count);
        cr_expect_not(start_tokend());
        cr_expect_eq(verify_anew(revoked), STATUS_UNAVAILABLE);
        token_map_close(&map);
        db_close(&writer);
        cr_assert_eq(directory_remove(dir), STATUS_OK);
        open_map(&map);
    }
}

Test(token_map, the_owner_of_the_store_checks_in_its_own_environment)
{
    char text[TOKEN_TEXT_BYTES];
    struct caller caller = { 0 };
    struct token_map attached;
    make_store();
    grant(text, "acme", 1, 0);
    cr_assert_eq(token_map_attach(&attached, &writer, &voucher), STATUS_OK);
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

Test(token_map, a_page_of_another_boot_vouches_for_nothing)
{
#ifndef SOLO_FAULTS
    cr_skip_test("built without SOLO_FAULTS");
#endif
    char clock[4096], text[TOKEN_TEXT_BYTES];
    struct caller caller;
    make_store();
    grant(text, "acme", 1, clock_wall_ns() + 3600ull * 1000000000u);
    cr_assert_eq(verify(text, &caller), STATUS_OK);
    snprintf(clock, sizeof clock, "%s", scratch_path("clock"));
    setenv("SOLO_TEST_CLOCK", clock, 1);
    write_clock(clock, "00000000-0000-4000-8000-000000000001", 0, 0);
    cr_expect_eq(verify_anew(text), STATUS_UNAVAILABLE, "tokend has not started in it");
    cr_expect_not(start_tokend());
    cr_expect_eq(verify_anew(text), STATUS_UNAVAILABLE);
    store_voucher_give(&voucher, &writer);
    cr_expect_eq(verify_anew(text), STATUS_OK);
    unsetenv("SOLO_TEST_CLOCK");
}
