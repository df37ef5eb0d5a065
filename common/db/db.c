/* Stores: opening, closing and transactions. The normal path of a writer: lease, creation if there
 * is none, probe in a child, open, sync, an empty write transaction, identity, clean flag. Failures
 * are logged here, where LMDB gives them, and leave the store as it was. */
#include "common/db/db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/create.h"
#include "common/db/digest.h"
#include "common/db/environment.h"
#include "common/db/lmdb_status.h"
#include "common/db/meta_pages.h"
#include "common/db/reserve.h"
#include "common/db/seal.h"
#include "common/db/suspect.h"

enum { LEASE_WAIT_MS = 5000 };
static const char clean_key[] = "db.clean";

static enum status failure(const struct db *db, const char *what, int rc)
{
    return log_failure(status_from_lmdb(rc), what, "dir", db->dir, "reason", mdb_strerror(rc));
}

static enum status lease_path(char path[4096], const char *dir)
{
    if ((size_t)snprintf(path, 4096, "%s.lock", dir) >= 4096)
        return log_failure(STATUS_INVALID_ARGUMENT, "open database", "dir", dir, "reason",
                           "the path is too long");
    return STATUS_OK;
}

/* --- opening --- */

static enum status take_lease(struct db *db, const struct db_schema *schema, const char *dir)
{
    char path[4096], parent[4096];
    TRY(lease_path(path, dir));
    TRY(environment_parent(parent, dir));
    TRY(directory_make(parent, 0755));
    enum status status = file_lock_take(&db->lease, path, LEASE_WAIT_MS);
    if (status == STATUS_LOCKED)
        return log_failure(status, "take the lease of a store", "dir", dir, "reason",
                           "another process holds it", "owner", schema->owner);
    /* Who may map the store may ask whether somebody holds it. */
    if (status == STATUS_OK && !schema->is_private && fchmod(db->lease.fd, 0640) < 0)
        return log_failure(status_from_errno(errno), "set the mode of a lease", "path", path,
                           "reason", strerror(errno));
    return status;
}

/* After a crash the last writer's pages may be in the page cache only, and readers may see the log
 * end one transaction early: a sync and an empty write transaction settle both. */
static enum status settle(struct db *db)
{
    int rc = db->schema->is_durable ? mdb_env_sync(db->env, 1) : 0;
    if (rc != 0)
        return failure(db, "sync database", rc);
    AUTO(db_end) struct db_txn txn = { 0 };
    return db_begin_write(db, &txn);
}

static enum status open_tables(struct db *db)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(db, &txn));
    TRY(environment_open_tables(db, &txn));
    struct span clean;
    enum status status = db_meta_get(&txn, clean_key, &clean);
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    db->was_clean = status == STATUS_OK && clean.size == 1 && clean.data[0] == 1;
    db->is_marked_clean = db->was_clean;
    if (!db->was_clean)
        log_info(
            "the store was not closed in order (killed, a power cut, or a copy of one in use); "
            "what was acknowledged is there",
            "dir", db->dir);
    return db_commit(&txn); /* of nothing, which keeps the tables open */
}

static enum status open_writer(struct db *db, const struct db_schema *schema, const char *dir)
{
    TRY(take_lease(db, schema, dir));
    TRY(store_create_if_absent(schema, dir));
    TRY(db_probe(schema, dir));
    TRY(suspect_check(schema, dir));
    TRY(environment_open(db, schema, dir, schema->is_durable ? 0 : MDB_NOSYNC));
    db->is_writer = true;
    suspect_guard(dir);
    TRY(environment_set_modes(schema, dir));
    TRY(settle(db));
    TRY(open_tables(db));
    return db_check_readers(db);
}

enum status db_open_writer(struct db *db, const struct db_schema *schema, const char *dir)
{
    *db = (struct db){ .lease = FILE_LOCK_NONE };
    enum status status = open_writer(db, schema, dir);
    if (status != STATUS_OK)
        db_close(db);
    return status;
}

