#include <stdio.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "tests/support/criterion.h"
#include "tests/unit/tokend/token_fixture.h"

TestSuite(sweep, .init = fixture_open, .fini = fixture_close, .timeout = 120);

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS };

static unsigned slices(enum status (*slice)(struct token_store *, size_t, bool *))
{
    unsigned count = 0;
    bool is_more = true;
    for (; is_more; count++)
        cr_assert_eq(slice(&store, SWEEP_SLICE_ROWS, &is_more), STATUS_OK);
    return count;
}

Test(sweep, removes_what_has_expired_in_slices_and_tells)
{
    char kept[ACCESSOR_TEXT_BYTES];
    snprintf(kept, sizeof kept, "%s", granted("acme", "read", HOUR_MS));
    for (int i = 0; i < 2 * SWEEP_SLICE_ROWS + 1; i++)
        granted("acme", "read", MINUTE_MS);
    slices(sweep_expired);
    cr_assert_eq(store.expired, 0, "before its time");
    fixture_pass(61);
    cr_assert_eq(slices(sweep_expired), 3);
    cr_assert_eq(store.expired, 2 * SWEEP_SLICE_ROWS + 1);
    cr_assert_eq(told("capability_expired"), 2 * SWEEP_SLICE_ROWS + 1);
    cr_assert(is_there(kept));
}

/* A commit takes ten times as long on one disk as on another. */
Test(sweep, goes_by_how_long_its_slices_take)
{
    static const uint64_t ms_ns = 1000000;
    size_t rows = SWEEP_SLICE_ROWS;
    for (int i = 0; i < 10; i++)
        rows = sweep_next_rows(rows, (SWEEP_SLICE_MS + 1) * ms_ns);
    cr_expect_eq(rows, SWEEP_SLICE_ROWS_MIN, "and never fewer");
    rows = sweep_next_rows(rows, (SWEEP_SLICE_MS - 1) * ms_ns);
    cr_expect_eq(rows, SWEEP_SLICE_ROWS_MIN, "just right");
    for (int i = 0; i < 20; i++)
        rows = sweep_next_rows(rows, ms_ns / 10);
    cr_expect_eq(rows, SWEEP_SLICE_ROWS, "and never more");
    for (int i = 0; i < 3; i++)
        granted("acme", "read", MINUTE_MS);
    fixture_pass(61);
    bool is_more;
    cr_assert_eq(sweep_expired(&store, 2, &is_more), STATUS_OK);
    cr_expect(is_more);
    cr_expect_eq(store.expired, 2);
    cr_assert_eq(sweep_expired(&store, 2, &is_more), STATUS_OK);
    cr_expect_not(is_more);
    cr_expect_eq(store.expired, 3);
}

Test(sweep, does_nothing_while_the_clock_is_suspect)
{
    const char *accessor = granted("acme", "read", MINUTE_MS);
    fixture_pass(61);
    store.anchor.is_suspect = true;
    slices(sweep_expired);
    slices(sweep_warn);
    cr_assert(is_there(accessor));
    store.anchor.is_suspect = false;
    slices(sweep_expired);
    cr_assert_not(is_there(accessor));
}

Test(sweep, forgets_revoked_hashes_after_a_day)
{
    struct rpc_call call = call_of_operator();
    uint64_t revoked, tokens, kept;
    cr_assert_eq(try_revoke(&call, granted("acme", "read", 0), &revoked), STATUS_OK);
    struct db_txn txn;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(token_count(&txn, &tokens, &kept), STATUS_OK);
    db_end(&txn);
    cr_assert_eq(kept, 1);
    fixture_pass(86401);
    slices(sweep_expired);
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(token_count(&txn, &tokens, &kept), STATUS_OK);
    db_end(&txn);
    cr_assert_eq(kept, 0);
    cr_assert_eq(told("capability_expired"), 0);
}

Test(sweep, warns_once_at_each_level)
{
    granted("acme", "read", 8u * DAY_MS);
    granted("acme", "read", 30 * MINUTE_MS); /* never lives that long */
    granted("acme", "read", 0);
    slices(sweep_warn);
    cr_assert_eq(told("capability_expiring"), 0);
    static const unsigned wait_s[] = { 86400 + 60, 6 * 86400, 23 * 3600 };
    for (size_t level = 0; level < WARNING_LEVELS; level++) {
        fixture_pass(wait_s[level]);
        for (int i = 0; i < 3; i++)
            slices(sweep_warn);
        cr_assert_eq(told("capability_expiring"), level + 1, "level %zu: %zu", level,
                     told("capability_expiring"));
    }
}

Test(sweep, compares_the_tokens_with_their_digest_in_slices)
{
    enum { TOKENS_HERE = 300 };
    for (int i = 0; i < TOKENS_HERE; i++)
        granted("acme", "read", 0);
    struct db_txn txn;
    struct table_walk walk = { 0 };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    unsigned steps = 0;
    for (; !walk.is_done; steps++)
        cr_assert_eq(table_verify_some(&txn, 0, 7, &walk), STATUS_OK);
    cr_assert_eq(walk.count, TOKENS_HERE);
    cr_assert_geq(steps, TOKENS_HERE / 7);
    db_end(&txn);
}

/* --- damage --- */

static struct sweep damaged_sweep;
static unsigned damage_count;

static void note_damage(void *context)
{
    (void)context;
    damage_count++;
    sweep_close(&damaged_sweep);
}

/* Every row of a token is changed behind its seal. */
static void damage_tokens(void)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, row;
    cr_assert_eq(mdb_txn_begin(store.db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_cursor_open(txn, store.db.tables[TOKENS_TOKENS], &cursor), 0);
    while (mdb_cursor_get(cursor, &key, &row, MDB_NEXT) == 0) {
        uint8_t bytes[TOKEN_RECORD_BYTES_MAX + HASH_BYTES];
        cr_assert_leq(row.mv_size, sizeof bytes);
        memcpy(bytes, row.mv_data, row.mv_size);
        bytes[0] ^= 1;
        MDB_val changed = { row.mv_size, bytes };
        cr_assert_eq(mdb_cursor_put(cursor, &key, &changed, MDB_CURRENT), 0);
    }
    mdb_cursor_close(cursor);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    store.last_txn = db_last_txn(&store.db);
}

Test(sweep, says_once_that_a_row_is_damaged_and_rests)
{
    granted("acme", "read", MINUTE_MS);
    damage_tokens();
    fixture_pass(61);
    damaged_sweep = (struct sweep){ .on_damage = note_damage };
    sweep_open(&damaged_sweep, &store, fixture_loop, 1);
    ev_timer_stop(fixture_loop, &damaged_sweep.check); /* which would meet it first */
    for (int turns = 0; damage_count == 0; turns++) {
        cr_assert_lt(turns, 10000, "nothing is said");
        ev_run(fixture_loop, EVRUN_ONCE);
    }
    cr_expect_not(ev_is_active(&damaged_sweep.slice), "it is not met again each second");
    cr_expect_eq(store.expired, 0);
}
