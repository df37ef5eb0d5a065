#include "common/db/table.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/reserve.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"
#include "tests/unit/common/db/store_schema.h"

static struct db db;
static char dir[4096];

static void setup(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    snprintf(dir, sizeof dir, "%s", scratch_path("store"));
    cr_assert_eq(db_open_writer(&db, &test_schema, dir), STATUS_OK);
}

static void teardown(void)
{
    db_close(&db);
    scratch_remove();
}

TestSuite(table, .init = setup, .fini = teardown);

static struct span text(const char *value)
{
    return span_of_text(value);
}

static void put(unsigned table, const char *key, const char *value)
{
    struct db_txn txn;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, table, text(key), text(value)), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

/* Changes what lies in the file behind the back of table.c, as damage would: through LMDB itself.
 */
static void put_raw(unsigned table, const char *key, const void *bytes, size_t size)
{
    MDB_txn *txn;
    MDB_val k = { strlen(key), (void *)(uintptr_t)key }, v = { size, (void *)(uintptr_t)bytes };
    cr_assert_eq(mdb_txn_begin(db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_put(txn, db.tables[table], &k, &v, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

static void delete_raw(unsigned table, const char *key)
{
    MDB_txn *txn;
    MDB_val k = { strlen(key), (void *)(uintptr_t)key };
    cr_assert_eq(mdb_txn_begin(db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_del(txn, db.tables[table], &k, NULL), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

static size_t get_raw(unsigned table, const char *key, uint8_t bytes[256])
{
    MDB_txn *txn;
    MDB_val k = { strlen(key), (void *)(uintptr_t)key }, v;
    cr_assert_eq(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn), 0);
    cr_assert_eq(mdb_get(txn, db.tables[table], &k, &v), 0);
    cr_assert_leq(v.mv_size, 256);
    memcpy(bytes, v.mv_data, v.mv_size);
    mdb_txn_abort(txn);
    return v.mv_size;
}

static enum status verify(unsigned table)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&db, &txn));
    return table_verify(&txn, table);
}

static enum status get(unsigned table, const char *key, char value[256])
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span found;
    TRY(db_begin_read(&db, &txn));
    TRY(table_get(&txn, table, text(key), &found));
    snprintf(value, 256, "%.*s", (int)found.size, (const char *)found.data);
    return STATUS_OK;
}

Test(table, put_rows_come_back_in_every_kind_of_table)
{
    char value[256];
    for (unsigned table = TEST_PLAIN; table <= TEST_UNSEALED; table++) {
        cr_expect_eq(get(table, "key", value), STATUS_NOT_FOUND);
        put(table, "key", "first");
        put(table, "key", "second");
        cr_assert_eq(get(table, "key", value), STATUS_OK);
        cr_expect_str_eq(value, "second");
    }
}

Test(table, an_empty_value_is_a_value)
{
    char value[256] = "x";
    put(TEST_PLAIN, "key", "");
    cr_assert_eq(get(TEST_PLAIN, "key", value), STATUS_OK);
    cr_expect_str_eq(value, "");
}

Test(table, every_flipped_byte_of_a_sealed_row_is_data_loss)
{
    put(TEST_PLAIN, "key", "some value");
    uint8_t row[256];
    char value[256];
    size_t size = get_raw(TEST_PLAIN, "key", row);
    for (size_t i = 0; i < size; i++) {
        row[i] ^= 1;
        put_raw(TEST_PLAIN, "key", row, size);
        cr_expect_eq(get(TEST_PLAIN, "key", value), STATUS_DATA_LOSS, "byte %zu", i);
        row[i] ^= 1;
    }
    put_raw(TEST_PLAIN, "key", row, 5);
    cr_expect_eq(get(TEST_PLAIN, "key", value), STATUS_DATA_LOSS, "a row shorter than a seal");
}

Test(table, a_row_moved_to_another_key_or_table_is_data_loss)
{
    uint8_t row[256];
    char value[256];
    put(TEST_PLAIN, "key", "some value");
    size_t size = get_raw(TEST_PLAIN, "key", row);
    put_raw(TEST_PLAIN, "other", row, size);
    put_raw(TEST_COUNTED, "key", row, size);
    cr_expect_eq(get(TEST_PLAIN, "other", value), STATUS_DATA_LOSS);
    cr_expect_eq(get(TEST_COUNTED, "key", value), STATUS_DATA_LOSS);
    cr_expect_eq(get(TEST_PLAIN, "key", value), STATUS_OK);
}

Test(table, a_digest_follows_every_change)
{
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i % 37);
        put(TEST_COUNTED, key, i % 2 == 0 ? "even" : "odd");
    }
    struct db_txn txn;
    uint64_t count;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_delete(&txn, TEST_COUNTED, text("key3")), STATUS_OK);
    cr_assert_eq(table_delete(&txn, TEST_COUNTED, text("key3")), STATUS_NOT_FOUND);
    cr_assert_eq(table_count(&txn, TEST_COUNTED, &count), STATUS_OK);
    cr_expect_eq(count, 36);
    cr_expect_eq(table_verify(&txn, TEST_COUNTED), STATUS_OK, "before the commit");
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    cr_expect_eq(verify(TEST_COUNTED), STATUS_OK);
}

