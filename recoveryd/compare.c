/* What the planner would change is what does not agree; besides, each process that is said to run
 * must live. */
#include "recoveryd/compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/auto.h"
#include "common/base/process_identity.h"
#include "recoveryd/count_check.h"
#include "recoveryd/mark_check.h"
#include "recoveryd/registry_check.h"

enum { LOOKS = 3, PAUSE_MS = 150 };

/* FINDING_CODES when the entry says that all is well. */
static enum finding_code code_of(const struct plan_entry *entry)
{
    switch (entry->action) {
    case PLAN_STOP:
        return FINDING_extra;
    case PLAN_REPORT:
        return FINDING_no_record;
    case PLAN_REPLACE:
        return entry->code == PLAN_CODE_unsupervised ? FINDING_unsupervised
                                                     : FINDING_other_generation;
    case PLAN_START:
        /* A new run owes the parked and the failed another attempt; they are held all the same. */
        return entry->code == PLAN_CODE_not_running ? FINDING_missing : FINDING_CODES;
    case PLAN_CANNOT_RECOVER:
        return entry->running_generation != 0 && entry->running_generation != entry->generation
                   ? FINDING_other_generation
                   : FINDING_missing;
    case PLAN_WAIT:
    case PLAN_KEEP:
    case PLAN_ACTIONS:
        break;
    }
    return FINDING_CODES;
}

static enum status compare_plan(const struct picture *picture, struct findings *findings)
{
    for (size_t i = 0; i < picture->plan.count; i++) {
        const struct plan_entry *entry = &picture->plan.entries[i];
        struct finding finding = {
            .code = code_of(entry),
            .tenant = entry->tenant,
            .name = entry->name,
            .generation =
                entry->action == PLAN_STOP || entry->action == PLAN_REPORT ? 0 : entry->generation,
            .running_generation = entry->running_generation,
            .pid = entry->pid,
            .event = entry->evidence,
            .is_for_person = entry->action == PLAN_CANNOT_RECOVER,
        };
        snprintf(finding.reason, sizeof finding.reason, "%s", entry->reason);
        if (finding.code != FINDING_CODES)
            TRY(findings_add(findings, &finding));
    }
    return STATUS_OK;
}

static enum status compare_processes(const struct actual *actual, struct findings *findings)
{
    for (size_t i = 0; i < actual->count; i++) {
        const struct actual_service *service = &actual->services[i];
        if (service->state != SERVICE_running)
            continue;
        if (service->pid != 0 && process_lives(service->pid, service->start_ticks))
            continue;
        struct finding finding = {
            .code = FINDING_dead_pid,
            .tenant = service->tenant,
            .name = service->name,
            .running_generation = service->generation,
            .pid = service->pid,
        };
        snprintf(finding.reason, sizeof finding.reason,
                 "said to run as pid %" PRIu64 ", which does not live", service->pid);
        TRY(findings_add(findings, &finding));
    }
    return STATUS_OK;
}

enum status compare_picture(const struct picture *picture, struct findings *findings)
{
    TRY(compare_plan(picture, findings));
    return compare_processes(&picture->actual, findings);
}

enum status
compare_wanted_with_actual(const struct settings *settings,
                           bool (*is_known)(const void *context, const struct finding *finding),
                           const void *context, struct findings *findings, uint64_t *checked)
{
    AUTO(findings_close) struct findings before = { 0 };
    for (int look = 0; look < LOOKS; look++) {
        AUTO(picture_close) struct picture picture = { 0 };
        AUTO(findings_close) struct findings now = { 0 };
        TRY(picture_take(settings, &picture));
        TRY(compare_picture(&picture, &now));
        TRY(registry_check(settings->run_dir, &picture.actual, &now));
        TRY(count_check(settings, &picture, &now));
        if (picture.log.exists)
            TRY(mark_check(picture.log.store_id, &picture.actual, &now));
        *checked = picture.plan.count;
        findings_close(findings);
        for (size_t i = 0; i < now.count; i++)
            if ((look == 0 || findings_have(&before, &now.items[i])) &&
                (is_known == NULL || !is_known(context, &now.items[i])))
                TRY(findings_add(findings, &now.items[i]));
        if (findings->count == 0)
            break;
        findings_close(&before);
        before = now;
        now = (struct findings){ 0 };
        if (look + 1 < LOOKS)
            nanosleep(&(struct timespec){ .tv_nsec = PAUSE_MS * 1000000L }, NULL);
    }
    return STATUS_OK;
}
