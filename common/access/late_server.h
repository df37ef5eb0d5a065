#ifndef SOLO_COMMON_ACCESS_LATE_SERVER_H
#define SOLO_COMMON_ACCESS_LATE_SERVER_H

#include <ev.h>

#include "common/daemon/lifecycle.h"
#include "common/rpc/server.h"

/* The server of a daemon that first asks eventd how far the log is. Requests wait in the listener
 * meanwhile, but not for ever: without eventd the server opens after a moment, and the daemon
 * decides what it can answer. */
struct late_server {
    /* the owner's part */
    struct lifecycle *lifecycle;
    const struct rpc_service *service;
    const struct rpc_limits *limits; /* NULL: the default ones */
    struct rpc_server **server;
    int listener;

    struct ev_timer patience;
    bool has_begun;
};

/* Health is what the owner has said. `at_once`: there is nothing to wait for. */
void late_server_begin(struct late_server *late, bool at_once);
/* Opens the server and says ready, once; what fails ends the daemon. */
void late_server_serve(struct late_server *late);

#endif
