/* Who waits for what. A call knows its build; a build that is done answers those of its own, and
 * one that nobody waits for any more is ended. */
#include "tenantd/builds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utlist.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tenantd/supervisor.h"

struct build_wait {
    struct build_wait *previous, *next;
    struct builds *builds;
    struct build *build;
    struct rpc_call *call;
    char service[NAME_BYTES_MAX + 1];
};

static void pump(struct builds *builds);

/* ---- waiting ---- */

static bool is_waited_for(const struct builds *builds, const struct build *build)
{
    const struct build_wait *wait;
    DL_SEARCH_SCALAR(builds->waits, wait, build, build);
    return wait != NULL;
}

static struct rpc_call *wait_free(struct build_wait *wait)
{
    struct rpc_call *call = wait->call;
    DL_DELETE2(wait->builds->waits, wait, previous, next);
    free(wait);
    return call;
}

static void end_if_unwanted(struct builds *builds, struct build *build)
{
    if (!is_waited_for(builds, build))
        build_end(build, STATUS_CANCELLED, "is not wanted any more");
}

static void on_gone(struct rpc_call *call)
{
    struct build_wait *wait = call->user;
    struct builds *builds = wait->builds;
    struct build *build = wait->build;
    rpc_call_drop(wait_free(wait));
    end_if_unwanted(builds, build);
}

