/* Apart from access.c because of the look-up of the group: the C library does it by way of shared
 * objects, which a program that is linked without them cannot have. */
#include "common/access/operators.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

static void find_operator_group(struct access *access)
{
    char text[16 * 1024];
    struct group group, *found = NULL;
    int error = getgrnam_r(OPERATOR_GROUP, &group, text, sizeof text, &found);
    if (found != NULL) {
        access->operator_group = found->gr_gid;
        access->has_operator_group = true;
    } else if (error != 0 && error != ENOENT) {
        /* Root and our own uid remain operators. */
        log_warning("group cannot be looked up", "group", OPERATOR_GROUP, "reason",
                    strerror(error));
    }
}

enum status access_open(struct access *access, const struct settings *settings,
                        const uint8_t *run_key)
{
    /* Any other value gives uids no rights; settings_load has checked it. */
    bool is_uid = strcmp(settings->operator, "uid") == 0;
    *access = (struct access){ .is_operator_by_uid = is_uid, .own_uid = geteuid() };
    if (is_uid)
        find_operator_group(access);
    if (run_key != NULL) {
        memcpy(access->run_key, run_key, sizeof access->run_key);
        access->has_run_key = true;
    }
    return STATUS_OK;
}