/* Whether a line of mdb_reader_list ("   pid   thread   txnid") is ours. */
static int find_own_pid(const char *line, void *context)
{
    bool *is_found = context;
    if (strtol(line, NULL, 10) == (long)getpid())
        *is_found = true;
    return 0;
}

static enum status open_reader(struct db *db, const struct db_schema *schema, const char *dir)
{
    struct meta_pages pages;
    TRY(environment_read_meta(schema, dir, &pages));
    TRY(environment_open(db, schema, dir, MDB_RDONLY));
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(db, &txn));
    /* On a read-only mount LMDB silently does without locks: then a page may be reused while it is
     * read. */
    bool is_in_table = false;
    int rc = mdb_reader_list(db->env, find_own_pid, &is_in_table);
    if (rc < 0)
        return failure(db, "list readers", rc);
    if (!is_in_table)
        return log_failure(STATUS_FAILED_PRECONDITION, "open database for reading", "dir", dir,
                           "reason", "no slot in the table of readers: is the lock file writable?");
    db_end(&txn);
    return environment_open_for_reading(db);
}

enum status db_open_reader(struct db *db, const struct db_schema *schema, const char *dir)
{
    *db = (struct db){ .lease = FILE_LOCK_NONE };
    enum status status = open_reader(db, schema, dir);
    if (status != STATUS_OK)
        db_close(db);
    return status;
}

static enum status open_without_trace(struct db *db, const struct db_schema *schema,
                                      const char *dir)
{
    char path[4096];
    bool is_held;
    TRY(lease_path(path, dir));
    TRY(file_lock_is_held(path, &is_held));
    if (is_held)
        return STATUS_FAILED_PRECONDITION;
    struct meta_pages pages;
    TRY(environment_read_meta(schema, dir, &pages));
    TRY(environment_open(db, schema, dir, MDB_RDONLY | MDB_NOLOCK));
    memcpy(db->meta_txnids, pages.txnids, sizeof db->meta_txnids);
    return environment_open_for_reading(db);
}

enum status db_open_without_trace(struct db *db, const struct db_schema *schema, const char *dir)
{
    *db = (struct db){ .lease = FILE_LOCK_NONE };
    enum status status = open_without_trace(db, schema, dir);
    if (status != STATUS_OK)
        db_close(db);
    return status;
}

enum status db_is_stable(struct db *db, bool *is_stable)
{
    struct meta_pages pages;
    TRY(meta_pages_read(db->dir, &pages));
    *is_stable = memcmp(pages.txnids, db->meta_txnids, sizeof pages.txnids) == 0;
    return STATUS_OK;
}

/* --- closing and housekeeping --- */

void db_close(struct db *db)
{
    if (db->spare_reader != NULL)
        mdb_txn_abort(db->spare_reader);
    if (db->env != NULL)
        mdb_env_close(db->env);
    file_lock_release(&db->lease);
    db->spare_reader = NULL;
    db->env = NULL;
}

enum status db_put_clean(struct db_txn *txn)
{
    txn->puts_clean = true;
    return db_meta_put(txn, clean_key, span_of("\1", 1));
}

enum status db_close_cleanly(struct db *db)
{
    enum status status;
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        status = db_begin_write(db, &txn);
        if (status == STATUS_OK)
            status = db_put_clean(&txn);
        if (status == STATUS_OK)
            status = db_commit(&txn);
    }
    db_close(db);
    return status;
}

enum status db_check_same_file(const struct db *db)
{
    char path[4096];
    TRY(path_join(path, db->dir, "data.mdb"));
    struct stat status;
    if (stat(path, &status) < 0 || status.st_dev != db->device || status.st_ino != db->inode)
        return STATUS_ABORTED;
    return STATUS_OK;
}

enum status db_check_readers(struct db *db)
{
    int dead = 0;
    int rc = mdb_reader_check(db->env, &dead);
    if (rc != 0)
        return failure(db, "check readers", rc);
    if (dead > 0)
        log_info("freed slots of dead readers", "dir", db->dir, "count", NUMBER(dead));
    return STATUS_OK;
}

