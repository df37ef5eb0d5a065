#ifndef SOLO_COMMON_DB_META_PAGES_H
#define SOLO_COMMON_DB_META_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

/* What the first two pages of an LMDB 0.9 file say, read with pread(2) before LMDB may map it: it
 * divides by the page size and follows the roots without a look. */
struct meta_pages {
    uint64_t txnids[2];
    uint64_t file_bytes;
    uint32_t page_bytes;
    uint64_t pages_used; /* by the newer of the two */
};

/* data_loss (logged) when the file cannot be what LMDB wrote. A file that is shorter than
 * pages_used is accepted here: LMDB need not write a last page that was taken and freed within one
 * transaction. See the probe. */
enum status meta_pages_read(const char *dir, struct meta_pages *pages);

#endif
