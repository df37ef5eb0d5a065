/* Apart from access.c because of the look-up of the group: the C library does it by way of shared
 * objects, which a program that is linked without them cannot have. */
#include "common/access/operators.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

static bool find_group(const char *name, gid_t *gid)
{
    char text[16 * 1024];
    struct group group, *found = NULL;
    int error = getgrnam_r(name, &group, text, sizeof text, &found);
    if (found != NULL)
        *gid = found->gr_gid;
    else if (error != 0 && error != ENOENT)
        /* Root and our own uid remain what they are. */
        log_warning("group cannot be looked up", "group", name, "reason", strerror(error));
    return found != NULL;
}

enum status access_open(struct access *access, const struct settings *settings,
                        const uint8_t *run_key)
{
    /* Any other value gives uids no rights; settings_load has checked it. */
    bool is_uid = strcmp(settings->operator, "uid") == 0;
    *access = (struct access){ .is_operator_by_uid = is_uid, .own_uid = geteuid() };
    struct rpc_groups *privileged = &access->privileged;
    if (is_uid)
        access->has_operator_group = find_group(OPERATOR_GROUP, &access->operator_group);
    if (access->has_operator_group)
        privileged->gids[privileged->count++] = access->operator_group;
    if (find_group(STORE_GROUP, &privileged->gids[privileged->count]))
        privileged->count++;
    if (run_key != NULL) {
        memcpy(access->run_key, run_key, sizeof access->run_key);
        access->has_run_key = true;
    }
    return STATUS_OK;
}
