#ifndef SOLO_COMMON_ACCESS_DAEMON_METHODS_H
#define SOLO_COMMON_ACCESS_DAEMON_METHODS_H

#include "common/access/access.h"
#include "common/rpc/server.h"

/* The daemon.* methods and token.check, the same for all. A program calls daemon_methods_setup once
 * at start; the routes find it there. */
struct daemon_self {
    const char *name;
    struct access *access;
    /* Writes the program's counters as one map. May be NULL. */
    void (*write_counters)(void *context, struct buffer *buffer);
    void *context;
    /* Of a daemon with a store: set while there is no room for it. May be NULL. */
    const bool *is_short_of_space;
    /* Set when a row of it was found damaged, while it goes on with what is whole, and what that
     * means for a person. May be NULL. */
    const bool *has_met_damage;
    const char *damage;
    /* What is nearly used up, in words, "" for nothing (resource_watch.reason). May be NULL. */
    const char *shortage;
};

/* What write_counters is made of. */
struct counter {
    const char *name;
    uint64_t value;
};
void counters_write(struct buffer *buffer, const struct counter *counters, size_t count);

void daemon_methods_setup(const struct daemon_self *self, const struct rpc_route *routes);
/* What daemon.health answers from now on: "ready", "starting", "stopping", "damaged" and why. (One
 * that is ready says besides when it is short of space, or of something else.) */
void daemon_health_set(const char *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

enum status daemon_hello_route(void *context, struct rpc_call *call, const void *request,
                               void *reply);
enum status daemon_health_route(void *context, struct rpc_call *call, const void *request,
                                void *reply);
enum status daemon_describe_route(void *context, struct rpc_call *call, const void *request,
                                  void *reply);
enum status daemon_stats_route(void *context, struct rpc_call *call, const void *request,
                               void *reply);
enum status token_check_route(void *context, struct rpc_call *call, const void *request,
                              void *reply);

#endif