Test(table, an_aborted_transaction_leaves_the_digest)
{
    put(TEST_COUNTED, "a", "1");
    struct db_txn txn;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, TEST_COUNTED, text("b"), text("2")), STATUS_OK);
    db_end(&txn);
    cr_expect_eq(verify(TEST_COUNTED), STATUS_OK);
}

Test(table, a_missing_row_shows_in_the_digest)
{
    put(TEST_COUNTED, "a", "1");
    put(TEST_COUNTED, "b", "2");
    cr_assert_eq(verify(TEST_COUNTED), STATUS_OK);
    delete_raw(TEST_COUNTED, "a");
    cr_expect_eq(verify(TEST_COUNTED), STATUS_DATA_LOSS);
}

Test(table, a_row_put_back_from_yesterday_shows_in_the_digest)
{
    uint8_t row[256];
    put(TEST_COUNTED, "a", "old");
    size_t size = get_raw(TEST_COUNTED, "a", row);
    put(TEST_COUNTED, "a", "new");
    put_raw(TEST_COUNTED, "a", row, size);
    cr_expect_eq(verify(TEST_COUNTED), STATUS_DATA_LOSS);
}

Test(table, a_cleared_table_is_empty_and_true_even_when_it_was_broken)
{
    put(TEST_COUNTED, "a", "1");
    put_raw(TEST_COUNTED, "b", "garbage", 7);
    struct db_txn txn;
    uint64_t count;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_clear(&txn, TEST_COUNTED), STATUS_OK);
    cr_assert_eq(table_put(&txn, TEST_COUNTED, text("c"), text("3")), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    cr_expect_eq(verify(TEST_COUNTED), STATUS_OK);
    cr_assert_eq(db_begin_read(&db, &txn), STATUS_OK);
    cr_assert_eq(table_count(&txn, TEST_COUNTED, &count), STATUS_OK);
    cr_expect_eq(count, 1);
    db_end(&txn);
}

