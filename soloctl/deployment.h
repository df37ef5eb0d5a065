#ifndef SOLO_SOLOCTL_DEPLOYMENT_H
#define SOLO_SOLOCTL_DEPLOYMENT_H

#include "common/api/api.h"
#include "soloctl/arguments.h"
#include "soloctl/item.h"
#include "soloctl/target.h"

/* What `deploy` and `apply` share: the spec as it is sent, the answer as it is shown. */
enum {
    DEPLOY_TIMEOUT_MS = 60 * 1000, /* besides the time that a service has to become ready */
    DEPLOY_READY_DEFAULT_MS = 30 * 1000,
};

/* Packs the spec that the flags of `deploy` describe. Its fields are judged by the daemon: what is
 * not built there is refused there. `code` is the content of --code. */
enum status deployment_pack(const struct arguments *arguments, const struct target *target,
                            struct span code, struct buffer *spec, struct problem *problem);

/* "demo/web deployed: generation 12, running, pid 4711" and a line end. */
void deployment_print(const char *key, const struct service_deploy_reply *reply);
void deployment_item(const struct target *target, const struct service_deploy_reply *reply,
                     struct item *item);
/* The exit code of an answer: not 0 when it was to be waited for and only a secret will make it
 * ready, which is said on standard error. */
int deployment_exit_code(const char *key, const struct service_deploy_reply *reply, bool wait);
/* On standard error, when nothing separates the tenants. */
void deployment_isolation_note(const char *isolation);

#endif
