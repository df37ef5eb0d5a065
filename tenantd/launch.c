/* From spec to process. */
#include "tenantd/launch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buffer.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tenantd/credentials.h"
#include "tenantd/notify.h"

enum {
    TEXTS_BYTES_MAX = 4 * 1024 * 1024,
    ARGUMENTS_MAX = 2 * SPEC_LIST_MAX + 1,
    /* PATH, HOME, NOTIFY_SOCKET, CREDENTIALS_DIRECTORY and the three SOLO_* */
    ENVIRONMENT_OWN = 7,
    VARIABLE_BYTES = PATH_MAX + 64,
    MARK_BYTES = 200,
};
_Static_assert(TEXTS_BYTES_MAX > 4 * SPEC_BYTES_MAX, "replacing {code} makes texts longer");

static void put_text(struct buffer *texts, const char *text)
{
    buffer_append(texts, text, strlen(text) + 1);
}

static void put_list(struct buffer *texts, struct str_list list)
{
    for (size_t i = 0; i < list.count; i++)
        put_text(texts, list.items[i]);
}

/* The three that say who a process is are ours, whatever the spec says. */
static bool is_reserved(const char *key)
{
    return strcmp(key, "SOLO_TENANT") == 0 || strcmp(key, "SOLO_SERVICE") == 0 ||
           strcmp(key, "SOLO_INSTANCE") == 0;
}

static uint32_t put_environment(struct buffer *texts, const struct spec *spec)
{
    uint32_t count = 0;
    for (size_t i = 0; i < spec->env_count; i++) {
        if (is_reserved(spec->env[i].key))
            continue;
        buffer_append_text(texts, spec->env[i].key);
        buffer_append_text(texts, "=");
        put_text(texts, spec->env[i].value);
        count++;
    }
    return count;
}

enum { SECRET_PLAIN = '0', SECRET_IS_ENV = 1, SECRET_IS_OPTIONAL = 2 };

static void put_secrets(struct buffer *texts, const struct spec *spec)
{
    for (size_t i = 0; i < spec->secret_count; i++) {
        const struct spec_secret *secret = &spec->secrets[i];
        const char kind = (char)(SECRET_PLAIN + (secret->is_env ? SECRET_IS_ENV : 0) +
                                 (secret->is_optional ? SECRET_IS_OPTIONAL : 0));
        buffer_append(texts, &kind, 1);
        put_text(texts, secret->name);
    }
}

const char *launch_secret_next(const char *at, struct launch_secret *secret)
{
    int kind = *at - SECRET_PLAIN;
    *secret = (struct launch_secret){ at + 1, (kind & SECRET_IS_ENV) != 0,
                                      (kind & SECRET_IS_OPTIONAL) != 0 };
    return at + strlen(at) + 1;
}

enum status launch_make(const struct spec *spec, const struct spec_files *files,
                        struct arena *arena, struct launch **launch)
{
    AUTO(buffer_close) struct buffer texts = { .limit = TEXTS_BYTES_MAX };
    struct str_list arguments, probe = spec->ready.argv;
    TRY(spec_command(spec, files, arena, &arguments));
    if (spec->code.size > 0)
        TRY(spec_places_fill(probe, files, arena, &probe));
    put_list(&texts, arguments);
    uint32_t variables = put_environment(&texts, spec);
    size_t path_at = texts.size;
    put_text(&texts, spec_path(spec));
    size_t working_dir_at = texts.size;
    put_text(&texts, spec->working_dir == NULL ? "" : spec->working_dir);
    size_t probe_at = texts.size;
    put_list(&texts, probe);
    size_t secrets_at = texts.size;
    put_secrets(&texts, spec);
    struct launch *made = texts.is_exhausted ? NULL : malloc(sizeof *made + texts.size);
    if (made == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "keep spec", "service", spec->name);
    ensure(arguments.count > 0);
    ensure(arguments.count <= ARGUMENTS_MAX);
    memcpy(made->texts, texts.data, texts.size);
    made->restart = (struct restart_settings){ spec->restart.policy, spec->restart.initial_ms,
                                               spec->restart.max_ms, spec->restart.max_restarts,
                                               spec->restart.window_ms };
    made->logs = (struct log_settings){ spec->logs.max_bytes, spec->logs.files };
    made->ready = (struct readiness_settings){ spec->ready.by, spec->ready.timeout_ms,
                                               (uint16_t)spec->ready.port };
    made->limits = spec->limits;
    made->held = (struct limits_held){ 0 };
    made->rlimits = (struct spawn_limits){ 0 };
    made->stop_timeout_ms = spec->stop.timeout_ms;
    made->stop_signal = spec->stop.signal;
    made->has_code = spec->code.size > 0;
    made->artefact_fd = -1;
    made->argument_count = (uint32_t)arguments.count;
    made->environment_count = variables;
    made->path = made->texts + path_at;
    made->working_dir = made->texts + working_dir_at;
    made->probe = made->texts + probe_at;
    made->secrets = made->texts + secrets_at;
    made->secrets_end = made->texts + texts.size;
    made->probe_count = (uint32_t)probe.count;
    *launch = made;
    return STATUS_OK;
}

