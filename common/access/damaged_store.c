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

bool damaged_store_is_lasting(enum status status)
{
    return status == STATUS_DATA_LOSS || status == STATUS_IO ||
           status == STATUS_FAILED_PRECONDITION;
}

static void explain(const struct db_schema *schema, const char *dir)
{
    char refusal[DB_REFUSAL_BYTES];
    if (damage.status == STATUS_IO)
        snprintf(damage.reason, sizeof damage.reason,
                 "its store cannot be read: see the kernel's log about the disk, then "
                 "`soloctl daemon restart %s`",
                 schema->owner);
    else if (damage.status == STATUS_FAILED_PRECONDITION) {
        db_refusal(schema, dir, refusal);
        snprintf(damage.reason, sizeof damage.reason,
                 "its store is not for this program: %s. Start the version of Solo that wrote it, "
                 "or keep a copy of its folder %s, stop Solo and `soloctl restore` a backup",
                 refusal[0] == '\0' ? "the diagnostics say why" : refusal, schema->name);
    } else if (strcmp(schema->name, "events") == 0)
        snprintf(damage.reason, sizeof damage.reason,
                 "its store is damaged: stop Solo and `recoveryd salvage BACKUP`, which makes "
                 "a log of what is whole and keeps the folder %s aside",
                 schema->name);
    else
        snprintf(damage.reason, sizeof damage.reason,
                 "its store is damaged: keep a copy of its folder %s, stop Solo and put a "
                 "backup back with `soloctl restore`",
                 schema->name);
}

void damaged_store_say(const struct db_schema *schema, enum status status, const char *dir)
{
    damage.status = status;
    damage.daemon = schema->owner;
    explain(schema, dir);
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
    if (damage.status == STATUS_OK)
        return STATUS_OK;
    bool is_whole = damage.status == STATUS_FAILED_PRECONDITION;
    return problem_set(&call->problem, is_whole ? damage.status : STATUS_DATA_LOSS, "", "%s: %s",
                       damage.daemon, damage.reason);
}
