#ifndef SOLO_VAULTD_METHODS_H
#define SOLO_VAULTD_METHODS_H

#include "common/access/resource_watch.h"
#include "vaultd/delivery.h"
#include "vaultd/denials.h"
#include "vaultd/opening.h"
#include "vaultd/rotation.h"
#include "vaultd/verification.h"

/* What vaultd answers, and the turn around it. */
struct vaultd {
    struct vault vault;
    struct opening opening;
    struct rotation rotation;
    struct verification verification;
    struct denials denials;
    struct delivery delivery;
    struct resource_watch resources;
    struct buffer items, list; /* of the answer that is being made */
    bool must_tell_seal;       /* sealed, but the event of that is not on disk yet */
    bool is_damaged;           /* the store was not opened: everything is data_loss */
};

/* Fills routes, context and the turn's callbacks; the caller adds authorise and access. */
void vaultd_service(struct vaultd *vaultd, struct rpc_service *service);
/* Stops what vaultd does by itself; forgets the keys, closes the store. */
void vaultd_stop(struct vaultd *vaultd);
void vaultd_close(struct vaultd *vaultd);

/* The bounds of its server: what waits to be sent lies in locked memory. */
struct rpc_limits vaultd_limits(void);

/* Counters for daemon.stats. */
void vaultd_write_counters(void *context, struct buffer *buffer);

#endif
