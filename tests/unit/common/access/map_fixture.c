#include "tests/unit/common/access/map_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/api/records/schemas.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

struct db writer;
struct store_voucher voucher;
struct token_map map;
char dir[4096], run_dir[4096];

void open_map(struct token_map *opened)
{
    cr_assert_eq(token_map_open(opened, dir, run_dir), STATUS_OK);
}

static void commit(struct db_txn *txn)
{
    cr_assert_eq(db_commit(txn), STATUS_OK);
    store_voucher_advance(&voucher, db_last_txn(&writer));
    store_voucher_settle(&voucher);
}

bool start_tokend(void)
{
    struct token_time time;
    struct token_anchor previous;
    struct db_txn txn = { 0 };
    db_close(&writer);
    store_voucher_close(&voucher);
    cr_assert_eq(db_open_writer(&writer, &tokens_schema, dir), STATUS_OK);
    cr_assert_eq(token_time_read(&time), STATUS_OK);
    store_voucher_make(&voucher, run_dir, TOKENS_VOUCHER, time.boot_id);
    bool is_covered = store_voucher_covers(&voucher, &writer);
    cr_assert_eq(db_begin_write(&writer, &txn), STATUS_OK);
    cr_assert_eq(store_voucher_start(&voucher, &txn), STATUS_OK);
    cr_assert_eq(token_anchor_read(&txn, &previous), STATUS_OK);
    struct token_anchor anchor = token_anchor_start(&previous, &time);
    if (!anchor.is_suspect)
        token_anchor_advance(&anchor, &time);
    cr_assert_eq(token_anchor_write(&txn, &anchor), STATUS_OK);
    commit(&txn);
    return is_covered;
}

void make_store(void)
{
    cr_assert_not(start_tokend());
    store_voucher_give(&voucher, &writer);
}

void map_fixture_open(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    snprintf(dir, sizeof dir, "%s", scratch_path("tokens"));
    snprintf(run_dir, sizeof run_dir, "%s", scratch_path("."));
    writer.lease = FILE_LOCK_NONE;
    open_map(&map);
}

void map_fixture_close(void)
{
    token_map_close(&map);
    db_close(&writer);
    store_voucher_close(&voucher);
    scratch_remove();
}

void grant(char text[TOKEN_TEXT_BYTES], const char *tenant, uint32_t permissions,
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

void take_back(const char *text)
{
    struct db_txn txn = { 0 };
    struct hash hash = token_text_hash(span_of_text(text));
    cr_assert_eq(db_begin_write(&writer, &txn), STATUS_OK);
    cr_assert_eq(table_delete(&txn, TOKENS_TOKENS, span_of(hash.bytes, sizeof hash.bytes)),
                 STATUS_OK);
    commit(&txn);
}

enum status verify(const char *text, struct caller *caller)
{
    *caller = (struct caller){ 0 };
    return map.verifier.verify(map.verifier.context, span_of_text(text), caller);
}

void copy_file(const char *from_dir, const char *to_dir, const char *name)
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

void copy_store(const char *from, const char *to)
{
    mkdir(to, 0750);
    copy_file(from, to, "data.mdb");
    copy_file(from, to, "lock.mdb");
}

enum status verify_anew(const char *text)
{
    struct token_map other;
    struct caller caller = { 0 };
    open_map(&other);
    enum status status = other.verifier.verify(&other, span_of_text(text), &caller);
    token_map_close(&other);
    return status;
}
