#ifndef SOLO_TENANTD_BUILD_H
#define SOLO_TENANTD_BUILD_H

#include <ev.h>

#include "common/spec/build.h"
#include "tenantd/endings.h"
#include "tenantd/helper.h"
#include "tenantd/output_tail.h"
#include "tenantd/site.h"

/* One run of a compiler, in a scratch folder of its own.
 *
 *   queued ──► running ──► ending ──► done
 *      └───────────────────────────────►
 *
 * running: the compiler's process lives. ending: it has exited, and the rest of its tree is being
 * ended. done: `status` and `problem` say what came of it, `fd` is its scratch folder. */
enum build_state { BUILD_QUEUED, BUILD_RUNNING, BUILD_ENDING, BUILD_DONE, BUILD_STATES };

struct build {
    struct build *previous, *next; /* in whatever list its owner keeps */
    struct supervisor *supervisor;
    enum build_state state;
    char name[NAME_BYTES_MAX + 1]; /* of its scratch folder and its cgroup: no service's */
    struct hash key;
    struct span spec;                     /* packed, owned; until it runs */
    char compiler[PATH_MAX], shown[64];   /* its file, and how the spec calls it */
    void (*on_done)(struct build *build); /* may free it */

    struct helper helper; /* the compiler */
    struct ending ending;
    pid_t session;
    uint64_t nonce; /* of its mark */
    int fd;         /* its scratch folder, -1 before */
    bool has_scratch;
    struct ev_io on_output; /* fd -1: nobody holds the other end any more */
    struct ev_timer deadline, measure;
    struct output_tail tail;
    uint64_t output_bytes, began_ns, took_ms;
    int exit_status;
    bool was_killed;
    bool lacked_memory; /* the kernel killed something of it for that */

    enum status status;
    struct problem problem;
};

/* In state queued. Copies the packed spec. NULL without memory. */
struct build *build_new(struct supervisor *supervisor, uint64_t number, const struct hash *key,
                        struct span spec, const struct spec *read);
/* Nothing of it runs any more: it is queued or done, or the supervisor ends. */
void build_free(struct build *build);

/* Runs it. on_done follows in any case, perhaps before this returns. */
void build_begin(struct build *build);
/* Ends it: done with this status and reason, at once when it is queued. */
void build_end(struct build *build, enum status status, const char *why);

/* The last whole lines of what it printed, behind the reason: no log keeps them. */
void build_add_output(struct build *build);

bool build_may_move(enum build_state from, enum build_state to);

#endif
