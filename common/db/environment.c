/* What creation, writer, reader and probe have in common. A failure here is logged where the system
 * or LMDB gave it; nothing is repaired. */
#include "common/db/environment.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/digest.h"
#include "common/db/lmdb_status.h"

static const char identity_key[] = "db.identity";
static const char retired_key[] = "db.retired";

/* The row behind identity_key. Numbers are big-endian. */
enum { IDENTITY_FORMAT = 0, IDENTITY_ID = 4, IDENTITY_INCARNATION = 20, IDENTITY_NAME = 36 };

/* Which file it is, to be told from another one that is put in its place. */
static enum status note_file(struct db *db)
{
    int fd;
    struct statx stat;
    int rc = mdb_env_get_fd(db->env, &fd);
    ensure(rc == 0);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &stat) < 0) {
        int error = errno;
        return log_failure(status_from_errno(error), "open database", "dir", db->dir, "reason",
                           strerror(error));
    }
    db->device = makedev(stat.stx_dev_major, stat.stx_dev_minor);
    db->inode = stat.stx_ino;
    if (stat.stx_mask & STATX_BTIME)
        db->born_ns = (uint64_t)stat.stx_btime.tv_sec * 1000000000u + stat.stx_btime.tv_nsec;
    db->found_txn = db_last_txn(db);
    return STATUS_OK;
}

size_t environment_map_bytes(const struct db_schema *schema)
{
    return fault_number("map_bytes", schema->name, schema->map_bytes);
}

enum status environment_read_meta(const struct db_schema *schema, const char *dir,
                                  struct meta_pages *pages)
{
    TRY(meta_pages_read(dir, pages));
    if (pages->pages_used > environment_map_bytes(schema) / pages->page_bytes)
        return log_failure(STATUS_DATA_LOSS, "check meta pages", "dir", dir, "reason",
                           "more pages than the map can have");
    return STATUS_OK;
}

enum status environment_open(struct db *db, const struct db_schema *schema, const char *dir,
                             unsigned flags)
{
    /* libsodium picks its fast implementations here; without it hashing works, at half the speed.
     */
    ensure(sodium_init() >= 0);
    ensure(schema->table_count <= DB_TABLES_MAX);
    db->schema = schema;
    if ((size_t)snprintf(db->dir, sizeof db->dir, "%s", dir) >= sizeof db->dir)
        return log_failure(STATUS_INVALID_ARGUMENT, "open database", "dir", dir, "reason",
                           "the path is too long");
    int rc = mdb_env_create(&db->env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(db->env, DB_TABLES_MAX + 1);
    if (rc == 0)
        rc = mdb_env_set_mapsize(db->env, environment_map_bytes(schema));
    if (rc == 0)
        rc = mdb_env_open(db->env, dir, flags | MDB_NOTLS, 0660);
    if (rc != 0)
        return log_failure(status_from_lmdb(rc), "open database", "dir", dir, "reason",
                           mdb_strerror(rc));
    return note_file(db);
}

/* LMDB's own order, which others may use for the same table: the bytes, then the length. Nearly all
 * keys differ within eight bytes, and a look-up compares a dozen of them. */
static int compare_keys(const MDB_val *a, const MDB_val *b)
{
    uint64_t head[2];
    size_t size = a->mv_size < b->mv_size ? a->mv_size : b->mv_size;
    if (size >= sizeof head[0]) {
        memcpy(&head[0], a->mv_data, sizeof head[0]);
        memcpy(&head[1], b->mv_data, sizeof head[1]);
        if (head[0] != head[1])
            return be64toh(head[0]) < be64toh(head[1]) ? -1 : 1;
    }
    int order = memcmp(a->mv_data, b->mv_data, size);
    return order != 0 ? order : (a->mv_size > b->mv_size) - (a->mv_size < b->mv_size);
}

static enum status open_table(struct db *db, MDB_txn *txn, const char *name, unsigned flags,
                              MDB_dbi *table)
{
    int rc = mdb_dbi_open(txn, name, flags, table);
    if (rc == 0)
        rc = mdb_set_compare(txn, *table, compare_keys);
    if (rc == 0)
        return STATUS_OK;
    enum status status = rc == MDB_NOTFOUND ? STATUS_DATA_LOSS : status_from_lmdb(rc);
    return log_failure(status, "open table", "dir", db->dir, "table", name, "reason",
                       mdb_strerror(rc));
}

/* What a store says that it is. */
struct found {
    uint32_t format;
    struct span name; /* in the map */
    bool is_retired;
};

static enum status find_identity(struct db *db, struct db_txn *txn, struct found *found)
{
    MDB_val key = { sizeof identity_key - 1, (void *)(uintptr_t)identity_key }, stored;
    TRY(open_table(db, txn->txn, "meta", 0, &db->meta));
    int rc = mdb_get(txn->txn, db->meta, &key, &stored);
    if (rc != 0 || stored.mv_size < IDENTITY_NAME + HASH_BYTES)
        return log_failure(rc == 0 || rc == MDB_NOTFOUND ? STATUS_DATA_LOSS : status_from_lmdb(rc),
                           "read identity of store", "dir", db->dir, "reason",
                           rc == 0 ? "the row is too short" : mdb_strerror(rc));
    /* The seal of this row depends on the id within it. */
    const uint8_t *row = stored.mv_data;
    memcpy(db->identity.id, row + IDENTITY_ID, sizeof db->identity.id);
    memcpy(db->identity.incarnation, row + IDENTITY_INCARNATION, sizeof db->identity.incarnation);
    struct span value, retired;
    TRY(db_meta_get(txn, identity_key, &value));
    enum status status = db_meta_get(txn, retired_key, &retired);
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    *found = (struct found){
        .format = (uint32_t)value.data[0] << 24 | (uint32_t)value.data[1] << 16 |
                  (uint32_t)value.data[2] << 8 | value.data[3],
        .name = { value.data + IDENTITY_NAME, value.size - IDENTITY_NAME },
        .is_retired = status == STATUS_OK,
    };
    return STATUS_OK;
}

/* Empty: there is nothing against it. */
static const char *refusal(const struct db_schema *schema, const struct found *found,
                           char text[DB_REFUSAL_BYTES])
{
    text[0] = '\0';
    if (!span_equal(found->name, span_of_text(schema->name)))
        snprintf(text, DB_REFUSAL_BYTES, "it is another kind of store");
    else if (found->format != schema->format)
        snprintf(text, DB_REFUSAL_BYTES, "it has format %u, this version of Solo knows format %u",
                 found->format, schema->format);
    else if (found->is_retired)
        snprintf(text, DB_REFUSAL_BYTES, "it was retired, another one took its place");
    return text;
}

void db_refusal(const struct db_schema *schema, const char *dir, char text[DB_REFUSAL_BYTES])
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    struct found found;
    text[0] = '\0';
    if (environment_open(&db, schema, dir, MDB_RDONLY | MDB_NOLOCK) == STATUS_OK &&
        db_begin_read(&db, &txn) == STATUS_OK && find_identity(&db, &txn, &found) == STATUS_OK)
        refusal(schema, &found, text);
}

