#ifndef SOLO_SOLOD_BOOT_H
#define SOLO_SOLOD_BOOT_H

#include "common/daemon/lifecycle.h"
#include "common/daemon/settings.h"
#include "solod/daemons.h"
#include "solod/instance.h"
#include "solod/recovery.h"
#include "solod/shutdown.h"
#include "solod/token_asker.h"
#include "solod/verification.h"
#include "solod/waiters.h"

/* Everything solod is made of, and how far the whole of Solo has come. */
struct solod {
    const struct settings *settings;
    struct lifecycle *lifecycle;
    struct token_asker tokens; /* who may call */
    struct daemons daemons;
    struct recovery recovery;
    struct verification verification;
    struct shutdown shutdown;
    struct waiters waiters;
    uint64_t started_ns; /* since boot */
    uint64_t started_wall_ns;
    uint64_t ready_wall_ns; /* when everything had started for the first time */
    bool was_clean;         /* the shutdown killed nothing */
};

/* Opens the daemons' sockets and starts the first daemon; the rest follows from the loop. The
 * settings, the lifecycle and the instance must outlive it. */
enum status solod_open(struct solod *solod, const struct settings *settings,
                       struct lifecycle *lifecycle, const struct instance *instance);
void solod_close(struct solod *solod);

/* The settings have changed: tells the daemons too. */
void solod_reload(struct solod *solod);

/* starting, recovering, ready, degraded or stopping; `reason` says why it is not ready. */
enum { REASON_TEXT_BYTES = 256 };
const char *solod_state(const struct solod *solod, char reason[REASON_TEXT_BYTES]);
/* Everything has started and recovery has ended, and no daemon is away right now. */
bool solod_is_settled(const struct solod *solod);

#endif