static enum status wait_add(struct builds *builds, struct build *build, const char *service,
                            struct rpc_call *call)
{
    struct build_wait *wait = calloc(1, sizeof *wait);
    if (wait == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    wait->builds = builds;
    wait->build = build;
    wait->call = call;
    snprintf(wait->service, sizeof wait->service, "%s", service);
    DL_APPEND2(builds->waits, wait, previous, next);
    rpc_call_defer(call);
    call->user = wait;
    call->on_gone = on_gone;
    return STATUS_OK;
}

static void answer(struct builds *builds, const struct build *build)
{
    const struct supervisor_build_reply reply = { .was_built = true, .took_ms = build->took_ms };
    struct build_wait *wait, *after;
    DL_FOREACH_SAFE2(builds->waits, wait, after, next)
    {
        if (wait->build != build)
            continue;
        struct rpc_call *call = wait_free(wait);
        if (build->status == STATUS_OK)
            rpc_call_reply(call, &reply);
        else
            rpc_call_fail(call, build->status, &build->problem);
    }
}

/* ---- sealing ---- */

static enum status refuse(struct build *build, const char *why)
{
    problem_set(&build->problem, STATUS_FAILED_PRECONDITION, "build", "%s %s", build->shown, why);
    build_add_output(build);
    return STATUS_FAILED_PRECONDITION;
}

/* The tenant may still have processes that know the folder: what is read here is what is kept,
 * whatever they do to it meanwhile. */
static enum status seal(struct builds *builds, struct build *build)
{
    const struct site *site = builds->supervisor->site;
    struct stat file;
    AUTO(fd_close)
    int fd = openat(build->fd, SITE_OUT, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return refuse(build, errno == ENOENT ? "exited with code 0 but did not write {out}"
                                             : "made something of {out} that cannot be read");
    if (fstat(fd, &file) < 0 || !S_ISREG(file.st_mode) || file.st_size == 0)
        return refuse(build, "made no file of {out}, or an empty one");
    /* A link to somebody else's file would be read with our rights. */
    if (file.st_uid != site->uid)
        return refuse(build, "made a link of {out} to a file of another user");
    if (file.st_size > BUILD_ARTEFACT_BYTES_MAX ||
        (uint64_t)file.st_size + HASH_BYTES > builds->cache.bytes_max)
        return problem_set(&build->problem, STATUS_FAILED_PRECONDITION, "build",
                           "%s made a program of %llu bytes; at most %llu can be kept",
                           build->shown, (unsigned long long)file.st_size,
                           (unsigned long long)(builds->cache.bytes_max < BUILD_ARTEFACT_BYTES_MAX
                                                    ? builds->cache.bytes_max
                                                    : BUILD_ARTEFACT_BYTES_MAX));
    enum status status = build_cache_put(&builds->cache, &build->key, fd, (uint64_t)file.st_size);
    if (status != STATUS_OK)
        problem_set(&build->problem, status, "build",
                    "what %s made cannot be kept in DATA/" BUILDS_FOLDER ": %s", build->shown,
                    status == STATUS_RESOURCE_EXHAUSTED ? "the disk is full" : status_text(status));
    return status;
}

static void on_done(struct build *build)
{
    struct builds *builds = &build->supervisor->builds;
    if (build->status == STATUS_OK)
        build->status = seal(builds, build);
    bool is_good = build->status == STATUS_OK;
    builds->built += is_good ? 1 : 0;
    builds->failed += is_good ? 0 : 1;
    log_info(is_good ? "built" : "not built", "build", build->name, "compiler", build->shown,
             "took_ms", NUMBER(build->took_ms), "status", status_text(build->status));
    DL_DELETE2(builds->running, build, previous, next);
    builds->running_count--;
    answer(builds, build);
    build_free(build);
    pump(builds);
}

/* ---- queueing ---- */

static void on_dropped(struct build *build)
{
    struct builds *builds = &build->supervisor->builds;
    DL_DELETE2(builds->queued, build, previous, next);
    builds->queued_count--;
    builds->queued_bytes -= build->spec.size;
    answer(builds, build);
    build_free(build);
}

static void pump(struct builds *builds)
{
    struct build *build;
    while (builds->running_count < BUILDS_RUNNING_MAX && (build = builds->queued) != NULL) {
        DL_DELETE2(builds->queued, build, previous, next);
        builds->queued_count--;
        builds->queued_bytes -= build->spec.size;
        DL_APPEND2(builds->running, build, previous, next);
        builds->running_count++;
        build->on_done = on_done;
        build_begin(build);
    }
}

static struct build *find_key(const struct builds *builds, const struct hash *key)
{
    struct build *const lists[] = { builds->running, builds->queued };
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        for (struct build *build = lists[i]; build != NULL; build = build->next)
            if (build->status == STATUS_OK && hash_equal(&build->key, key))
                return build;
    return NULL;
}

static enum status queue(struct builds *builds, struct rpc_call *call, const char *service,
                         struct span packed, const struct spec *spec, const struct hash *key,
                         const char *compiler)
{
    if (builds->queued_count >= BUILDS_QUEUED_MAX ||
        builds->queued_bytes + packed.size > BUILDS_QUEUED_BYTES_MAX) {
        problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "build",
                    "%u builds of %s wait already; ask again later", builds->queued_count,
                    builds->supervisor->site->tenant);
        call->problem.retry_after_ms = 1000;
        return STATUS_RESOURCE_EXHAUSTED;
    }
    struct build *build = build_new(builds->supervisor, builds->next++, key, packed, spec);
    if (build == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    enum status status = wait_add(builds, build, service, call);
    if (status != STATUS_OK) {
        build_free(build);
        return status;
    }
    snprintf(build->compiler, sizeof build->compiler, "%s", compiler);
    build->on_done = on_dropped;
    DL_APPEND2(builds->queued, build, previous, next);
    builds->queued_count++;
    builds->queued_bytes += packed.size;
    pump(builds);
    return STATUS_OK;
}

static enum status identify(const struct spec *spec, char compiler[PATH_MAX], struct hash *key,
                            struct problem *problem)
{
    enum status status = build_compiler_find(spec, compiler);
    if (status == STATUS_OK)
        status = build_key(spec, compiler, key);
    if (status == STATUS_NOT_FOUND)
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "build[0]",
                           "%s not found in PATH %s", spec->build.items[0], spec_path(spec));
    if (status == STATUS_PERMISSION_DENIED)
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "build[0]", "%s cannot be executed",
                           spec->build.items[0]);
    return status;
}

/* Debian mounts /run without it, for one. In a mount namespace of our own it is allowed again. */
static enum status check_exec(const struct site *site, struct problem *problem)
{
    struct statvfs seen;
    if (statvfs(site->code_seen, &seen) == 0 && (seen.f_flag & ST_NOEXEC) != 0)
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "build",
                           "%s is mounted noexec, so that nothing that was built can run there; "
                           "use another run directory",
                           site->run_dir);
    return STATUS_OK;
}

