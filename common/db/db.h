#ifndef SOLO_COMMON_DB_DB_H
#define SOLO_COMMON_DB_DB_H

#include "common/base/file_lock.h"
#include "common/base/hash.h"
#include "common/base/status.h"

#include "common/db/probe.h"

#include <lmdb.h>

/* One LMDB environment with the rules of docs/databases.md: lease, creation under another name,
 * quick probe in an exec'd child, open sequence, rows that prove themselves, digests of tables. A
 * process opens a store once. One writer; any number of readers in other processes. */

enum { DB_TABLES_MAX = 16, DB_KEY_BYTES_MAX = 511, DB_VALUE_BYTES_MAX = 1024 * 1024 };

enum table_flags {
    TABLE_PLAIN = 0,
    TABLE_DIGEST = 1 << 0,   /* meta keeps the count and the sum of the rows' hashes */
    TABLE_UNSEALED = 1 << 1, /* the value proves itself (events: their chain hash) */
    TABLE_DERIVED = 1 << 2,  /* can be made again from other tables: a wrong digest is left to the
                              * owner, who compares after opening, instead of failing the probe; and
                              * a damaged row may be written over, which leaves the digest wrong */
    TABLE_LARGE = 1 << 3     /* may have too many rows for the probe, which leaves it alone: the
                              * owner compares it, once, or in slices while it works */
};

struct table_schema {
    const char *name;
    unsigned flags;
};

/* What a store is; a constant of the program that owns it, in common/api/records. Table 0.. as the
 * enum beside it; "meta" is added by us. */
struct db_schema {
    const char *name;  /* "events" */
    const char *owner; /* the daemon that writes it */
    uint32_t format;
    const struct table_schema *tables;
    size_t table_count;
    size_t map_bytes;
    bool is_durable; /* false: the registry, opened with MDB_NOSYNC, gone after a reboot */
    bool is_private; /* nobody but the owner may map it: directory 0700, files 0600 */
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
    struct file_lock lease; /* writers only */
    bool is_writer;
    bool was_clean; /* the clean flag as it was found (of one that is not, and was written, the
                     * diagnostics say so); a writer's first commit clears it, */
    bool is_marked_clean; /* until which it stands */
    dev_t device;         /* of data.mdb as opened */
    ino_t inode;
    uint64_t born_ns;        /* when that file was made; 0 where the file system does not tell */
    uint64_t found_txn;      /* its last transaction, as it was found */
    uint64_t meta_txnids[2]; /* without trace: of both meta pages, as found */
    MDB_txn *spare_reader;   /* a reset read transaction, renewed by the next one */
    uint64_t file_bytes;     /* length of data.mdb, as far as zeros were written ahead */
    uint64_t ballast_bytes;  /* of real blocks behind what is used: see reserve.h */
    uint64_t kept_bytes;     /* where those end */
    bool is_short_of_space;  /* nothing but the reserve is left: refuse what grows */
    bool has_met_the_end;    /* the last transaction had no room: the next one does not look for it,
                                so that what grows stays refused in it */
    bool is_failed;   /* a commit ended with an unknown outcome, or db_fail: nothing is written any
                         more */
    bool is_replaced; /* it failed because another file lies in its place */
    bool has_met_damage; /* a row or page that was read was not what was written; stays so */
    /* Called once, within that call, whoever made it: note it and have the process end. May be
     * NULL; set it after opening. */
    void (*on_failed)(void *context);
    void *on_failed_context;
    char dir[4096];
};

/* A transaction. One at a time per process for writing. Values that it returned are valid until it
 * ends (readers) or until the next write (writers). */
struct db_txn {
    struct db *db;
    MDB_txn *txn;
    enum status status; /* the first failure of a write; commit returns it */
    bool is_write;
    bool is_changed; /* a row was written or removed */
    bool puts_clean; /* its commit leaves the clean flag set */
    struct {
        uint64_t count;
        uint8_t sum[32];
    } digests[DB_TABLES_MAX];
    uint16_t digests_loaded, digests_dirty; /* a bit for each table */
    /* For who asks the same of `meta` with each row that it reads: what it found in this
     * transaction (an event log: log_cut_id). */
    struct {
        uint64_t value;
        bool is_known;
    } memo;
};

/* Takes the lease (up to 5 s for a dying holder, then `locked`), creates the store if there is
 * none, has a child of this program probe it (db_probe_main, in `program --probe-store NAME DIR`),
 * opens it. data_loss: the probe or the open sequence found damage; failed_precondition: see
 * db_refusal. In both cases the store has not been touched. */
enum status db_open_writer(struct db *db, const struct db_schema *schema, const char *dir);

/* Of a store that could not be opened as failed_precondition: what it is, against what this program
 * knows. Empty when it cannot be told. Nothing is written. */
enum { DB_REFUSAL_BYTES = 96 };
void db_refusal(const struct db_schema *schema, const char *dir, char text[DB_REFUSAL_BYTES]);

/* Maps an existing store for reading, lock-free. not_found when there is none. */
enum status db_open_reader(struct db *db, const struct db_schema *schema, const char *dir);

/* For a dry run while no writer holds the lease: RDONLY | NOLOCK, leaving no trace.
 * failed_precondition when the lease is held. See db_is_stable. */
enum status db_open_without_trace(struct db *db, const struct db_schema *schema, const char *dir);

/* Whether the meta pages are still the ones found at open: what was read without locks then holds.
 */
enum status db_is_stable(struct db *db, bool *is_stable);

/* A writer's last commit sets the clean flag: one of its own, or, with db_put_clean and db_close,
 * the caller's. */
enum status db_close_cleanly(struct db *db);
enum status db_put_clean(struct db_txn *txn);
void db_close(struct db *db);

/* Readers, at the first read of a turn: `aborted` when the file at this path is another one now
 * (restored, set aside) - close and open again. */
enum status db_check_same_file(const struct db *db);

/* In a writer: nothing is written any more, as after a commit whose outcome is unknown. */
void db_fail(struct db *db);
/* The same: what it would write is found by nobody. The disk is well, and the next process opens
 * what lies there now. */
void db_fail_replaced(struct db *db);

/* For who finds out itself that a row is damaged: passes `status` on, and notes data_loss. */
enum status db_note(struct db *db, enum status status);

/* Every 10 s in a writer: frees the slots of readers that died. */
enum status db_check_readers(struct db *db);
/* The same, between its transactions: whether there is room again for what was short of it. */
void db_look_for_space(struct db *db);

/* The number of the last transaction that was committed, by the file itself. */
uint64_t db_last_txn(const struct db *db);

/* Pages used, of the map. */
enum status db_usage(const struct db *db, uint64_t *used_bytes, uint64_t *map_bytes);

/* Slots for readers, of all processes. */
enum status db_readers(const struct db *db, uint64_t *used, uint64_t *slots);

enum status db_begin_read(struct db *db, struct db_txn *txn);
/* unavailable (not logged again): the store has failed. */
enum status db_begin_write(struct db *db, struct db_txn *txn);
/* Ends the transaction. When a write in it had failed, returns that status and nothing happened.
 * resource_exhausted: no space, nothing happened. unknown: it may be there after a restart or not.
 */
enum status db_commit(struct db_txn *txn);
void db_end(struct db_txn *txn); /* aborts a write, ends a read; a zeroed or ended one is fine */

/* A value of our own in `meta` (sealed like every row). */
enum status db_meta_get(struct db_txn *txn, const char *key, struct span *value);
enum status db_meta_put(struct db_txn *txn, const char *key, struct span value);
/* One that is not there is fine. */
enum status db_meta_delete(struct db_txn *txn, const char *key);

#endif
