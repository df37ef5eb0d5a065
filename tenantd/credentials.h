#ifndef SOLO_TENANTD_CREDENTIALS_H
#define SOLO_TENANTD_CREDENTIALS_H

#include "common/base/buffer.h"
#include "common/base/problem.h"
#include "tenantd/launch.h"
#include "tenantd/site.h"

/* The secrets of one start: files for the service's uid in a folder of its own, and what goes into
 * the environment of its process. Starts zeroed. */
struct credentials {
    struct buffer environment; /* "K=V" texts, until credentials_forget */
    size_t environment_count;
    struct buffer versions; /* packed: a map of name to version */
};

/* Has the folder for all services of the tenant; where we have a mount namespace it is a tmpfs of
 * its own that nobody else sees. Once, when paths are as services see them. */
enum status credentials_open(struct site *site);

/* What a descriptor of secret.deliver holds becomes the credentials of this generation; what was
 * there before is removed. failed_precondition with the reason in `problem` when it is not what
 * `launch` names, or cannot be given in the way it asks for. */
enum status credentials_put(const struct site *site, const char *service, uint64_t generation,
                            const struct launch *launch, int fd, struct credentials *credentials,
                            struct problem *problem);

/* The process has been made: no value stays in our memory. */
void credentials_forget(struct credentials *credentials);
/* Its process tree has ended: the files go. Fine when there are none. */
void credentials_remove(const struct site *site, const char *service);
void credentials_close(struct credentials *credentials);

#endif
