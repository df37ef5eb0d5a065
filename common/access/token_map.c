/* One look-up, the same for every token that could be one: the row at or after the hash is read,
 * its seal checked, its key compared in constant time. A token that is not there costs the seal of
 * its neighbour, so that time does not tell unknown from revoked or expired. What has no valid
 * checksum was never granted, and is refused before that. */
#include "common/access/token_map.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/api/records/schemas.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/db/table.h"

static const uint64_t retry_ns = 1000000000;

static void detach(struct token_map *map)
{
    table_cursor_close(&map->cursor);
    if (map->db == &map->own)
        db_close(&map->own);
    map->db = NULL;
    map->anchor_txn = 0;
}

/* What fails is logged, and shall not be for every request. */
static enum status fail(struct token_map *map, uint64_t number, enum status status)
{
    map->failure = status;
    map->retry_number = number;
    map->retry_ns = clock_boottime_ns() + retry_ns;
    return status;
}

static bool is_attached(const struct token_map *map)
{
    return map->owner != NULL;
}

/* The time was read before: what was answered until then shows in the page. */
static enum status look(struct token_map *map, uint64_t boottime_ns,
                        struct store_voucher_page *page)
{
    if (!is_attached(map))
        return voucher_view_look(&map->view, boottime_ns, page);
    *page = map->owner->page;
    return store_voucher_is_given(map->owner) ? STATUS_OK : STATUS_UNAVAILABLE;
}

/* Whether a page is still the one by which the store was opened. */
static bool is_same(const struct token_map *map, const struct store_voucher_page *page)
{
    return is_attached(map) || (page->number == map->number && map->view.mapped == map->mapped);
}

static enum status open_vouched(struct token_map *map, uint64_t number)
{
    if (number == map->retry_number && clock_boottime_ns() < map->retry_ns)
        return map->failure;
    map->number = number;
    map->mapped = map->view.mapped;
    enum status status = db_open_reader(&map->own, &tokens_schema, map->dir);
    /* What is opened may be put in its place, and vouched for, meanwhile. */
    struct store_voucher_page page;
    if (status == STATUS_OK && (look(map, clock_boottime_ns(), &page) != STATUS_OK ||
                                !is_same(map, &page) || !store_voucher_names(&page, &map->own))) {
        db_close(&map->own);
        status = log_failure(STATUS_UNAVAILABLE, "check tokens", "dir", map->dir, "reason",
                             "tokend does not vouch for the store that lies there");
    }
    if (status != STATUS_OK)
        return fail(map, number, status == STATUS_NOT_FOUND ? STATUS_UNAVAILABLE : status);
    map->db = &map->own;
    return STATUS_OK;
}

static enum status keep_open(struct token_map *map, uint64_t boottime_ns,
                             struct store_voucher_page *page)
{
    enum status status = look(map, boottime_ns, page);
    if (is_attached(map))
        return status;
    if (status == STATUS_OK && map->db != NULL && is_same(map, page))
        return STATUS_OK;
    detach(map);
    return status == STATUS_OK ? open_vouched(map, page->number) : STATUS_UNAVAILABLE;
}

/* Of the transaction, by the table of readers, and of the file itself: either may have been written
 * over in its place. */
static bool is_older_than(const struct token_map *map, const struct db_txn *txn, uint64_t answered)
{
    return mdb_txn_id(txn->txn) < answered || db_last_txn(map->db) < answered;
}

/* By what was vouched for before the transaction began, or by now. Looked up once for a commit. */
static bool is_of_owner(struct token_map *map, struct db_txn *txn, uint64_t boottime_ns,
                        const struct store_voucher_page *before)
{
    struct store_voucher_page now;
    if (map->anchor_txn == mdb_txn_id(txn->txn) && memcmp(map->id, before->id, sizeof map->id) == 0)
        return true;
    memcpy(map->id, before->id, sizeof map->id);
    map->anchor_txn = 0;
    if (store_voucher_fits(before, txn))
        return true;
    return look(map, boottime_ns, &now) == STATUS_OK && is_same(map, &now) &&
           store_voucher_fits(&now, txn);
}

static enum status read_anchor(struct token_map *map, struct db_txn *txn)
{
    size_t number = mdb_txn_id(txn->txn);
    if (map->anchor_txn == number)
        return STATUS_OK;
    TRY(token_anchor_read(txn, &map->anchor));
    if (!token_anchor_holds(&map->anchor, &map->time)) /* tokend writes it before it vouches */
        return log_failure(STATUS_UNAVAILABLE, "check tokens", "dir", map->dir, "reason",
                           "the clock of the store is of another boot");
    map->anchor_txn = number;
    return STATUS_OK;
}

