#include "tests/unit/common/access/map_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

TestSuite(token_map, .init = map_fixture_open, .fini = map_fixture_close, .timeout = 60);

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
