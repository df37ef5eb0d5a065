#ifndef SOLO_COMMON_DB_SLICES_H
#define SOLO_COMMON_DB_SLICES_H

#include "common/base/status.h"

/* Writing much beside somebody who syncs little: his syncs wait for whatever the disk has been
 * given before. So it is given a slice only when the one before the last is on the disk. Half as
 * much takes a third longer; twice as much is no faster, and he waits for half as long again. */
enum { SLICE_BYTES = 256 * 1024 };

/* Writes what comes out of the pipe `from`, to its end, into the new file `path`, and syncs it.
 * What was written stays in the page cache: whoever reads it back has no need of the disk. */
enum status slices_write(int from, const char *path);

#endif