static enum status give_up(struct token_map *map)
{
    if (!is_attached(map))
        detach(map);
    return fail(map, map->number, STATUS_UNAVAILABLE);
}

static enum status begin_read(struct token_map *map, uint64_t boottime_ns, struct db_txn *txn)
{
    struct store_voucher_page page;
    TRY(keep_open(map, boottime_ns, &page));
    if (db_begin_read(map->db, txn) != STATUS_OK)
        return give_up(map);
    if (!is_older_than(map, txn, page.txn) && is_of_owner(map, txn, boottime_ns, &page))
        return STATUS_OK;
    db_end(txn);
    log_failure(STATUS_UNAVAILABLE, "check tokens", "dir", map->db->dir, "reason",
                "the store is not the one that tokend has answered from");
    if (is_attached(map))
        db_fail_replaced(map->db);
    return give_up(map);
}

static enum status begin(struct token_map *map, struct db_txn *txn, uint64_t *now_ns)
{
    uint64_t boottime_ns = clock_boottime_ns();
    TRY(begin_read(map, boottime_ns, txn));
    TRY(read_anchor(map, txn));
    *now_ns = token_clock_look(&map->anchor, &map->time, boottime_ns);
    return STATUS_OK;
}

/* unauthenticated when there is no such row. */
static enum status find(struct token_map *map, struct db_txn *txn, const struct hash *wanted,
                        struct token_record *record)
{
    struct span key, row;
    TRY(table_cursor_renew(txn, TOKENS_TOKENS, &map->cursor));
    enum status status =
        table_cursor_seek(&map->cursor, span_of(wanted->bytes, sizeof wanted->bytes), &key, &row);
    if (status == STATUS_NOT_FOUND) /* past the last row: which then is its neighbour */
        status = table_cursor_last(&map->cursor, &key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_UNAUTHENTICATED;
    TRY(status);
    _Static_assert(sizeof wanted->bytes == crypto_verify_32_BYTES, "compared in constant time");
    if (key.size != sizeof wanted->bytes || crypto_verify_32(key.data, wanted->bytes) != 0)
        return STATUS_UNAUTHENTICATED;
    return token_record_decode(row, record);
}

/* Fills all but the kind of caller, which is access's to decide. */
static enum status judge(struct token_map *map, const struct hash *hash, struct caller *caller)
{
    struct token_record record;
    uint64_t now_ns;
    TRY(begin(map, &map->txn, &now_ns));
    TRY(find(map, &map->txn, hash, &record));
    _Static_assert(sizeof caller->accessor >= ACCESSOR_TEXT_BYTES, "an accessor fits");
    accessor_text(caller->accessor, &record.accessor);
    if (token_record_is_expired(&record, now_ns))
        return STATUS_UNAUTHENTICATED;
    memcpy(caller->tenant, record.tenant, sizeof caller->tenant);
    caller->permissions = record.permissions;
    caller->token = *hash;
    return STATUS_OK;
}

static enum status check(struct token_map *map, const struct hash *hash, struct caller *caller)
{
    enum status status = judge(map, hash, caller);
    db_end(&map->txn);
    return status;
}

static enum status verify(void *context, struct span text, struct caller *caller)
{
    if (!token_text_is_valid(text))
        return STATUS_UNAUTHENTICATED;
    struct hash hash = token_text_hash(text);
    return check(context, &hash, caller);
}

/* A token that was renewed meanwhile is the same one; its tenant and permissions never change. */
static enum status verify_again(void *context, const struct caller *caller)
{
    struct caller again = { 0 };
    return check(context, &caller->token, &again);
}

static enum status init(struct token_map *map)
{
    *map = (struct token_map){ .verifier = { verify, verify_again, map } };
    return token_time_read(&map->time);
}

enum status token_map_open(struct token_map *map, const char *dir, const char *run_dir)
{
    TRY(init(map));
    ensure(strlen(dir) < sizeof map->dir);
    snprintf(map->dir, sizeof map->dir, "%s", dir);
    return voucher_view_open(&map->view, run_dir, TOKENS_VOUCHER, map->time.boot_id);
}

enum status token_map_attach(struct token_map *map, struct db *db,
                             const struct store_voucher *voucher)
{
    TRY(init(map));
    map->db = db;
    map->owner = voucher;
    return STATUS_OK;
}

void token_map_close(struct token_map *map)
{
    detach(map);
    voucher_view_close(&map->view);
}