uint64_t db_last_txn(const struct db *db)
{
    MDB_envinfo info;
    int rc = mdb_env_info(db->env, &info);
    ensure(rc == 0);
    return info.me_last_txnid;
}

void db_look_for_space(struct db *db)
{
    if (db->is_short_of_space)
        reserve_keep(db);
}

enum status db_usage(const struct db *db, uint64_t *used_bytes, uint64_t *map_bytes)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(db->env, &info);
    if (rc == 0)
        rc = mdb_env_stat(db->env, &stat);
    if (rc != 0)
        return failure(db, "read usage", rc);
    *used_bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    *map_bytes = info.me_mapsize;
    return STATUS_OK;
}

/* A line of mdb_reader_list is a title, or a slot. */
static int count_slot(const char *line, void *context)
{
    uint64_t *used = context;
    *used += strtol(line, NULL, 10) > 0;
    return 0;
}

enum status db_readers(const struct db *db, uint64_t *used, uint64_t *slots)
{
    MDB_envinfo info;
    uint64_t count = 0;
    int rc = mdb_env_info(db->env, &info);
    if (rc == 0)
        rc = mdb_reader_list(db->env, count_slot, &count);
    if (rc < 0)
        return failure(db, "count readers", rc);
    *used = count;
    *slots = info.me_maxreaders;
    return STATUS_OK;
}

/* --- transactions --- */

/* Not all of it: a reader begins often, and looks at no digest as a rule. */
static void clear(struct db_txn *txn, struct db *db, bool is_write)
{
    txn->db = db;
    txn->txn = NULL;
    txn->status = STATUS_OK;
    txn->is_write = is_write;
    txn->is_changed = txn->puts_clean = false;
    txn->memo.is_known = false;
    txn->digests_loaded = txn->digests_dirty = 0;
}

enum status db_begin_read(struct db *db, struct db_txn *txn)
{
    clear(txn, db, false);
    int rc;
    if (db->spare_reader != NULL) {
        rc = mdb_txn_renew(db->spare_reader);
        if (rc == 0) {
            txn->txn = db->spare_reader;
            db->spare_reader = NULL;
        }
    } else {
        rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn->txn);
    }
    return rc == 0 ? STATUS_OK : failure(db, "begin reading", rc);
}

enum status db_begin_write(struct db *db, struct db_txn *txn)
{
    ensure(db->is_writer);
    clear(txn, db, true);
    if (db->is_failed)
        return STATUS_UNAVAILABLE;
    if (db->is_short_of_space && !db->has_met_the_end)
        reserve_keep(db); /* there may be room by now: the first who asks is not refused */
    db->has_met_the_end = false;
    int rc = mdb_txn_begin(db->env, NULL, 0, &txn->txn);
    return rc == 0 ? STATUS_OK : failure(db, "begin writing", rc);
}

void db_end(struct db_txn *txn)
{
    if (txn->txn == NULL)
        return;
    if (!txn->is_write && txn->db->spare_reader == NULL) {
        mdb_txn_reset(txn->txn);
        txn->db->spare_reader = txn->txn;
    } else {
        mdb_txn_abort(txn->txn);
    }
    txn->txn = NULL;
}

void db_fail(struct db *db)
{
    bool was_failed = db->is_failed;
    db->is_failed = true;
    if (!was_failed && db->on_failed != NULL)
        db->on_failed(db->on_failed_context);
}

void db_fail_replaced(struct db *db)
{
    if (!db->is_failed) /* the first failure is the one that is told */
        db->is_replaced = true;
    db_fail(db);
}

enum status db_note(struct db *db, enum status status)
{
    db->has_met_damage = db->has_met_damage || status == STATUS_DATA_LOSS;
    return status;
}

/* No room, on the disk or in the map. The next transaction has the reserve; the one after it looks
 * whether there is room again. */
static void meet_the_end(struct db *db)
{
    db->is_short_of_space = db->has_met_the_end = true;
}

/* Without space LMDB fails before it touches a meta page and goes on; when a meta page was being
 * written, it refuses every further transaction. Only the first is certain to have changed nothing.
 */
