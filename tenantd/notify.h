#ifndef SOLO_TENANTD_NOTIFY_H
#define SOLO_TENANTD_NOTIFY_H

#include <ev.h>

#include "common/base/problem.h"
#include "common/daemon/notify_message.h"
#include "tenantd/site.h"

/* The socket that services with `ready.by` notify find in NOTIFY_SOCKET: one for the tenant, in its
 * folder of RUN, made when the first of them is started. */
struct notify {
    bool is_open;
    int fd;
    struct ev_io on_readable;
    void (*told)(void *context, const struct notify_message *message); /* with a pid */
    void *context;
};

/* Nothing to do when it is open already. failed_precondition when its path is too long for a
 * socket's address. */
enum status notify_open(struct notify *notify, struct ev_loop *loop, const struct site *site,
                        struct problem *problem);
void notify_close(struct notify *notify, struct ev_loop *loop);

/* As services see it. */
char *notify_path(const struct site *site, char path[PATH_MAX]);

#endif
