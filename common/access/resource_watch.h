#ifndef SOLO_COMMON_ACCESS_RESOURCE_WATCH_H
#define SOLO_COMMON_ACCESS_RESOURCE_WATCH_H

#include <ev.h>

#include "common/base/buffer.h"
#include "common/db/db.h"

/* What a daemon can run out of (common/api/resources.def), looked at every ten seconds, so that it
 * is told before the limit is met: when 90 % are used, and again only after less than 75 % were. */

enum resource {
#define RESOURCE(name, words, next) RESOURCE_##name,
#include "common/api/resources.def"
#undef RESOURCE
    RESOURCES
};

struct resource_use {
    uint64_t used, allowed; /* `allowed` 0: there is no bound, or it cannot be known here */
};

struct resource_watch {
    const char *daemon;
    struct db *store;   /* its map and its slots for readers, while it is open */
    const char *folder; /* its disk ... */
    const char
        *unless_with; /* ... but when this lies on the same: another one tells. May be NULL */
    bool counts_processes;
    const char *root; /* where /proc and /sys are looked for: NULL but in tests */
    /* Has a resource_usage_high recorded, or sends it on its way; one that does so says
     * resource_watch_lost when it went wrong, and takes no other one (not OK) until it knows. Not
     * OK: it could not be now; asked again in a second. */
    enum status (*tell)(void *context, const struct buffer *payload);
    void *context;

    struct ev_loop *loop;
    struct ev_timer timer;
    unsigned high, told, newest; /* bits of enum resource; newest: what was told last */
    char reason[256];            /* for the daemon's health: "" while nothing is high */
};

/* The caller has filled daemon to context; the store stays open until resource_watch_close. */
void resource_watch_open(struct resource_watch *watch, struct ev_loop *loop);
/* Not opened is fine. */
void resource_watch_close(struct resource_watch *watch);

/* What is in use now; for resource_watch_judge. */
void resource_watch_read(const struct resource_watch *watch, struct resource_use uses[RESOURCES]);
/* Tells what has become high. false: something is still to be told. */
bool resource_watch_judge(struct resource_watch *watch, const struct resource_use uses[RESOURCES]);
/* What `tell` took last was not recorded after all: the next look tells it again. */
void resource_watch_lost(struct resource_watch *watch);

#endif
