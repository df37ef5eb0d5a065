#ifndef SOLO_COMMON_DB_RESERVE_H
#define SOLO_COMMON_DB_RESERVE_H

#include "common/db/db.h"

/* What must not be refused when the disk is full (a kill, a revocation, a shutdown) has room: 16
 * MiB of the map, and 16 MiB of blocks behind the last page that is used, which belong to the file
 * already (a 32nd of a disk smaller than 512 MiB, but 256 KiB; they do not count in its length).
 * What grows is refused before they are touched.
 *
 * Besides, zeros are written ahead of the end of data.mdb: a commit then overwrites blocks that are
 * there instead of making the file longer, which would cost it an entry of the file system's
 * journal. */
enum { RESERVE_BYTES = 16 * 1024 * 1024 };

/* Between transactions of the writer: keeps both. When the disk refuses, or little is left of the
 * map, sets db->is_short_of_space; clears it when there is room again. */
void reserve_keep(struct db *db);

/* The bytes that whoever may wait can write in `folder`, so that as much as one store's reserve is
 * left free there: the stores on that disk go on growing. */
enum status reserve_room_beside(const char *folder, uint64_t *bytes);

#endif