Test(table, keys_and_values_out_of_bounds_are_refused)
{
    static uint8_t big[DB_VALUE_BYTES_MAX + 1];
    struct db_txn txn;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_expect_eq(table_put(&txn, TEST_PLAIN, span_of(big, 0), text("v")), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(table_put(&txn, TEST_PLAIN, span_of(big, DB_KEY_BYTES_MAX + 1), text("v")),
                 STATUS_INVALID_ARGUMENT);
    cr_expect_eq(table_put(&txn, TEST_PLAIN, text("k"), span_of(big, sizeof big)),
                 STATUS_INVALID_ARGUMENT);
    cr_expect_eq(table_put(&txn, TEST_PLAIN, span_of(big, DB_KEY_BYTES_MAX),
                           span_of(big, DB_VALUE_BYTES_MAX)),
                 STATUS_OK);
    cr_expect_eq(db_commit(&txn), STATUS_OK);
}

Test(table, a_full_map_changes_nothing_and_the_store_goes_on)
{
    static uint8_t big[DB_VALUE_BYTES_MAX];
    struct db_txn txn;
    char value[256];
    put(TEST_COUNTED, "before", "1");
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    enum status status = STATUS_OK;
    for (int i = 0; i < 100 && status == STATUS_OK; i++) {
        struct table_number number = table_number((uint64_t)i);
        status = table_put(&txn, TEST_COUNTED, table_number_key(&number), span_of(big, sizeof big));
    }
    cr_expect_eq(status, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_eq(db_commit(&txn), STATUS_RESOURCE_EXHAUSTED);
    cr_expect_not(db.is_failed);
    cr_expect_eq(verify(TEST_COUNTED), STATUS_OK);
    cr_expect(db.is_short_of_space, "what grows is refused when the same is tried again");
    put(TEST_COUNTED, "after", "2");
    cr_expect_not(db.is_short_of_space, "nothing of it was kept");
    cr_expect_eq(get(TEST_COUNTED, "before", value), STATUS_OK);
}

/* What a disk does that has room for a part of a write. */
Test(table, a_write_that_is_cut_short_is_a_full_disk)
{
    struct db_txn txn;
    struct span value;
    struct rlimit before;
    struct stat file;
    static uint8_t big[DB_VALUE_BYTES_MAX];
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(stat(scratch_path("store/data.mdb"), &file), 0);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit little = { (rlim_t)file.st_size + 4096, before.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, TEST_PLAIN, span_of_text("big"), span_of(big, sizeof big)),
                 STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_RESOURCE_EXHAUSTED);
    cr_expect(db.is_short_of_space);
    cr_expect_not(db.is_failed);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    put(TEST_PLAIN, "small", "value");
    cr_assert_eq(db_begin_read(&db, &txn), STATUS_OK);
    cr_expect_eq(table_get(&txn, TEST_PLAIN, span_of_text("big"), &value), STATUS_NOT_FOUND);
    cr_expect_eq(table_get(&txn, TEST_PLAIN, span_of_text("small"), &value), STATUS_OK);
    db_end(&txn);
}

/* Behind the last page lie blocks of the file's own, however it grows. */
Test(table, sixteen_mebibytes_of_blocks_are_kept_for_what_must_not_be_refused)
{
    static uint8_t big[DB_VALUE_BYTES_MAX];
    struct stat file;
    struct statvfs disk;
    uint64_t used, map;
    cr_assert_eq(statvfs(scratch_path("store"), &disk), 0);
    uint64_t part = (uint64_t)disk.f_blocks * disk.f_frsize / 32;
    uint64_t ballast = part < RESERVE_BYTES ? part : RESERVE_BYTES;
    put(TEST_PLAIN, "key", "value");
    for (uint64_t i = 0; i < 20; i++) {
        struct table_number number = table_number(i);
        struct db_txn txn;
        cr_assert_eq(stat(scratch_path("store/data.mdb"), &file), 0);
        cr_assert_eq(db_usage(&db, &used, &map), STATUS_OK);
        cr_expect_geq((uint64_t)file.st_blocks * 512, used + ballast, "%lu blocks behind %lu bytes",
                      (unsigned long)file.st_blocks, (unsigned long)used);
        cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
        cr_assert_eq(
            table_put(&txn, TEST_PLAIN, table_number_key(&number), span_of(big, sizeof big)),
            STATUS_OK);
        cr_assert_eq(db_commit(&txn), STATUS_OK);
    }
}

Test(table, a_map_that_is_nearly_full_is_said_to_be)
{
    static uint8_t big[DB_VALUE_BYTES_MAX];
    struct db_txn txn;
    for (uint64_t i = 0; i < 62 && !db.is_short_of_space; i++) {
        struct table_number number = table_number(i);
        cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
        cr_assert_eq(
            table_put(&txn, TEST_PLAIN, table_number_key(&number), span_of(big, sizeof big - 64)),
            STATUS_OK);
        cr_assert_eq(db_commit(&txn), STATUS_OK);
    }
    for (uint64_t i = 0; i < 64 && !db.is_short_of_space; i++) {
        struct table_number number = table_number(1000 + i);
        cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
        cr_assert_eq(
            table_put(&txn, TEST_PLAIN, table_number_key(&number), span_of(big, 64 * 1024)),
            STATUS_OK);
        cr_assert_eq(db_commit(&txn), STATUS_OK);
    }
    cr_expect(db.is_short_of_space);
    put(TEST_PLAIN, "last", "there is room left for this");
}

Test(table, zeros_lie_ahead_of_the_end_and_never_on_what_was_written)
{
    struct stat stat;
    char path[4200];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    for (int i = 0; i < 300; i++) {
        char key[16], text[4000];
        uint64_t used, map;
        snprintf(key, sizeof key, "key%d", i);
        memset(text, 'a' + i % 26, sizeof text);
        text[sizeof text - 1] = '\0';
        put(TEST_COUNTED, key, text);
        cr_assert_eq(db_usage(&db, &used, &map), STATUS_OK);
        cr_assert_eq(lstat(path, &stat), 0);
        cr_expect_geq((uint64_t)stat.st_size, used + 64 * 1024);
    }
    cr_expect_eq(verify(TEST_COUNTED), STATUS_OK);
    db_close(&db);
    cr_assert_eq(db_open_writer(&db, &test_schema, dir), STATUS_OK);
    cr_expect_eq(verify(TEST_COUNTED), STATUS_OK);
}

Test(table, cursors_walk_both_ways_and_check_rows)
{
    put(TEST_PLAIN, "a", "1");
    put(TEST_PLAIN, "c", "3");
    put(TEST_PLAIN, "e", "5");
    struct db_txn txn;
    struct table_cursor cursor;
    struct span key, value;
    cr_assert_eq(db_begin_read(&db, &txn), STATUS_OK);
    cr_assert_eq(table_cursor_open(&txn, TEST_PLAIN, &cursor), STATUS_OK);
    cr_expect_eq(table_cursor_seek(&cursor, text("b"), &key, &value), STATUS_OK);
    cr_expect(span_equal(key, text("c")));
    cr_expect(span_equal(value, text("3")));
    cr_expect_eq(table_cursor_next(&cursor, &key, &value), STATUS_OK);
    cr_expect(span_equal(key, text("e")));
    cr_expect_eq(table_cursor_next(&cursor, &key, &value), STATUS_NOT_FOUND);
    cr_expect_eq(table_cursor_last(&cursor, &key, &value), STATUS_OK);
    cr_expect(span_equal(key, text("e")));
    cr_expect_eq(table_cursor_seek(&cursor, (struct span){ 0 }, &key, &value), STATUS_OK);
    cr_expect(span_equal(key, text("a")));
    cr_expect_eq(table_cursor_seek(&cursor, text("f"), &key, &value), STATUS_NOT_FOUND);
    table_cursor_close(&cursor);
    db_end(&txn);
}

Test(table, a_cursor_puts_rows_wherever_they_belong)
{
    enum { COUNT = 500 };
    struct db_txn txn;
    struct table_cursor cursor;
    struct span key, value;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_cursor_open(&txn, TEST_COUNTED, &cursor), STATUS_OK);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t greatest = 2 * i, other = 2 * (7 * i % COUNT) + 1;
        struct table_number last = table_number(greatest), between = table_number(other);
        cr_assert_eq(table_cursor_append(&cursor, table_number_key(&last), text("even")),
                     STATUS_OK);
        if (other < greatest)
            cr_assert_eq(table_cursor_put(&cursor, table_number_key(&between), text("odd")),
                         STATUS_OK);
    }
    uint64_t count, met = 0;
    cr_assert_eq(table_count(&txn, TEST_COUNTED, &count), STATUS_OK);
    cr_expect_gt(count, COUNT);
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &value);
    for (uint64_t before = 0; status == STATUS_OK; met++) {
        uint64_t number = table_number_value(key);
        cr_assert(met == 0 || number > before);
        cr_assert(span_equal(value, text(number % 2 == 0 ? "even" : "odd")));
        before = number;
        status = table_cursor_next(&cursor, &key, &value);
    }
    cr_expect_eq(met, count);
    struct table_number one = table_number(1);
    cr_expect_neq(table_cursor_append(&cursor, table_number_key(&one), text("1")), STATUS_OK);
    table_cursor_close(&cursor);
    cr_expect_neq(db_commit(&txn), STATUS_OK, "a failed write spoils its transaction");
}

