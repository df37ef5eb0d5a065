#ifndef SOLO_RECOVERYD_ACTUAL_H
#define SOLO_RECOVERYD_ACTUAL_H

#include "common/api/service_states.h"
#include "common/base/arena.h"
#include "common/daemon/settings.h"

/* What is there, whatever the log wants: from deployd when it answers; else from each supervisor
 * whose lock is held; and, of tenants without one, the rows of the registry whose process still
 * lives. */
struct actual_service {
    const char *tenant, *name;
    enum service_state state;
    uint64_t generation, since, pid, start_ticks;
    bool is_held;         /* by a supervisor */
    const char *instance; /* SOLO_INSTANCE of its processes, "" when it has none */
};

struct silent_tenant {
    struct silent_tenant *next;
    const char *name;
};

struct actual {
    struct arena arena;              /* of the names */
    struct actual_service *services; /* ascending by TENANT/NAME, each once */
    size_t count, capacity;
    struct silent_tenant *silent; /* whose supervisor lives and does not answer; in the arena */
    const char *source;           /* "deployd", "supervisors", "nothing runs" */
    uint8_t incarnation[16];      /* of the event log that it is compared with */
};

/* Changes nothing. `incarnation` is that of the event log, all zero for none: what supervisors hold
 * for another log, and what the registry tells of one, is left out, because deployd ends it before
 * it does anything else; such a supervisor is told on stderr. A supervisor that does not answer is
 * told on stderr, and its services are taken as the registry has them, as deployd does. */
enum status actual_read(const struct settings *settings, const uint8_t incarnation[16],
                        struct actual *actual);
/* NULL: there is no such service. */
const struct actual_service *actual_find(const struct actual *actual, const char *tenant,
                                         const char *name);
void actual_close(struct actual *actual);

#endif
