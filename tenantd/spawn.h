#ifndef SOLO_TENANTD_SPAWN_H
#define SOLO_TENANTD_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/status.h"

/* What each process of it may have at most; 0: what we may ourselves. */
struct spawn_limits {
    uint64_t files;        /* 1024 (soft) when 0 */
    uint64_t memory_bytes; /* that it may write to and shares with nobody (RLIMIT_DATA) */
    uint64_t file_bytes;   /* of one file that it writes (RLIMIT_FSIZE) */
    uint64_t tasks;        /* of its uid together (RLIMIT_NPROC); holds for its forks */
    int niceness;          /* as setpriority takes it; 0: ours */
};

/* Everything that a service's process begins with. Whatever is not named here it does not get: its
 * descriptors are 0, 1 and 2, its environment is `environment`, its signals are at their defaults,
 * it leads a session of its own, has no capabilities and cannot gain any, and it dies with us. */
struct spawn_request {
    const char *program; /* absolute */
    char *const *arguments;
    char *const *environment;
    const char *working_dir;
    int input, output, error; /* become 0, 1 and 2 */
    bool has_ids;             /* as root: run as uid and gid, without groups */
    uid_t uid;
    gid_t gid;
    int cgroup; /* directory in which it begins, or -1 */
    struct spawn_limits limits;
};

/* Why a program was not started: the step ("exec", "chdir", ...) and its errno. */
struct spawn_failure {
    const char *step;
    int error;
};

/* Starts the program and returns when it has been exec'd. failed_precondition, with `failure`
 * filled, when the child could not become it; resource_exhausted or another status (logged) when
 * there could be no child. `pidfd` may be NULL; otherwise the caller closes it. */
enum status spawn(const struct spawn_request *request, pid_t *pid, int *pidfd,
                  struct spawn_failure *failure);

#endif
