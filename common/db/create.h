#ifndef SOLO_COMMON_DB_CREATE_H
#define SOLO_COMMON_DB_CREATE_H

#include "common/db/db.h"

/* Makes the store at `dir` when there is none: under another name, committed, synced, renamed, the
 * directory synced. A power cut leaves no store or a whole one; what it left beside is removed the
 * next time. The caller holds the lease. data_loss when `dir` holds other files of a store but no
 * data. */
enum status store_create_if_absent(const struct db_schema *schema, const char *dir);

#endif
