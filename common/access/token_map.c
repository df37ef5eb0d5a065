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
    if (!map->is_attached)
        map->db = NULL;
    map->anchor_txn = 0;
}

/* not_found without a store. */
static enum status keep_open(struct token_map *map)
{
    if (map->is_attached)
        return map->db == NULL ? STATUS_NOT_FOUND : STATUS_OK;
    if (map->db != NULL && !map->is_checked && db_check_same_file(&map->own) != STATUS_OK) {
        log_info("the token store was replaced", "dir", map->dir);
        detach(map);
    }
    map->is_checked = true;
    if (map->db != NULL)
        return STATUS_OK;
    uint64_t now_ns = clock_boottime_ns();
    if (now_ns < map->retry_ns)
        return map->failure;
    enum status status = db_open_reader(&map->own, &tokens_schema, map->dir);
    if (status == STATUS_OK)
        map->db = &map->own;
    map->failure = status;
    /* It is logged, and shall not be for every request. */
    map->retry_ns = status == STATUS_OK || status == STATUS_NOT_FOUND ? 0 : now_ns + retry_ns;
    return status;
}

/* When the clock stepped back before tokend started, its anchor is before what this process has
 * told already. A first look that was suspect does not count: its time may be years ahead. */
static uint64_t not_before_first(const struct token_map *map, uint64_t now_ns)
{
    if (map->first.is_suspect || !token_anchor_holds(&map->first, &map->time))
        return now_ns;
    uint64_t told_ns = token_clock_now(&map->first, &map->time);
    return now_ns > told_ns ? now_ns : told_ns;
}

/* Until tokend has started in this boot, the first look decides, once: whoever steps the wall clock
 * back afterwards revives nothing. The test clock may change the boot. */
static uint64_t look(struct token_map *map)
{
    if (token_anchor_holds(&map->anchor, &map->time)) {
        uint64_t now_ns = token_clock_look(&map->anchor, &map->time);
        return map->first.boot_id[0] == '\0' ? now_ns : not_before_first(map, now_ns);
    }
    token_time_read_again(&map->time);
    if (!token_anchor_holds(&map->first, &map->time))
        map->first = token_anchor_start(&map->anchor, &map->time);
    uint64_t now_ns = token_clock_now(&map->first, &map->time);
    /* of a store that was put in the place of the one of the first look */
    return now_ns > map->anchor.mark_ns ? now_ns : map->anchor.mark_ns;
}

enum status token_map_begin(struct token_map *map, struct db_txn *txn, uint64_t *now_ns)
{
    TRY(keep_open(map));
    TRY(db_begin_read(map->db, txn));
    size_t number = mdb_txn_id(txn->txn);
    if (map->anchor_txn == 0 || number != map->anchor_txn) {
        TRY(token_anchor_read(txn, &map->anchor));
        map->anchor_txn = number;
    }
    *now_ns = look(map);
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
static enum status check(struct token_map *map, const struct hash *hash, struct caller *caller)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct token_record record;
    uint64_t now_ns;
    enum status status = token_map_begin(map, &txn, &now_ns);
    if (status == STATUS_NOT_FOUND)
        return STATUS_UNAUTHENTICATED;
    TRY(status);
    TRY(find(map, &txn, hash, &record));
    _Static_assert(sizeof caller->accessor >= ACCESSOR_TEXT_BYTES, "an accessor fits");
    accessor_text(caller->accessor, &record.accessor);
    if (token_record_is_expired(&record, now_ns))
        return STATUS_UNAUTHENTICATED;
    memcpy(caller->tenant, record.tenant, sizeof caller->tenant);
    caller->permissions = record.permissions;
    caller->token = *hash;
    return STATUS_OK;
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

static void on_turn_end(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    (void)loop, (void)events;
    ((struct token_map *)watcher->data)->is_checked = false;
}

static enum status init(struct token_map *map)
{
    *map = (struct token_map){ .verifier = { verify, verify_again, map } };
    return token_time_read(&map->time);
}

enum status token_map_open(struct token_map *map, struct ev_loop *loop, const char *dir)
{
    TRY(init(map));
    ensure(strlen(dir) < sizeof map->dir);
    snprintf(map->dir, sizeof map->dir, "%s", dir);
    map->loop = loop;
    ev_prepare_init(&map->turn_end, on_turn_end);
    map->turn_end.data = map;
    ev_prepare_start(loop, &map->turn_end);
    ev_unref(loop); /* it keeps nobody waiting */
    return STATUS_OK;
}

enum status token_map_attach(struct token_map *map, struct db *db)
{
    TRY(init(map));
    map->is_attached = true;
    map->db = db;
    return STATUS_OK;
}

void token_map_close(struct token_map *map)
{
    if (map->loop != NULL) {
        ev_ref(map->loop);
        ev_prepare_stop(map->loop, &map->turn_end);
    }
    map->loop = NULL;
    detach(map);
    map->db = NULL;
}
