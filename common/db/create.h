#ifndef SOLO_COMMON_DB_CREATE_H
#define SOLO_COMMON_DB_CREATE_H

#include "common/db/db.h"

/* Makes the store at `dir` when there is none: under another name, committed, synced, renamed, the
 * directory synced. A power cut leaves no store or a whole one; what it left beside is removed the
 * next time. The caller holds the lease. data_loss when `dir` holds other files of a store but no
 * data. */
enum status store_create_if_absent(const struct db_schema *schema, const char *dir);

/* Makes a durable store at `dir`, which must not exist, with this store id, so that what is bound
 * to it elsewhere stays so, and another incarnation; `fill` puts into it what it shall hold, in as
 * many transactions as it likes. Synced when it returns. What a failure leaves is no store yet. */
enum status store_create_filled(const struct db_schema *schema, const char *dir,
                                const uint8_t id[16],
                                enum status (*fill)(struct db *db, void *context), void *context);

#endif
