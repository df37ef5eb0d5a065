/* Three kinds of rows in `meta`: the cut, its state's parts (by number of the cut and of the part)
 * and its checkpoint. */
#include "common/api/records/log_cut.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/db/table.h"

static const char cut_key[] = "log.cut", checkpoint_key[] = "log.checkpoint",
                  begun_key[] = "log.state.begun";
enum {
    AT_ID = 0,
    AT_HASH = 8,
    AT_WALL = AT_HASH + HASH_BYTES,
    AT_STATE = AT_WALL + 8,
    AT_STATE_BYTES = AT_STATE + HASH_BYTES,
    ROW_BYTES = AT_STATE_BYTES + 8,
    PART_KEY_BYTES = 64,
};

static enum status refuse(struct db_txn *txn, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "read where the log begins", "dir", txn->db->dir, "reason",
                       reason);
}

static uint64_t number_at(struct span row, size_t offset)
{
    return table_number_value(span_of(row.data + offset, 8));
}

enum status log_cut_read(struct db_txn *txn, struct log_cut *cut)
{
    struct span row;
    *cut = (struct log_cut){ 0 };
    enum status status = db_meta_get(txn, cut_key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    if (row.size != ROW_BYTES)
        return refuse(txn, "not the form of its row in meta");
    cut->id = number_at(row, AT_ID);
    memcpy(cut->hash.bytes, row.data + AT_HASH, HASH_BYTES);
    cut->wall_ns = number_at(row, AT_WALL);
    memcpy(cut->state.bytes, row.data + AT_STATE, HASH_BYTES);
    cut->state_bytes = number_at(row, AT_STATE_BYTES);
    return cut->state_bytes <= LOG_STATE_BYTES_MAX ? STATUS_OK
                                                   : refuse(txn, "its state cannot be that large");
}

enum status log_cut_id(struct db_txn *txn, uint64_t *id)
{
    struct log_cut cut;
    if (!txn->memo.is_known) {
        TRY(log_cut_read(txn, &cut));
        txn->memo.value = cut.id;
        txn->memo.is_known = true;
    }
    *id = txn->memo.value;
    return STATUS_OK;
}

/* --- the state --- */

static const char *part_key(char key[PART_KEY_BYTES], uint64_t id, unsigned part)
{
    snprintf(key, PART_KEY_BYTES, "log.state.%" PRIu64 ".%u", id, part);
    return key;
}

static enum status delete_parts(struct db_txn *txn, uint64_t id, uint64_t bytes)
{
    char key[PART_KEY_BYTES];
    for (unsigned part = 0; (uint64_t)part * LOG_STATE_PART_BYTES < bytes; part++)
        TRY(db_meta_delete(txn, part_key(key, id, part)));
    return STATUS_OK;
}

enum status log_cut_drop_begun(struct db_txn *txn)
{
    struct span row;
    struct log_cut cut;
    TRY(log_cut_read(txn, &cut));
    enum status status = db_meta_get(txn, begun_key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    uint64_t id = row.size == 16 ? number_at(row, 0) : 0;
    uint64_t bytes = row.size == 16 ? number_at(row, 8) : 0;
    if (id != cut.id && bytes <= LOG_STATE_BYTES_MAX)
        TRY(delete_parts(txn, id, bytes));
    return db_meta_delete(txn, begun_key);
}

enum status log_cut_begin_state(struct db_txn *txn, uint64_t id, uint64_t bytes)
{
    uint8_t row[16];
    struct table_number number = table_number(id), size = table_number(bytes);
    memcpy(row, number.bytes, 8);
    memcpy(row + 8, size.bytes, 8);
    TRY(log_cut_drop_begun(txn));
    return db_meta_put(txn, begun_key, span_of(row, sizeof row));
}

enum status log_cut_put_part(struct db_txn *txn, uint64_t id, unsigned part, struct span bytes)
{
    char key[PART_KEY_BYTES];
    return db_meta_put(txn, part_key(key, id, part), bytes);
}

enum status log_cut_write(struct db_txn *txn, const struct log_cut *cut)
{
    uint8_t row[ROW_BYTES];
    struct log_cut before;
    TRY(log_cut_read(txn, &before));
    if (before.id != cut->id)
        TRY(delete_parts(txn, before.id, before.state_bytes));
    struct table_number id = table_number(cut->id), wall = table_number(cut->wall_ns),
                        bytes = table_number(cut->state_bytes);
    memcpy(row + AT_ID, id.bytes, 8);
    memcpy(row + AT_HASH, cut->hash.bytes, HASH_BYTES);
    memcpy(row + AT_WALL, wall.bytes, 8);
    memcpy(row + AT_STATE, cut->state.bytes, HASH_BYTES);
    memcpy(row + AT_STATE_BYTES, bytes.bytes, 8);
    txn->memo.is_known = false;
    TRY(db_meta_delete(txn, begun_key));
    return db_meta_put(txn, cut_key, span_of(row, sizeof row));
}

enum status log_cut_read_state(struct db_txn *txn, const struct log_cut *cut, struct buffer *state)
{
    buffer_clear(state);
    for (unsigned part = 0; state->size < cut->state_bytes; part++) {
        char key[PART_KEY_BYTES];
        struct span bytes;
        enum status status = db_meta_get(txn, part_key(key, cut->id, part), &bytes);
        if (status == STATUS_NOT_FOUND || (status == STATUS_OK && bytes.size == 0))
            return refuse(txn, "a part of its state is missing");
        TRY(status);
        if (buffer_append(state, bytes.data, bytes.size) != STATUS_OK)
            return log_failure(STATUS_RESOURCE_EXHAUSTED, "read where the log begins");
    }
    struct hash digest = hash_of(buffer_span(state));
    return state->size == cut->state_bytes && hash_equal(&digest, &cut->state)
               ? STATUS_OK
               : refuse(txn, "its state is not the one that it names");
}

/* --- the checkpoint --- */

enum status log_cut_read_checkpoint(struct db_txn *txn, struct span *text)
{
    return db_meta_get(txn, checkpoint_key, text);
}

enum status log_cut_write_checkpoint(struct db_txn *txn, struct span text)
{
    return db_meta_put(txn, checkpoint_key, text);
}
