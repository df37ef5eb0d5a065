/* One walk over /proc. The mark is STORE/TENANT/GENERATION/NONCE; builds have generation 0 and are
 * their supervisor's business. */
#include "recoveryd/mark_check.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/name.h"
#include "common/base/process_identity.h"

struct mark {
    char text[PROCESS_MARK_BYTES];
    char tenant[NAME_BYTES_MAX + 1];
    uint64_t generation;
};

static bool mark_parse(struct mark *mark, size_t prefix_size)
{
    const char *tenant = mark->text + prefix_size, *slash = strchr(tenant, '/');
    if (slash == NULL || (size_t)(slash - tenant) > NAME_BYTES_MAX)
        return false;
    snprintf(mark->tenant, sizeof mark->tenant, "%.*s", (int)(slash - tenant), tenant);
    mark->generation = strtoull(slash + 1, NULL, 10);
    return name_is_valid(mark->tenant) && mark->generation != 0;
}

static const struct actual_service *holder_of(const struct actual *actual, const struct mark *mark)
{
    for (size_t i = 0; i < actual->count; i++)
        if (actual->services[i].generation == mark->generation &&
            strcmp(actual->services[i].instance, mark->text) == 0)
            return &actual->services[i];
    return NULL;
}

/* The service that it was started for, by the generation; else by nothing. */
static const struct actual_service *service_of(const struct actual *actual, const struct mark *mark,
                                               const char *name)
{
    for (size_t i = 0; i < actual->count; i++) {
        const struct actual_service *service = &actual->services[i];
        if (strcmp(service->tenant, mark->tenant) == 0 &&
            (service->generation == mark->generation || strcmp(service->name, name) == 0))
            return service;
    }
    return NULL;
}

static enum status examine(pid_t pid, const struct mark *mark, const char *name,
                           const struct actual *actual, struct findings *findings)
{
    const struct actual_service *service = service_of(actual, mark, name);
    /* What runs without a supervisor is a finding of its own. */
    if (service != NULL && !service->is_held && service->pid == (uint64_t)pid)
        return STATUS_OK;
    bool is_duplicate = service != NULL && service->is_held && service->pid != 0;
    struct finding finding = {
        .code = is_duplicate ? FINDING_duplicate : FINDING_orphan,
        .tenant = mark->tenant,
        .name = service != NULL ? service->name : name,
        .generation = is_duplicate ? service->generation : 0,
        .running_generation = mark->generation,
        .pid = (uint64_t)pid,
        .start_ticks = process_ticks((uint64_t)pid),
        .event = mark->generation,
    };
    if (finding.start_ticks == 0)
        return STATUS_OK; /* it has ended meanwhile */
    snprintf(finding.instance, sizeof finding.instance, "%s", mark->text);
    if (is_duplicate)
        snprintf(finding.reason, sizeof finding.reason,
                 "pid %d was started for generation %" PRIu64 " of it, beside pid %" PRIu64
                 " that its supervisor holds",
                 (int)pid, mark->generation, service->pid);
    else
        snprintf(finding.reason, sizeof finding.reason,
                 "pid %d was started for generation %" PRIu64 ", which no supervisor holds",
                 (int)pid, mark->generation);
    return findings_add(findings, &finding);
}

enum status mark_check(const uint8_t store_id[16], const struct actual *actual,
                       struct findings *findings)
{
    char prefix[2 * 16 + 2];
    hex_text(prefix, store_id, 16);
    strcat(prefix, "/");
    AUTO(directory_close) DIR *proc = opendir("/proc");
    if (proc == NULL)
        return log_failure(STATUS_INTERNAL, "read /proc", "reason", strerror(errno));
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        struct mark mark;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || !process_mark(dirfd(proc), pid, prefix, mark.text) ||
            !mark_parse(&mark, strlen(prefix)) || holder_of(actual, &mark) != NULL)
            continue;
        char name[PROCESS_MARK_BYTES] = "";
        process_variable(dirfd(proc), pid, "SOLO_SERVICE", name);
        TRY(examine(pid, &mark, name_is_valid(name) ? name : "unknown", actual, findings));
    }
    return STATUS_OK;
}