static enum status judge_commit(struct db *db, int rc)
{
    enum status status = failure(db, "commit", rc);
    MDB_txn *txn = NULL;
    if (status == STATUS_RESOURCE_EXHAUSTED && mdb_txn_begin(db->env, NULL, 0, &txn) == 0) {
        mdb_txn_abort(txn);
        meet_the_end(db);
        return status;
    }
    db_fail(db);
    return STATUS_UNKNOWN;
}

enum status db_commit(struct db_txn *txn)
{
    ensure(txn->is_write);
    ensure(txn->txn != NULL);
    bool ends_clean = txn->db->is_marked_clean && txn->is_changed && !txn->puts_clean;
    if (ends_clean && txn->status == STATUS_OK)
        (void)db_meta_put(txn, clean_key, span_of("", 1)); /* remembered in the transaction */
    if (txn->status == STATUS_OK)
        txn->status = digest_write_all(txn);
    if (txn->status != STATUS_OK) {
        db_end(txn);
        if (txn->status == STATUS_RESOURCE_EXHAUSTED)
            meet_the_end(txn->db);
        return txn->status;
    }
    errno = 0;
    int rc = mdb_txn_commit(txn->txn);
    /* LMDB calls a write that came to nothing but a part EIO, and no call has failed then: the disk
     * is full. It writes pages before the meta page, so nothing is changed. */
    if (rc == EIO && errno == 0)
        rc = ENOSPC;
    txn->txn = NULL;
    if (rc != 0)
        return judge_commit(txn->db, rc);
    if (txn->is_changed)
        txn->db->is_marked_clean = txn->puts_clean;
    reserve_keep(txn->db);
    return STATUS_OK;
}

/* --- meta --- */

enum status db_meta_get(struct db_txn *txn, const char *key, struct span *value)
{
    struct span key_span = span_of_text(key);
    MDB_val k = { key_span.size, (void *)(uintptr_t)key_span.data }, v;
    int rc = mdb_get(txn->txn, txn->db->meta, &k, &v);
    if (rc == MDB_NOTFOUND)
        return STATUS_NOT_FOUND;
    if (rc != 0)
        return failure(txn->db, "read meta", rc);
    struct hash seal;
    if (!row_unseal(&txn->db->identity, "meta", key_span, span_of(v.mv_data, v.mv_size), value,
                    &seal))
        return db_note(txn->db, log_failure(STATUS_DATA_LOSS, "read meta", "dir", txn->db->dir,
                                            "key", key, "reason", "the row's seal is broken"));
    return STATUS_OK;
}

enum status db_meta_put(struct db_txn *txn, const char *key, struct span value)
{
    ensure(txn->is_write);
    struct span key_span = span_of_text(key);
    struct hash seal = row_seal(&txn->db->identity, "meta", key_span, value);
    MDB_val k = { key_span.size, (void *)(uintptr_t)key_span.data };
    MDB_val v = { value.size + HASH_BYTES, NULL };
    txn->is_changed = true;
    int rc = mdb_put(txn->txn, txn->db->meta, &k, &v, MDB_RESERVE);
    if (rc != 0) {
        enum status status = failure(txn->db, "write meta", rc);
        if (txn->status == STATUS_OK)
            txn->status = status;
        return status;
    }
    if (value.size > 0)
        memcpy(v.mv_data, value.data, value.size);
    memcpy((uint8_t *)v.mv_data + value.size, seal.bytes, HASH_BYTES);
    return STATUS_OK;
}

enum status db_meta_delete(struct db_txn *txn, const char *key)
{
    ensure(txn->is_write);
    struct span key_span = span_of_text(key);
    MDB_val k = { key_span.size, (void *)(uintptr_t)key_span.data };
    int rc = mdb_del(txn->txn, txn->db->meta, &k, NULL);
    txn->is_changed = txn->is_changed || rc == 0;
    if (rc == 0 || rc == MDB_NOTFOUND)
        return STATUS_OK;
    enum status status = failure(txn->db, "delete from meta", rc);
    if (txn->status == STATUS_OK)
        txn->status = status;
    return status;
}