enum status environment_make_tables(struct db *db, MDB_txn *txn)
{
    TRY(open_table(db, txn, "meta", MDB_CREATE, &db->meta));
    for (size_t i = 0; i < db->schema->table_count; i++)
        TRY(open_table(db, txn, db->schema->tables[i].name, MDB_CREATE, &db->tables[i]));
    return STATUS_OK;
}

/* Who it is comes first: another format may have other tables. */
enum status environment_open_tables(struct db *db, struct db_txn *txn)
{
    struct found found;
    char text[DB_REFUSAL_BYTES];
    TRY(find_identity(db, txn, &found));
    if (refusal(db->schema, &found, text)[0] != '\0')
        return log_failure(STATUS_FAILED_PRECONDITION, "open database", "dir", db->dir, "reason",
                           text);
    for (size_t i = 0; i < db->schema->table_count; i++)
        TRY(open_table(db, txn->txn, db->schema->tables[i].name, 0, &db->tables[i]));
    return STATUS_OK;
}

enum status environment_open_for_reading(struct db *db)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(db, &txn));
    TRY(environment_open_tables(db, &txn));
    /* Only a commit keeps the handles, also of a transaction that reads. */
    int rc = mdb_txn_commit(txn.txn);
    txn.txn = NULL;
    return rc == 0 ? STATUS_OK
                   : log_failure(status_from_lmdb(rc), "open tables", "dir", db->dir, "reason",
                                 mdb_strerror(rc));
}

static enum status put_identity(struct db *db, struct db_txn *txn)
{
    uint8_t row[IDENTITY_NAME + 64];
    size_t name_size = strlen(db->schema->name);
    ensure(name_size <= 64);
    for (int i = 0; i < 4; i++)
        row[IDENTITY_FORMAT + i] = (uint8_t)(db->schema->format >> (24 - 8 * i));
    memcpy(row + IDENTITY_ID, db->identity.id, sizeof db->identity.id);
    memcpy(row + IDENTITY_INCARNATION, db->identity.incarnation, sizeof db->identity.incarnation);
    memcpy(row + IDENTITY_NAME, db->schema->name, name_size);
    return db_meta_put(txn, identity_key, span_of(row, IDENTITY_NAME + name_size));
}

enum status environment_write_identity(struct db *db, struct db_txn *txn, const uint8_t *id)
{
    random_fill(&db->identity, sizeof db->identity);
    if (id != NULL)
        memcpy(db->identity.id, id, sizeof db->identity.id);
    TRY(put_identity(db, txn));
    for (unsigned i = 0; i < db->schema->table_count; i++)
        if (db->schema->tables[i].flags & TABLE_DIGEST)
            digest_reset(txn, i);
    return STATUS_OK;
}

enum status environment_renew_incarnation(struct db *db, struct db_txn *txn)
{
    random_fill(db->identity.incarnation, sizeof db->identity.incarnation);
    return put_identity(db, txn);
}

static int set_folder_mode(const struct db_schema *schema, const char *dir)
{
    if (schema->is_private)
        return chmod(dir, 0700);
    /* A sandbox may forbid the bit (RestrictSUIDSGID=): then our own group has to be the one. */
    return chmod(dir, 02750) == 0 ? 0 : chmod(dir, 0750);
}

enum status environment_set_modes(const struct db_schema *schema, const char *dir)
{
    char data[4096], lock[4096];
    TRY(path_join(data, dir, "data.mdb"));
    TRY(path_join(lock, dir, "lock.mdb"));
    bool is_private = schema->is_private;
    if (set_folder_mode(schema, dir) < 0 || chmod(data, is_private ? 0600 : 0640) < 0 ||
        chmod(lock, is_private ? 0600 : 0660) < 0) {
        int error = errno;
        return log_failure(status_from_errno(error), "set modes of store", "dir", dir, "reason",
                           strerror(error));
    }
    return STATUS_OK;
}

enum status environment_parent(char parent[4096], const char *dir)
{
    if ((size_t)snprintf(parent, 4096, "%s", dir) >= 4096)
        return log_failure(STATUS_INVALID_ARGUMENT, "open database", "dir", dir, "reason",
                           "the path is too long");
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        snprintf(parent, 4096, ".");
    else
        slash[slash == parent ? 1 : 0] = '\0';
    return STATUS_OK;
}
