/* From a spec to a running compiler. It sees its folder as ".", so that messages are short and the
 * same source always has the same artefact. */
#include "tenantd/build_process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tenantd/process.h"
#include "tenantd/scratch.h"
#include "tenantd/supervisor.h"

enum { SPEC_ARENA_BYTES = 8 * 1024 * 1024, VARIABLES_MAX = 8, MARK_BYTES = 200 };

/* Threads and processes that its uid has already count for RLIMIT_NPROC, too. */
static uint64_t tasks_bound(const struct site *site)
{
    bool is_alone = site->has_ids && site->isolation != ISOLATION_NONE;
    return BUILD_TASKS_MAX +
           process_tasks_of(is_alone ? site->proc_fd : site->host_proc_fd, site->uid);
}

static struct spawn_limits bounds_of(const struct site *site, int cgroup)
{
    const struct spec_limits limits = { .memory_bytes = BUILD_MEMORY_BYTES_MAX,
                                        .tasks = BUILD_TASKS_MAX };
    struct spawn_limits bounds;
    struct limits_held held = limits_hold(&site->limits, &limits, cgroup, &bounds);
    bounds.file_bytes = BUILD_SCRATCH_BYTES_MAX;
    bounds.niceness = BUILD_NICENESS;
    bounds.tasks = held.tasks == LIMIT_BY_CGROUP ? 0 : tasks_bound(site);
    return bounds;
}

static char *variable(struct arena *arena, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *text = arena_alloc(arena, size);
    if (text != NULL)
        snprintf(text, size, "%s=%s", name, value);
    return text;
}

/* Nothing that differs between two builds of the same, so that their artefacts do not either. */
static enum status environment_make(const struct build *build, const struct spec *spec,
                                    const char *folder, struct arena *arena,
                                    char *environment[VARIABLES_MAX])
{
    char mark[MARK_BYTES];
    const struct site *site = build->supervisor->site;
    const struct launch_identity identity = { build->name, 0, build->nonce };
    const struct {
        const char *name, *value;
    } variables[] = {
        { "PATH", spec_path(spec) },
        { "HOME", folder },
        { "TMPDIR", folder },
        { "LC_ALL", "C.UTF-8" },
        { "SOLO_TENANT", site->tenant },
        { "SOLO_INSTANCE", launch_mark(mark, site, &identity) },
    };
    _Static_assert(COUNT_OF(variables) < VARIABLES_MAX, "and a NULL");
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        if ((environment[i] = variable(arena, variables[i].name, variables[i].value)) == NULL)
            return STATUS_RESOURCE_EXHAUSTED;
    environment[COUNT_OF(variables)] = NULL;
    return STATUS_OK;
}

static enum status start(struct build *build, const struct spec *spec, struct arena *arena,
                         int output, int cgroup, struct problem *problem)
{
    const struct site *site = build->supervisor->site;
    char folder[PATH_MAX], out[] = "./" SITE_OUT, code[32];
    char *environment[VARIABLES_MAX];
    struct str_list arguments;
    struct spawn_failure failure = { "", 0 };
    snprintf(code, sizeof code, "./%s", build_code_name(spec));
    const struct spec_files files = { code, out };
    TRY(path_join(folder, site->code_seen, build->name));
    TRY(spec_places_fill(spec->build, &files, arena, &arguments));
    TRY(environment_make(build, spec, folder, arena, environment));
    const struct spawn_request request = {
        .program = build->compiler,
        .arguments = (char *const *)arguments.items,
        .environment = environment,
        .working_dir = folder,
        .input = site->null_fd,
        .output = output,
        .error = output,
        .has_ids = site->has_ids,
        .uid = site->uid,
        .gid = site->gid,
        .cgroup = cgroup,
        .limits = bounds_of(site, cgroup),
    };
    enum status status = spawn(&request, &build->helper.pid, NULL, &failure);
    fault_point("tenantd.after_build_start");
    build->session = build->helper.pid;
    if (status == STATUS_FAILED_PRECONDITION)
        return problem_set(problem, status, "build[0]", "%s cannot be started: %s: %s",
                           build->shown, failure.step, strerror(failure.error));
    return status;
}

enum status build_process_begin(struct build *build, int *output, struct problem *problem)
{
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    AUTO(fd_close) int cgroup = -1;
    const struct site *site = build->supervisor->site;
    struct spec spec;
    int ends[2];
    TRY(spec_decode(build->spec, &arena, &spec, problem));
    build->has_scratch = true;
    TRY(scratch_make(site, build->name, build_code_name(&spec), spec.code, &build->fd));
    if (site->cgroup.fd >= 0)
        TRY(cgroup_service_open(&site->cgroup, build->name, &cgroup));
    if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
        return log_failure(status_from_errno(errno), "make pipe", "reason", strerror(errno));
    random_fill(&build->nonce, sizeof build->nonce);
    enum status status = start(build, &spec, &arena, ends[1], cgroup, problem);
    close(ends[1]);
    if (status == STATUS_OK) {
        *output = ends[0];
        return STATUS_OK;
    }
    close(ends[0]);
    if (site->cgroup.fd >= 0)
        cgroup_service_remove(&site->cgroup, build->name);
    return status;
}
