/* The planner: a merge of two sorted lists, with one decision per service. It reads nothing and
 * changes nothing, so that a dry run, a real run and deployd's reconciling cannot disagree. */
#include "common/plan/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/ensure.h"

static const char *const action_names[PLAN_ACTIONS] = {
    [PLAN_CANNOT_RECOVER] = "cannot_recover",
    [PLAN_REPORT] = "report",
    [PLAN_STOP] = "stop",
    [PLAN_REPLACE] = "replace",
    [PLAN_WAIT] = "wait",
    [PLAN_START] = "start",
    [PLAN_KEEP] = "keep",
};

static const struct {
    const char *name;
    enum plan_action action;
    const char *words;
} codes[PLAN_CODES] = {
#define PLAN_CODE(name, action, words) [PLAN_CODE_##name] = { #name, PLAN_##action, words },
#include "common/plan/plan_codes.def"
#undef PLAN_CODE
};

const char *plan_action_name(enum plan_action action)
{
    ensure(action < PLAN_ACTIONS);
    return action_names[action];
}

const char *plan_code_name(enum plan_code code)
{
    ensure(code < PLAN_CODES);
    return codes[code].name;
}

enum plan_code plan_code_of_program(const char *field)
{
    if (strncmp(field, "build", strlen("build")) == 0)
        return PLAN_CODE_build_failed;
    if (strcmp(field, "working_dir") == 0)
        return PLAN_CODE_working_dir_missing;
    return strcmp(field, "interpreter") == 0 ? PLAN_CODE_interpreter_missing
                                             : PLAN_CODE_program_missing;
}

/* The code decides the action; its words are the reason until a better one is at hand. */
static void decide(struct plan_entry *entry, enum plan_code code)
{
    entry->code = code;
    entry->action = codes[code].action;
    snprintf(entry->reason, sizeof entry->reason, "%s", codes[code].words);
}

static void tell_obstacle(struct plan_entry *entry, const char *detail,
                          const struct plan_actual *actual)
{
    if (entry->code == PLAN_CODE_interpreter_missing)
        snprintf(entry->reason, sizeof entry->reason, "interpreter %s", detail);
    else if (entry->code == PLAN_CODE_program_missing)
        snprintf(entry->reason, sizeof entry->reason, "program %s", detail);
    else if (entry->code == PLAN_CODE_working_dir_missing)
        snprintf(entry->reason, sizeof entry->reason, "working_dir %s", detail);
    else
        snprintf(entry->reason, sizeof entry->reason, "%s: %s", codes[entry->code].words, detail);
    size_t used = strlen(entry->reason);
    if (actual != NULL && entry->pid != 0)
        snprintf(entry->reason + used, sizeof entry->reason - used,
                 "; generation %" PRIu64 " still runs", actual->generation);
}

/* It has to be started with `code`, if nothing is in the way. True when it may. */
static bool decide_start(struct plan_entry *entry, const struct plan_wanted *wanted,
                         const struct plan_actual *actual, enum plan_code code)
{
    const char *detail = wanted->obstacle_detail == NULL ? "" : wanted->obstacle_detail;
    if (wanted->obstacle != PLAN_CODE_none) {
        /* What runs of an older generation stays: stopping it would only make things worse. */
        decide(entry, wanted->obstacle);
        if (detail[0] != '\0')
            tell_obstacle(entry, detail, actual);
        return false;
    }
    decide(entry, code);
    if (detail[0] != '\0') {
        entry->is_open = true;
        snprintf(entry->reason, sizeof entry->reason, "%s; %s", codes[code].words, detail);
    }
    return true;
}

static void plan_other_generation(struct plan_entry *entry, const struct plan_wanted *wanted,
                                  const struct plan_actual *actual)
{
    if (!decide_start(entry, wanted, actual, PLAN_CODE_other_generation) || entry->is_open)
        return;
    char state[40] = "runs";
    if (!service_state_has_process(actual->state))
        snprintf(state, sizeof state, "holds (%s)", service_state_name(actual->state));
    snprintf(entry->reason, sizeof entry->reason, "%s generation %" PRIu64 ", log wants %" PRIu64,
             state, actual->generation, wanted->row.generation);
}

/* A supervisor holds the wanted generation. */
static void plan_held(struct plan_entry *entry, const struct plan_wanted *wanted,
                      const struct plan_actual *actual, bool is_new_run)
{
    if (is_new_run && actual->state == SERVICE_parked) {
        decide_start(entry, wanted, actual, PLAN_CODE_was_parked);
    } else if (is_new_run && actual->state == SERVICE_failed) {
        decide_start(entry, wanted, actual, PLAN_CODE_was_failed);
    } else if (actual->state == SERVICE_running) {
        decide(entry, PLAN_CODE_running);
    } else if (actual->state == SERVICE_waiting_for_secret) {
        decide(entry, PLAN_CODE_secret_sealed);
    } else {
        decide(entry, PLAN_CODE_held);
        snprintf(entry->reason, sizeof entry->reason, "its supervisor holds it: %s",
                 service_state_name(actual->state));
    }
}

