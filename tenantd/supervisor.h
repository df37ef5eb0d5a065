#ifndef SOLO_TENANTD_SUPERVISOR_H
#define SOLO_TENANTD_SUPERVISOR_H

#include "common/base/clock.h"
#include "common/daemon/lifecycle.h"
#include "tenantd/builds.h"
#include "tenantd/endings.h"
#include "tenantd/helper.h"
#include "tenantd/kills.h"
#include "tenantd/notify.h"
#include "tenantd/reports.h"
#include "tenantd/service.h"
#include "tenantd/site.h"
#include "tenantd/watch.h"

/* All services of one tenant, their processes, and what is due in this turn of the loop. */
enum {
    INCARNATION_BYTES = 16,
    SERVICE_ROW_BYTES_MAX = 8 * 1024,
    SHUTDOWN_LINGER_MS = 5000, /* for acknowledgements after the last service */
};

struct supervisor {
    struct lifecycle *lifecycle;
    struct ev_loop *loop;
    struct site *site;
    struct rpc_server **server; /* to know whether answers are still unsent; filled later */
    char boot_id[BOOT_ID_BYTES];
    uint8_t incarnation[INCARNATION_BYTES];

    struct service *by_name, *by_pid; /* hash tables */
    struct service *changed;          /* rows that the watch has not seen */
    struct helper *helpers;           /* that run */
    struct notify notify;
    struct capture_hub hub;
    struct reports reports;
    struct kills kills;
    struct watch watch;
    struct endings endings; /* trees that are being ended */
    struct builds builds;
    struct usage_watch usage;

    struct ev_signal on_child;
    struct ev_prepare before_sleep;
    struct ev_timer linger, leftovers;

    uint64_t secret_requests;     /* made so far */
    uint64_t shutdown_timeout_ms; /* of the settings: for a SIGTERM */
    bool is_shutting_down, has_shut_down;
    uint64_t linger_until_ns;
    struct rpc_call *shutdown_calls; /* linked by `user` */
    uint64_t stopped, killed;
    struct buffer killed_names; /* packed texts */
    size_t killed_names_count;

    struct {
        uint64_t starts, exits;
    } counters;
};

enum status supervisor_open(struct supervisor *supervisor, struct lifecycle *lifecycle,
                            struct site *site);
/* Answers what waits with unavailable; services die with us. */
void supervisor_close(struct supervisor *supervisor);

struct service *supervisor_find(const struct supervisor *supervisor, const char *name);
/* Whose main process this is; whose last one led the session; who is this instance. */
struct service *supervisor_find_pid(const struct supervisor *supervisor, pid_t pid);
struct service *supervisor_find_session(const struct supervisor *supervisor, pid_t session);
struct service *supervisor_find_instance(const struct supervisor *supervisor, uint64_t generation,
                                         uint64_t nonce);
/* Which one runs as this; NULL: none. */
struct helper *supervisor_find_helper(const struct supervisor *supervisor, pid_t pid);
size_t supervisor_count(const struct supervisor *supervisor);

/* Ends every service, each within min(its grace, timeout_ms); `call` (may be NULL) is answered when
 * all are gone. Then ends the program when the reports are acknowledged or nobody watches. */
void supervisor_shutdown(struct supervisor *supervisor, uint64_t timeout_ms, struct rpc_call *call);

/* For service.c: */
/* Both false when there is no memory: then nothing has changed. */
bool supervisor_add(struct supervisor *supervisor, struct service *service);
void supervisor_remove(struct supervisor *supervisor, struct service *service);
void supervisor_changed(struct supervisor *supervisor, struct service *service);
bool supervisor_process_started(struct supervisor *supervisor, struct service *service);
/* Takes that back. */
void supervisor_process_lost(struct supervisor *supervisor, struct service *service);
/* helper->pid runs; its exit is told to helper->on_exit, unless it is forgotten before. */
void supervisor_helper_started(struct supervisor *supervisor, struct helper *helper);
void supervisor_helper_forget(struct supervisor *supervisor, struct helper *helper);
void supervisor_service_stopped(struct supervisor *supervisor, const struct service *service);

#endif
