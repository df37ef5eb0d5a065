/* Health, refusals and the parent are given the same words, with the next command in them. */
#include "common/access/damaged_store.h"

#include <stdio.h>
#include <string.h>

#include "common/access/daemon_methods.h"
#include "common/daemon/parent.h"

static struct {
    enum status status;
    const char *daemon;
    char reason[256];
} damage = { .status = STATUS_OK };

void damaged_store_say(const char *daemon, enum status status, const char *dir)
{
    const char *slash = strrchr(dir, '/');
    const char *folder = slash == NULL ? dir : slash + 1;
    damage.status = status;
    damage.daemon = daemon;
    if (status == STATUS_IO)
        snprintf(damage.reason, sizeof damage.reason,
                 "its store cannot be read: see the kernel's log about the disk, then "
                 "`soloctl daemon restart %s`",
                 daemon);
    else if (strcmp(folder, "events") == 0)
        snprintf(damage.reason, sizeof damage.reason,
                 "its store is damaged: stop Solo and `recoveryd salvage BACKUP`, which makes "
                 "a log of what is whole and keeps the folder %s aside",
                 folder);
    else
        snprintf(damage.reason, sizeof damage.reason,
                 "its store is damaged: keep a copy of its folder %s, stop Solo and put a "
                 "backup back with `soloctl restore`",
                 folder);
    daemon_health_set("damaged", "%s", damage.reason);
    parent_say("damaged (%s): %s", dir, damage.reason);
}

const char *damaged_store_in_places(const char *folder)
{
    return strcmp(folder, "events") == 0
               ? "its store is damaged in places, what is whole goes on: `recoveryd verify --full` "
                 "names them; stop Solo and `recoveryd salvage BACKUP`, which makes a log of what "
                 "is proven"
               : "its store is damaged in places, what is whole goes on: `recoveryd verify --full` "
                 "names them and says what to do";
}

enum status damaged_store_refuse(void *context, struct rpc_call *call)
{
    (void)context;
    return damage.status == STATUS_OK ? STATUS_OK
                                      : problem_set(&call->problem, STATUS_DATA_LOSS, "", "%s: %s",
                                                    damage.daemon, damage.reason);
}