Test(table, appending_needs_a_greater_key)
{
    struct db_txn txn;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    struct table_number one = table_number(1), two = table_number(2);
    cr_expect_eq(table_append(&txn, TEST_UNSEALED, table_number_key(&two), text("2")), STATUS_OK);
    cr_expect_neq(table_append(&txn, TEST_UNSEALED, table_number_key(&one), text("1")), STATUS_OK);
    cr_expect_neq(db_commit(&txn), STATUS_OK, "a failed write spoils its transaction");
    cr_assert_eq(db_begin_read(&db, &txn), STATUS_OK);
    uint64_t count;
    cr_expect_eq(table_count(&txn, TEST_UNSEALED, &count), STATUS_OK);
    cr_expect_eq(count, 0);
    db_end(&txn);
}

Test(table, numbers_sort_as_keys)
{
    const uint64_t values[] = { 0, 1, 255, 256, 1ull << 32, UINT64_MAX };
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct table_number number = table_number(values[i]);
        cr_expect_eq(table_number_value(table_number_key(&number)), values[i]);
        struct table_number next = table_number(values[i] + 1);
        if (values[i] != UINT64_MAX)
            cr_expect_lt(memcmp(number.bytes, next.bytes, 8), 0);
    }
    cr_expect_eq(table_number_value(text("short")), 0);
}