enum status builds_order(struct builds *builds, struct rpc_call *call, const char *service,
                         struct span packed, const struct spec *spec, bool *is_cached)
{
    char compiler[PATH_MAX];
    struct hash key;
    TRY(check_exec(builds->supervisor->site, &call->problem));
    TRY(identify(spec, compiler, &key, &call->problem));
    struct build *build = find_key(builds, &key);
    if (build != NULL)
        return wait_add(builds, build, service, call);
    enum status status = build_cache_take(&builds->cache, &key, -1, NULL);
    *is_cached = status == STATUS_OK;
    builds->cached += *is_cached ? 1 : 0;
    return status == STATUS_NOT_FOUND ? queue(builds, call, service, packed, spec, &key, compiler)
                                      : status;
}

void builds_cancel(struct builds *builds, const char *service, enum status status, const char *why)
{
    struct problem problem = { 0 };
    problem_set(&problem, status, "build", "%s", why);
    for (struct build_wait *wait = builds->waits; wait != NULL;) {
        if (service != NULL && strcmp(wait->service, service) != 0) {
            wait = wait->next;
            continue;
        }
        struct build *build = wait->build;
        rpc_call_fail(wait_free(wait), status, &problem);
        end_if_unwanted(builds, build);
        wait = builds->waits; /* what was ended took others out */
    }
}

bool builds_are_done(const struct builds *builds)
{
    return builds->queued == NULL && builds->running == NULL;
}

/* ---- taking ---- */

static enum status write_out(struct builds *builds, int folder, const struct hash *key, int *pin)
{
    const struct site *site = builds->supervisor->site;
    if (unlinkat(folder, SITE_OUT, 0) < 0 && errno != ENOENT)
        return log_failure(status_from_errno(errno), "remove old artefact", "reason",
                           strerror(errno));
    AUTO(fd_close)
    int out = openat(folder, SITE_OUT, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (out < 0)
        return log_failure(status_from_errno(errno), "make artefact", "reason", strerror(errno));
    TRY(build_cache_take(&builds->cache, key, out, pin));
    if ((site->has_ids && fchown(out, 0, site->gid) < 0) || fchmod(out, 0550) < 0)
        return log_failure(status_from_errno(errno), "set owner of artefact", "reason",
                           strerror(errno));
    return STATUS_OK;
}

enum status builds_take(struct builds *builds, const struct spec *spec, const char *service,
                        uint64_t generation, int *pin, struct problem *problem)
{
    char compiler[PATH_MAX];
    struct hash key;
    AUTO(fd_close) int folder = -1;
    TRY(identify(spec, compiler, &key, problem));
    TRY(site_code_folder_open(builds->supervisor->site, service, generation, &folder));
    enum status status = write_out(builds, folder, &key, pin);
    if (status != STATUS_OK) {
        fd_close(pin);
        unlinkat(folder, SITE_OUT, 0);
    }
    if (status == STATUS_NOT_FOUND)
        problem_set(problem, status, "build", "the artefact of %s has to be built", service);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        problem_set(problem, status, "build", "no room on the disk of %s for the artefact",
                    builds->supervisor->site->run_dir);
    return status;
}

/* ---- finding ---- */

struct build *builds_find_session(const struct builds *builds, pid_t session)
{
    struct build *build;
    DL_SEARCH_SCALAR(builds->running, build, session, session);
    return build;
}

struct build *builds_find_nonce(const struct builds *builds, uint64_t nonce)
{
    struct build *build;
    DL_SEARCH_SCALAR(builds->running, build, nonce, nonce);
    return build;
}

/* ---- life ---- */

void builds_open(struct builds *builds, struct supervisor *supervisor, uint64_t cache_bytes_max,
                 uint64_t timeout_ms)
{
    builds->supervisor = supervisor;
    builds->timeout_ms = timeout_ms;
    build_cache_open(&builds->cache, &supervisor->site->builds, supervisor->site->tenant,
                     cache_bytes_max);
}

void builds_close(struct builds *builds)
{
    struct problem gone = { .code = STATUS_UNAVAILABLE, .message = "the supervisor ends" };
    while (builds->waits != NULL)
        rpc_call_fail(wait_free(builds->waits), STATUS_UNAVAILABLE, &gone);
    struct build **const lists[] = { &builds->running, &builds->queued };
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        for (struct build *build; (build = *lists[i]) != NULL;) {
            DL_DELETE2(*lists[i], build, previous, next);
            build_free(build);
        }
}
