#ifndef SOLO_DEPLOYD_REGISTRY_H
#define SOLO_DEPLOYD_REGISTRY_H

#include "common/api/records/schemas.h"
#include "deployd/catalog.h"

/* RUN/registry: the actual state, one row per service that a supervisor holds (or that could not be
 * started), one per running supervisor. For recoveryd, which maps it; deployd never decides by it.
 * It need not survive anything: a damaged one is made anew, what could not be written is written
 * again as soon as it can. */
struct registry {
    struct db db;
    bool is_open;
    bool has_failed;  /* said so already */
    bool is_complete; /* the catalog has been told by every supervisor what it holds */
    /* A write has failed: rows may be missing or old. Once a second all are tried again. */
    bool is_behind;
    uint64_t failed_ns;  /* since boot */
    const char *boot_id; /* the caller's */
    char dir[4096];
};

enum status registry_open(struct registry *registry, const char *run_dir);
void registry_close(struct registry *registry);

/* Before anything of it is used: rows of services of another event log say nothing, and are
 * forgotten. */
void registry_belong(struct registry *registry, const uint8_t incarnation[16]);

/* Everything that changed in this turn of the loop (all there is, when a write has failed), in one
 * transaction; then lets go of services that nobody refers to any more. */
void registry_flush(struct registry *registry, struct catalog *catalog);

/* What was written of a service, by an earlier deployd perhaps; its texts live in the arena. */
enum status registry_find(struct registry *registry, const char *key, struct arena *arena,
                          struct service_row *row);

/* The same for every service of a tenant. The arena is reset after each. */
void registry_each(struct registry *registry, const char *tenant, struct arena *arena,
                   void (*take)(void *context, const struct service_row *row), void *context);

/* The supervisor of a tenant: its pid, 0 when none runs. `boot_id` must stay. */
void registry_put_supervisor(struct registry *registry, const char *tenant, uint64_t pid,
                             const char *boot_id);

/* What was last put; 0 for none of this boot. */
uint64_t registry_supervisor_pid(struct registry *registry, const char *tenant,
                                 const char *boot_id);

/* A packed map about the last verification, kept for this boot; empty for none. */
void registry_put_verified(struct registry *registry, struct span map);
struct span registry_verified(struct registry *registry, uint8_t *room, size_t size);

/* Forgets rows of services that the catalog, which is now complete, does not have: what an earlier
 * deployd left behind. */
void registry_prune(struct registry *registry, const struct catalog *catalog);

#endif
