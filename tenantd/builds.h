#ifndef SOLO_TENANTD_BUILDS_H
#define SOLO_TENANTD_BUILDS_H

#include "common/rpc/server.h"
#include "tenantd/build.h"
#include "tenantd/build_cache.h"

/* All builds of a supervisor: few run at once, the others wait; who wants the same as another
 * shares its build. What was built is in the cache, and starts take it from there. */
struct builds {
    struct supervisor *supervisor;
    struct build_cache cache;
    uint64_t timeout_ms;            /* of each */
    struct build *queued, *running; /* lists; running ones are running or ending */
    struct build_wait *waits;       /* calls that are owed an answer */
    unsigned queued_count, running_count;
    size_t queued_bytes;
    uint64_t next; /* number of the next build */
    uint64_t built, cached, failed;
};

void builds_open(struct builds *builds, struct supervisor *supervisor, uint64_t cache_bytes_max,
                 uint64_t timeout_ms);
/* Answers what waits with unavailable. */
void builds_close(struct builds *builds);

/* Has the artefact of this spec made: the call is deferred, or `*is_cached` and nothing to wait
 * for. A refusal fills the call's problem. `packed` is what `spec` was read from. */
enum status builds_order(struct builds *builds, struct rpc_call *call, const char *service,
                         struct span packed, const struct spec *spec, bool *is_cached);
/* Nobody wants what was asked for by this service any more (NULL: by all): their calls are answered
 * with `status` and `why`, and what nobody else waits for is ended. */
void builds_cancel(struct builds *builds, const char *service, enum status status, const char *why);
bool builds_are_done(const struct builds *builds);

/* Copies the artefact of this spec to RUN/tenants/T/SERVICE/GENERATION/out. `*pin` keeps it in the
 * cache as long as it is open. not_found when it is not there: it has to be built. */
enum status builds_take(struct builds *builds, const struct spec *spec, const char *service,
                        uint64_t generation, int *pin, struct problem *problem);

/* Whose is a process (endings.h)? NULL for no build's. */
struct build *builds_find_session(const struct builds *builds, pid_t session);
struct build *builds_find_nonce(const struct builds *builds, uint64_t nonce);

#endif
