#ifndef SOLO_COMMON_DB_DB_H
#define SOLO_COMMON_DB_DB_H

#include "common/base/file_lock.h"
#include "common/base/hash.h"
#include "common/base/status.h"

#include <lmdb.h>

/* One LMDB environment with the rules of docs/databases.md: lease, creation under another name, quick
 * probe in an exec'd child, open sequence, rows that prove themselves, digests of tables. A process
 * opens a store once. One writer; any number of readers in other processes. */

enum { DB_TABLES_MAX = 16, DB_KEY_BYTES_MAX = 511, DB_VALUE_BYTES_MAX = 1024 * 1024 };

enum table_flags {
    TABLE_PLAIN = 0,
    TABLE_DIGEST = 1 << 0,  /* meta keeps the count and the sum of the rows' hashes */
    TABLE_UNSEALED = 1 << 1 /* the value proves itself (events: their chain hash) */
};

struct table_schema {
    const char *name;
    unsigned flags;
};

/* What a store is; a constant of the program that owns it, in common/api/records. Table 0.. as the
 * enum beside it; "meta" is added by us. */
struct db_schema {
    const char *name; /* "events" */
    uint32_t format;
    const struct table_schema *tables;
    size_t table_count;
    size_t map_bytes;
    bool is_durable; /* false: the registry, opened with MDB_NOSYNC, gone after a reboot */
};

struct store_identity {
    uint8_t id[16];          /* random at create; rows are bound to it */
    uint8_t incarnation[16]; /* random at create, restore and salvage */
};

struct db {
    const struct db_schema *schema;
    MDB_env *env;
    MDB_dbi tables[DB_TABLES_MAX];
    MDB_dbi meta;
    struct store_identity identity;
    struct file_lock lease;      /* writers only */
    bool is_writer;
    bool was_clean;              /* the clean flag as it was found; a writer clears it when it opens */
    dev_t device;                /* of data.mdb as opened */
    ino_t inode;
    char dir[4096];
};

/* A transaction. One at a time per process for writing. Values that it returned are valid until it
 * ends (readers) or until the next write (writers). */
struct db_txn {
    struct db *db;
    MDB_txn *txn;
    enum status status; /* the first failure of a write; commit returns it */
    bool is_write;
    struct { uint64_t count; uint8_t sum[32]; bool is_loaded, is_dirty; } digests[DB_TABLES_MAX];
};

/* Takes the lease (up to 5 s for a dying holder, then `locked`), creates the store if there is none,
 * has a child of this program probe it (db_probe_main, in `program --probe-store NAME DIR`), opens it.
 * data_loss: the probe or the open sequence found damage; the store has not been touched. */
enum status db_open_writer(struct db *db, const struct db_schema *schema, const char *dir);

/* Maps an existing store for reading, lock-free. not_found when there is none. */
enum status db_open_reader(struct db *db, const struct db_schema *schema, const char *dir);

/* For a dry run while no writer holds the lease: RDONLY | NOLOCK, leaving no trace. failed_precondition
 * when the lease is held. See db_is_stable. */
enum status db_open_without_trace(struct db *db, const struct db_schema *schema, const char *dir);

/* Whether the meta pages are still the ones found at open: what was read without locks then holds. */
enum status db_is_stable(struct db *db, bool *is_stable);

/* A writer's last commit sets the clean flag when `is_clean`. */
enum status db_close_cleanly(struct db *db);
void db_close(struct db *db);

/* Readers, at the first read of a turn: `aborted` when the file at this path is another one now
 * (restored, set aside) - close and open again. */
enum status db_check_same_file(const struct db *db);

/* Every 10 s in a writer: frees the slots of readers that died. */
enum status db_check_readers(struct db *db);

/* Pages used, of the map. */
enum status db_usage(const struct db *db, uint64_t *used_bytes, uint64_t *map_bytes);

/* The quick probe: what a program runs when its argv says `--probe-store NAME DIR`. Checks file length
 * against both meta pages, page size, flags, roots, then meta, digests of the flagged tables, and
 * `check_rows` of the store's own (may be NULL). The exit code is a status's. */
int db_probe_main(const struct db_schema *schema, const char *dir,
                  enum status (*check_rows)(struct db *db));
/* Runs that child and waits for it: OK, or data_loss (also when the child died of a signal). */
enum status db_probe(const struct db_schema *schema, const char *dir);

enum status db_begin_read(struct db *db, struct db_txn *txn);
enum status db_begin_write(struct db *db, struct db_txn *txn);
enum status db_commit(struct db_txn *txn); /* resource_exhausted: no space, nothing happened; else unknown */
void db_end(struct db_txn *txn);           /* aborts a write, ends a read; a zeroed or ended one is fine */

/* A value of our own in `meta` (sealed like every row). */
enum status db_meta_get(struct db_txn *txn, const char *key, struct span *value);
enum status db_meta_put(struct db_txn *txn, const char *key, struct span value);

#endif