static void plan_wanted_one(struct plan_entry *entry, const struct plan_wanted *wanted,
                            const struct plan_actual *actual, bool is_new_run)
{
    entry->tenant = wanted->tenant;
    entry->name = wanted->name;
    entry->generation = wanted->row.generation;
    entry->since = wanted->row.since;
    entry->evidence = wanted->row.since;
    entry->is_known = !is_new_run && actual != NULL && actual->state == SERVICE_failed &&
                      actual->generation == wanted->row.generation;
    if (actual == NULL || (!actual->is_held && !service_state_has_process(actual->state))) {
        enum plan_code code = PLAN_CODE_not_running;
        if (actual != NULL && is_new_run && actual->generation == wanted->row.generation) {
            if (actual->state == SERVICE_parked)
                code = PLAN_CODE_was_parked;
            if (actual->state == SERVICE_failed)
                code = PLAN_CODE_was_failed;
        }
        decide_start(entry, wanted, NULL, code);
        return;
    }
    entry->running_generation = actual->generation;
    entry->pid = service_state_has_process(actual->state) ? actual->pid : 0;
    if (!actual->is_held) {
        if (decide_start(entry, wanted, actual, PLAN_CODE_unsupervised) && !entry->is_open)
            snprintf(entry->reason, sizeof entry->reason,
                     "pid %" PRIu64 " runs without a supervisor", actual->pid);
    } else if (actual->generation != wanted->row.generation) {
        plan_other_generation(entry, wanted, actual);
    } else {
        plan_held(entry, wanted, actual, is_new_run);
    }
}

/* Nothing to stop: what is left of a service that ended, shown so that a person can see why. */
static bool is_over(const struct plan_actual *actual)
{
    return service_state_is_over(actual->state) ||
           (!actual->is_held && !service_state_has_process(actual->state));
}

static void plan_unwanted_one(struct plan_entry *entry, const struct plan_actual *actual)
{
    entry->tenant = actual->tenant;
    entry->name = actual->name;
    entry->generation = actual->generation;
    entry->running_generation = actual->generation;
    entry->pid = service_state_has_process(actual->state) ? actual->pid : 0;
    if (!actual->has_record) {
        decide(entry, PLAN_CODE_no_record);
        if (entry->pid != 0)
            snprintf(entry->reason, sizeof entry->reason, "pid %" PRIu64 " runs without any record",
                     entry->pid);
        return;
    }
    decide(entry, PLAN_CODE_was_killed);
    entry->evidence = actual->killed_by;
    const char *why = actual->killed_by != 0 ? "was killed" : "is not wanted";
    if (entry->pid != 0)
        snprintf(entry->reason, sizeof entry->reason, "pid %" PRIu64 " still runs, %s", entry->pid,
                 why);
    else
        snprintf(entry->reason, sizeof entry->reason, "its supervisor still holds it (%s), %s",
                 service_state_name(actual->state), why);
}

int plan_service_compare(const char *a_tenant, const char *a_name, const char *b_tenant,
                         const char *b_name)
{
    while (*a_tenant != '\0' && *a_tenant == *b_tenant) {
        a_tenant++;
        b_tenant++;
    }
    if (*a_tenant == *b_tenant)
        return strcmp(a_name, b_name);
    unsigned char a = *a_tenant == '\0' ? '/' : (unsigned char)*a_tenant;
    unsigned char b = *b_tenant == '\0' ? '/' : (unsigned char)*b_tenant;
    return a < b ? -1 : 1;
}

static int compare_entries(const void *a, const void *b)
{
    const struct plan_entry *first = a, *second = b;
    if (first->action != second->action)
        return first->action < second->action ? -1 : 1;
    return plan_service_compare(first->tenant, first->name, second->tenant, second->name);
}

/* A list out of order would be merged wrongly, and something would be started twice. */
static void ensure_ascending(const struct plan_wanted *wanted, size_t wanted_count,
                             const struct plan_actual *actual, size_t actual_count)
{
    for (size_t i = 1; i < wanted_count; i++)
        ensure(plan_service_compare(wanted[i - 1].tenant, wanted[i - 1].name, wanted[i].tenant,
                                    wanted[i].name) < 0);
    for (size_t i = 1; i < actual_count; i++)
        ensure(plan_service_compare(actual[i - 1].tenant, actual[i - 1].name, actual[i].tenant,
                                    actual[i].name) < 0);
}

enum status plan_make(const struct plan_wanted *wanted, size_t wanted_count,
                      const struct plan_actual *actual, size_t actual_count, bool is_new_run,
                      struct plan *plan)
{
    ensure_ascending(wanted, wanted_count, actual, actual_count);
    struct plan made = { .entries = calloc(wanted_count + actual_count + 1, sizeof *made.entries) };
    if (made.entries == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    size_t w = 0, a = 0;
    while (w < wanted_count || a < actual_count) {
        int order = w == wanted_count   ? 1
                    : a == actual_count ? -1
                                        : plan_service_compare(wanted[w].tenant, wanted[w].name,
                                                               actual[a].tenant, actual[a].name);
        if (order > 0 && is_over(&actual[a])) {
            a++;
            continue;
        }
        struct plan_entry *entry = &made.entries[made.count++];
        if (order > 0)
            plan_unwanted_one(entry, &actual[a]);
        else
            plan_wanted_one(entry, &wanted[w], order == 0 ? &actual[a] : NULL, is_new_run);
        made.of[entry->action]++;
        w += order <= 0 ? 1 : 0;
        a += order >= 0 ? 1 : 0;
    }
    qsort(made.entries, made.count, sizeof *made.entries, compare_entries);
    *plan = made;
    return STATUS_OK;
}

void plan_close(struct plan *plan)
{
    free(plan->entries);
    *plan = (struct plan){ 0 };
}

bool plan_has_changes(const struct plan *plan)
{
    return plan->of[PLAN_START] + plan->of[PLAN_REPLACE] + plan->of[PLAN_STOP] > 0;
}

bool plan_needs_person(const struct plan *plan)
{
    return plan->of[PLAN_CANNOT_RECOVER] + plan->of[PLAN_REPORT] > 0;
}
