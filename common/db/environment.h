#ifndef SOLO_COMMON_DB_ENVIRONMENT_H
#define SOLO_COMMON_DB_ENVIRONMENT_H

#include "common/db/db.h"
#include "common/db/meta_pages.h"

/* The parts of opening that every way of opening shares: creation, writer, reader, probe. */

/* Opens LMDB with MDB_NOTLS and `flags`; the data descriptor is close-on-exec afterwards. On
 * failure db_close cleans up. */
enum status environment_open(struct db *db, const struct db_schema *schema, const char *dir,
                             unsigned flags);

/* Before it: what LMDB would believe. data_loss also for more pages than the map can have, for
 * which LMDB would make the map larger. */
enum status environment_read_meta(const struct db_schema *schema, const char *dir,
                                  struct meta_pages *pages);

/* Of its map; a test may lower it. */
size_t environment_map_bytes(const struct db_schema *schema);

/* The tables of a new store. */
enum status environment_make_tables(struct db *db, MDB_txn *txn);

/* Reads who the store is, and opens the handles of its tables. data_loss when that row is broken or
 * a table missing, failed_precondition when it is another store, of another format, or one that was
 * retired: see db_refusal. */
enum status environment_open_tables(struct db *db, struct db_txn *txn);

/* Opens the tables of an environment that is only read, and reads who the store is. */
enum status environment_open_for_reading(struct db *db);
/* Another incarnation for the store whose identity was read. */
enum status environment_renew_incarnation(struct db *db, struct db_txn *txn);

/* Modes that do not depend on the umask: directory 2750 (0750 where that bit is forbidden), data
 * 0640, lock 0660; 0700 and 0600 of a private store. */
enum status environment_set_modes(const struct db_schema *schema, const char *dir);

/* Writes identity and empty digests into a new store; `id` is its store id, NULL: a random one. */
enum status environment_write_identity(struct db *db, struct db_txn *txn, const uint8_t *id);

/* The directory that DIR lies in. */
enum status environment_parent(char parent[4096], const char *dir);

#endif
