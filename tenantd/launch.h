#ifndef SOLO_TENANTD_LAUNCH_H
#define SOLO_TENANTD_LAUNCH_H

#include "common/spec/spec.h"
#include "tenantd/limits.h"
#include "tenantd/log_file.h"
#include "tenantd/readiness.h"
#include "tenantd/restart.h"
#include "tenantd/site.h"
#include "tenantd/spawn.h"

/* What is kept of a spec while its service is held: everything that a start needs, in one block
 * without the code, which lies in its file. */
struct launch {
    struct restart_settings restart;
    struct log_settings logs;
    struct readiness_settings ready;
    struct spec_limits limits;
    struct limits_held held; /* how, since the last start */
    struct spawn_limits rlimits;
    uint64_t stop_timeout_ms;
    int stop_signal;
    bool has_code;
    int artefact_fd; /* of a build: keeps its artefact in the cache; -1 for none */
    uint32_t argument_count, environment_count, probe_count;
    const char *probe;                 /* the arguments of the readiness probe */
    const char *path;                  /* a PATH value */
    const char *working_dir;           /* "" for the service's own folder */
    const char *secrets, *secrets_end; /* see launch_secret_next; the same without any */
    char texts[];                      /* arguments, then environment ("K=V"), then those above */
};

struct credentials;

/* A secret that a start needs. */
struct launch_secret {
    const char *name;
    bool is_env, is_optional;
};
/* The one at `at`, from launch->secrets on, and where the next one stands. */
const char *launch_secret_next(const char *at, struct launch_secret *secret);
static inline bool launch_needs_secrets(const struct launch *launch)
{
    return launch->secrets != launch->secrets_end;
}

/* The arguments are those of spec_command. `files` says where code and artefact are as the service
 * sees them; `arena` is for what is needed meanwhile. launch_free gives `*launch` back. */
enum status launch_make(const struct spec *spec, const struct spec_files *files,
                        struct arena *arena, struct launch **launch);
void launch_free(struct launch *launch); /* NULL is fine */

/* RUN/tenants/T/SERVICE/GENERATION/FILE as the service sees it: its SITE_CODE or SITE_OUT. */
enum status launch_file_path(const struct site *site, const char *service, uint64_t generation,
                             const char *file, char path[PATH_MAX]);

/* Who is started: what its mark says. */
struct launch_identity {
    const char *service;
    uint64_t generation, nonce;
};
/* SOLO_INSTANCE: <store id>/<tenant>/<generation>/<nonce>. */
char *launch_mark(char mark[200], const struct site *site, const struct launch_identity *identity);

/* What such a mark of this site says; false when it says nothing. */
bool launch_mark_parse(const char *mark, const struct site *site, uint64_t *generation,
                       uint64_t *nonce);

/* Starts it with `output` and `error` as descriptors 1 and 2, in `cgroup` (or -1). `credentials`
 * are there when it needs secrets. Statuses of spawn, and of program_find; a refusal fills
 * `problem`. */
enum status launch_run(const struct launch *launch, const struct site *site,
                       const struct launch_identity *identity,
                       const struct credentials *credentials, int output, int error, int cgroup,
                       pid_t *pid, int *pidfd, struct problem *problem);

/* Starts its readiness probe: the same in everything but its arguments, without output, and without
 * the secrets that its process has in the environment. */
enum status launch_probe(const struct launch *launch, const struct site *site,
                         const struct launch_identity *identity, int cgroup, pid_t *pid,
                         struct problem *problem);

#endif
