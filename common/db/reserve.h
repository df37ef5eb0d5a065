#ifndef SOLO_COMMON_DB_RESERVE_H
#define SOLO_COMMON_DB_RESERVE_H

#include "common/db/db.h"

/* Zeros written ahead of the end of data.mdb. A commit then overwrites blocks that are there
 * instead of making the file longer, which would cost it an entry of the file system's journal; and
 * when the disk is full, what lies ahead is still room for what must not be refused. */

/* Between transactions of the writer: writes more zeros when little is left. When the disk refuses,
 * or little is left of the map, sets db->is_short_of_space; clears it when there is room again. */
void reserve_keep(struct db *db);

#endif
