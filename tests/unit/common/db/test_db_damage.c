/* What is damaged is found before it is used, and is not touched. */
#include <lmdb.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/db/lmdb_status.h"
#include "common/db/walk.h"
#include "tests/unit/common/db/store_fixture.h"

TestSuite(db_damage, .init = store_setup, .fini = store_teardown);

/* --- damage --- */

/* Damaged, and left exactly as it was found. */
static void expect_damage(const char *what)
{
    struct buffer before = read_file(data);
    cr_expect_eq(open_writer(), STATUS_DATA_LOSS, "%s", what);
    db_close(&db);
    struct buffer after = read_file(data);
    cr_expect(span_equal(buffer_span(&before), buffer_span(&after)), "%s: touched", what);
    buffer_close(&before);
    buffer_close(&after);
}

Test(db_damage, damage_to_the_file_is_found_by_the_probe)
{
    static const uint8_t zeros[4096];
    make_store();
    struct buffer whole = read_file(data);
    const struct {
        const char *what;
        size_t offset, size;
    } cases[] = {
        { "no magic", 16, 4 },
        { "page size 0", 40, 4 },
        { "second meta page", 4096, 4096 },
        { "both meta pages", 0, 4096 },
        { "flags of a meta page", 10, 2 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        overwrite(data, cases[i].offset, zeros, cases[i].size);
        expect_damage(cases[i].what);
        overwrite(data, 0, whole.data, whole.size);
    }
    for (size_t page = 2; page < used_bytes / 4096; page++) {
        /* A page that nothing refers to may be zeroed without harm; nothing may crash us. */
        overwrite(data, page * 4096, zeros, 4096);
        enum status status = open_writer();
        cr_expect(status == STATUS_DATA_LOSS || status == STATUS_OK, "page %zu: %s", page,
                  status_name(status));
        db_close(&db);
        overwrite(data, 0, whole.data, whole.size);
    }
    for (size_t size = 1; size < used_bytes; size += 4096) {
        cr_assert_eq(truncate(data, (off_t)size), 0);
        expect_damage("cut off");
        overwrite(data, 0, whole.data, whole.size);
    }
    cr_assert_eq(truncate(data, (off_t)used_bytes), 0);
    cr_expect_eq(open_writer(), STATUS_OK, "the zeros behind it are no loss");
    db_close(&db);
    buffer_close(&whole);
}

Test(db_damage, a_tree_with_a_circle_is_damage)
{
    cr_assert_eq(status_from_lmdb(MDB_CURSOR_FULL), STATUS_DATA_LOSS);
}

/* LMDB reads such a page, and the writer that changes it aborts. */
Test(db_damage, a_page_with_the_number_of_another_is_found)
{
    enum { PAGE = 4096, ROOT_OF_MAIN = 128, TXNID = 144, ALIVE = 6 /* main, meta, the tables */ };
    static const uint64_t another = 1;
    uint64_t txnids[2], root;
    size_t found = 0;
    make_store();
    struct buffer whole = read_file(data);
    memcpy(&txnids[0], whole.data + TXNID, 8);
    memcpy(&txnids[1], whole.data + PAGE + TXNID, 8);
    memcpy(&root, whole.data + (txnids[0] < txnids[1] ? PAGE : 0) + ROOT_OF_MAIN, 8);
    overwrite(data, root * PAGE, &another, sizeof another);
    expect_damage("the list of tables");
    overwrite(data, 0, whole.data, whole.size);
    for (size_t page = 2; page < used_bytes / PAGE; page++) {
        overwrite(data, page * PAGE, &another, sizeof another);
        found += db_walk(&test_schema, dir, WALK_BESIDE_WRITER) == STATUS_DATA_LOSS;
        overwrite(data, 0, whole.data, whole.size);
    }
    cr_expect_geq(found, ALIVE - 1, "all but the leaf that is not sealed: %zu", found);
    cr_expect_eq(db_walk(&test_schema, dir, WALK_BESIDE_WRITER), STATUS_OK);
    buffer_close(&whole);
}

/* A disk that refused a meta page: LMDB has left new roots beside the old number of pages. */
Test(db_damage, a_root_out_of_bounds_is_damage_in_the_newer_meta_page_only)
{
    enum { PAGE = 4096, ROOT_OF_MAIN = 128, TXNID = 144 };
    static const uint64_t beyond = 1000000;
    uint64_t txnids[2];
    make_store();
    struct buffer whole = read_file(data);
    memcpy(&txnids[0], whole.data + TXNID, 8);
    memcpy(&txnids[1], whole.data + PAGE + TXNID, 8);
    size_t older = txnids[0] < txnids[1] ? 0 : PAGE;
    overwrite(data, PAGE - older + ROOT_OF_MAIN, &beyond, 8);
    expect_damage("the newer page");
    overwrite(data, 0, whole.data, whole.size);
    overwrite(data, older + ROOT_OF_MAIN, &beyond, 8);
    cr_expect_eq(open_writer(), STATUS_OK);
    db_close(&db);
    buffer_close(&whole);
}

/* LMDB would make its map as large as the meta page says. */
Test(db_damage, more_pages_than_the_map_can_have_are_damage_to_readers_too)
{
    enum { PAGE = 4096, LAST_PAGE = 136 };
    static const uint64_t beyond = (uint64_t)1 << 50;
    make_store();
    overwrite(data, LAST_PAGE, &beyond, 8);
    overwrite(data, PAGE + LAST_PAGE, &beyond, 8);
    expect_damage("more pages than the map");
    cr_expect_eq(db_open_reader(&db, &test_schema, dir), STATUS_DATA_LOSS);
    cr_expect_eq(db_open_without_trace(&db, &test_schema, dir), STATUS_DATA_LOSS);
}

Test(db_damage, random_damage_never_ends_the_opener)
{
    const char *given = getenv("SOLO_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)clock_wall_ns();
    fprintf(stderr, "seed %u\n", seed);
    make_store();
    struct buffer whole = read_file(data);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1 << (round % 10); i++) {
            uint8_t byte = (uint8_t)rand_r(&seed);
            overwrite(data, (size_t)rand_r(&seed) % used_bytes, &byte, 1);
        }
        enum status status = db_probe(&test_schema, dir);
        cr_expect(status == STATUS_DATA_LOSS || status == STATUS_OK ||
                      status == STATUS_FAILED_PRECONDITION,
                  "%s", status_name(status));
        overwrite(data, 0, whole.data, whole.size);
    }
    buffer_close(&whole);
}