void launch_free(struct launch *launch)
{
    if (launch != NULL)
        fd_close(&launch->artefact_fd);
    free(launch);
}

enum status launch_file_path(const struct site *site, const char *service, uint64_t generation,
                             const char *file, char path[PATH_MAX])
{
    char below[NAME_BYTES_MAX + 64];
    snprintf(below, sizeof below, "%s/%" PRIu64 "/%s", service, generation, file);
    return path_join(path, site->code_seen, below);
}

char *launch_mark(char mark[MARK_BYTES], const struct site *site,
                  const struct launch_identity *identity)
{
    snprintf(mark, MARK_BYTES, "%s%" PRIu64 "/%016" PRIx64, site->mark_prefix, identity->generation,
             identity->nonce);
    return mark;
}

bool launch_mark_parse(const char *mark, const struct site *site, uint64_t *generation,
                       uint64_t *nonce)
{
    return sscanf(mark + strlen(site->mark_prefix), "%" SCNu64 "/%" SCNx64, generation, nonce) == 2;
}

static char *next_text(char *text)
{
    return text + strlen(text) + 1;
}

static bool is_overridden(const char *text, size_t count, const char *key)
{
    size_t size = strlen(key);
    for (size_t i = 0; i < count; i++, text += strlen(text) + 1)
        if (strncmp(text, key, size) == 0 && text[size] == '=')
            return true;
    return false;
}

/* Room for what a start needs in text form; too big for a stack frame's liking, one at a time. */
struct start {
    char *arguments[ARGUMENTS_MAX + 1];
    char *environment[SPEC_LIST_MAX + ENVIRONMENT_OWN + SPEC_SECRETS_MAX + 1];
    char path[VARIABLE_BYTES], home[VARIABLE_BYTES], tenant[VARIABLE_BYTES];
    char service[VARIABLE_BYTES], mark[MARK_BYTES + 16], notify[VARIABLE_BYTES];
    char credentials[VARIABLE_BYTES];
};