/* As LMDB has them without our comparison: a store of before is found again. */
Test(table, keys_sort_by_their_bytes_then_by_their_length)
{
    enum { KEYS = 2000 };
    struct db_txn txn;
    struct table_cursor cursor = { 0 };
    struct span key, value;
    uint8_t before[DB_KEY_BYTES_MAX];
    size_t before_size = 0, count = 0, put = 0;
    uint32_t seed = 1;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    for (int i = 0; i < KEYS; i++) {
        uint8_t bytes[20];
        size_t size = 1 + (seed = seed * 1103515245 + 12345) / 65536 % sizeof bytes;
        for (size_t j = 0; j < size; j++) /* few values, so that they have much in common */
            bytes[j] = (uint8_t)(((seed = seed * 1103515245 + 12345) / 65536 % 3) * 0x7f);
        put += table_get(&txn, TEST_COUNTED, span_of(bytes, size), &value) == STATUS_NOT_FOUND;
        cr_assert_eq(table_put(&txn, TEST_COUNTED, span_of(bytes, size), text("v")), STATUS_OK);
    }
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    cr_assert_eq(db_begin_read(&db, &txn), STATUS_OK);
    cr_assert_eq(table_cursor_open(&txn, TEST_COUNTED, &cursor), STATUS_OK);
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &value);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &value), count++) {
        int order = memcmp(before, key.data, before_size < key.size ? before_size : key.size);
        cr_assert(order < 0 || (order == 0 && before_size < key.size));
        memcpy(before, key.data, before_size = key.size);
    }
    cr_expect_eq(count, put);
    table_cursor_close(&cursor);
    db_end(&txn);
}

Test(table, a_transaction_that_changes_nothing_says_so)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, TEST_PLAIN, span_of_text("k"), span_of_text("v")), STATUS_OK);
    cr_assert(txn.is_changed);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_not(txn.is_changed);
    cr_assert_eq(db_meta_delete(&txn, "absent"), STATUS_OK);
    cr_assert_not(txn.is_changed);
    cr_assert_eq(db_meta_put(&txn, "there", span_of_text("v")), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_eq(db_meta_delete(&txn, "there"), STATUS_OK);
    cr_assert(txn.is_changed);
}

Test(table, what_one_transaction_remembers_is_not_told_to_the_next)
{
    struct db_txn txn = { .memo = { .value = 7, .is_known = true } };
    cr_assert_eq(db_begin_read(&db, &txn), STATUS_OK);
    cr_assert_not(txn.memo.is_known);
    db_end(&txn);
    txn.memo.is_known = true;
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    cr_assert_not(txn.memo.is_known);
    db_end(&txn);
}