Test(db_damage, a_probe_that_dies_is_damage)
{
    cr_assert_eq(open_writer(), STATUS_OK);
    put(TEST_PLAIN, "crash", "");
    db_close(&db);
    expect_damage("abort in the probe");
}

static void delete_raw(unsigned table)
{
    MDB_txn *txn;
    cr_assert_eq(mdb_txn_begin(db.env, NULL, 0, &txn), 0);
    MDB_val key = { 3, (void *)(uintptr_t) "key" };
    cr_assert_eq(mdb_del(txn, db.tables[table], &key, NULL), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    db_close(&db);
}

Test(db_damage, a_missing_row_is_found_before_the_store_is_used)
{
    make_store();
    cr_assert_eq(open_writer(), STATUS_OK);
    delete_raw(TEST_COUNTED);
    expect_damage("a row is missing");
}

Test(db_damage, a_wrong_derived_table_is_left_to_its_owner)
{
    make_store();
    cr_assert_eq(open_writer(), STATUS_OK);
    delete_raw(TEST_DERIVED);
    cr_assert_eq(open_writer(), STATUS_OK);
    struct db_txn txn;
    cr_assert_eq(db_begin_read(&db, &txn), STATUS_OK);
    cr_expect_eq(table_verify(&txn, TEST_DERIVED), STATUS_DATA_LOSS);
    db_end(&txn);
}