static void fill(struct start *start, const struct launch *launch, const struct site *site,
                 const struct launch_identity *identity, const struct credentials *credentials)
{
    char *text = (char *)launch->texts, mark[MARK_BYTES];
    for (size_t i = 0; i < launch->argument_count; i++, text = next_text(text))
        start->arguments[i] = text;
    start->arguments[launch->argument_count] = NULL;

    snprintf(start->path, VARIABLE_BYTES, "PATH=" SPEC_DEFAULT_PATH);
    snprintf(start->home, VARIABLE_BYTES, "HOME=%s/%s", site->home_seen, identity->service);
    snprintf(start->tenant, VARIABLE_BYTES, "SOLO_TENANT=%s", site->tenant);
    snprintf(start->service, VARIABLE_BYTES, "SOLO_SERVICE=%s", identity->service);
    snprintf(start->mark, sizeof start->mark, "SOLO_INSTANCE=%s",
             launch_mark(mark, site, identity));
    char **next = start->environment;
    if (!is_overridden(text, launch->environment_count, "PATH"))
        *next++ = start->path;
    if (!is_overridden(text, launch->environment_count, "HOME"))
        *next++ = start->home;
    *next++ = start->tenant;
    *next++ = start->service;
    *next++ = start->mark;
    if (launch->ready.by == READY_NOTIFY) {
        char path[PATH_MAX];
        snprintf(start->notify, VARIABLE_BYTES, "NOTIFY_SOCKET=%s", notify_path(site, path));
        *next++ = start->notify;
    }
    if (launch_needs_secrets(launch)) {
        snprintf(start->credentials, VARIABLE_BYTES, SPEC_SECRETS_VARIABLE "=%s/%s",
                 site->credentials_seen, identity->service);
        *next++ = start->credentials;
    }
    for (size_t i = 0; i < launch->environment_count; i++, text = next_text(text))
        *next++ = text;
    if (credentials != NULL) {
        text = (char *)credentials->environment.data;
        for (size_t i = 0; i < credentials->environment_count; i++, text = next_text(text))
            *next++ = text;
    }
    *next = NULL;
}

static enum status refuse(struct problem *problem, enum status status, const char *program,
                          const char *step, const char *why)
{
    bool is_exec = strcmp(step, "exec") == 0;
    return problem_set(problem, status, "", "%s cannot be started: %s%s%s", program,
                       is_exec ? "" : step, is_exec ? "" : ": ", why);
}

static enum status run(struct start *start, const struct launch *launch, const struct site *site,
                       int output, int error, int cgroup, pid_t *pid, int *pidfd,
                       struct problem *problem)
{
    char program[PATH_MAX];
    const char *working_dir =
        launch->working_dir[0] != '\0' ? launch->working_dir : start->home + strlen("HOME=");
    enum status status = program_find(start->arguments[0], launch->path, working_dir, program);
    if (status == STATUS_NOT_FOUND)
        return refuse(problem, STATUS_FAILED_PRECONDITION, start->arguments[0], "exec",
                      "no such program in its PATH");
    if (status == STATUS_PERMISSION_DENIED)
        return refuse(problem, STATUS_FAILED_PRECONDITION, start->arguments[0], "exec",
                      "it is not executable");
    TRY(status);
    const struct spawn_request request = {
        .program = program,
        .arguments = start->arguments,
        .environment = start->environment,
        .working_dir = working_dir,
        .input = site->null_fd,
        .output = output,
        .error = error,
        .has_ids = site->has_ids,
        .uid = site->uid,
        .gid = site->gid,
        .cgroup = cgroup,
        .limits = launch->rlimits,
    };
    struct spawn_failure failure = { "", 0 };
    fault_point("tenantd.before_spawn");
    status = spawn(&request, pid, pidfd, &failure);
    fault_point("tenantd.after_spawn");
    if (status == STATUS_FAILED_PRECONDITION)
        return refuse(problem, status, start->arguments[0], failure.step, strerror(failure.error));
    if (status != STATUS_OK)
        return refuse(problem, status, start->arguments[0], "process", status_text(status));
    return STATUS_OK;
}

enum status launch_run(const struct launch *launch, const struct site *site,
                       const struct launch_identity *identity,
                       const struct credentials *credentials, int output, int error, int cgroup,
                       pid_t *pid, int *pidfd, struct problem *problem)
{
    static struct start start;
    fill(&start, launch, site, identity, credentials);
    return run(&start, launch, site, output, error, cgroup, pid, pidfd, problem);
}

enum status launch_probe(const struct launch *launch, const struct site *site,
                         const struct launch_identity *identity, int cgroup, pid_t *pid,
                         struct problem *problem)
{
    static struct start start;
    fill(&start, launch, site, identity, NULL);
    char *text = (char *)launch->probe;
    for (size_t i = 0; i < launch->probe_count; i++, text = next_text(text))
        start.arguments[i] = text;
    start.arguments[launch->probe_count] = NULL;
    return run(&start, launch, site, site->null_fd, site->null_fd, cgroup, pid, NULL, problem);
}
