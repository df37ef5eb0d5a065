#ifndef SOLO_TENANTD_BUILD_CACHE_H
#define SOLO_TENANTD_BUILD_CACHE_H

#include "common/base/hash.h"
#include "common/base/status.h"
#include "tenantd/folder.h"

/* DATA/builds: what compilers made, by the hash of what they made it from. May be deleted at any
 * time, the folder too. All supervisors share the folder; a key names its tenant, and only
 * supervisors write there.
 *
 * A file is the artefact, then the hash of key and artefact: what was changed or cut off is removed
 * when it is read, and never served. */
struct build_cache {
    const struct folder *folder; /* not owned */
    const char *tenant;
    uint64_t bytes_max;
    uint64_t next; /* number of the next temporary file */
};

/* Removes what an earlier supervisor of this tenant did not finish. */
void build_cache_open(struct build_cache *cache, const struct folder *folder, const char *tenant,
                      uint64_t bytes_max);

/* Copies `size` bytes from the beginning of `artefact`, then removes the oldest ones that nobody
 * uses, until all are within the bound. resource_exhausted when the disk is full. */
enum status build_cache_put(struct build_cache *cache, const struct hash *key, int artefact,
                            uint64_t size);

/* Copies an artefact into the empty file `out` (or only checks it: -1) and makes it the newest.
 * `*pin` is a descriptor that keeps it in the cache as long as it is open; NULL for none.
 * not_found when it is not there, or was damaged. */
enum status build_cache_take(struct build_cache *cache, const struct hash *key, int out, int *pin);

#endif
