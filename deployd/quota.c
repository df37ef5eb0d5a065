/* Sums over a tenant's services, made anew for each deploy, and only when a setting asks for it.
 * What a service asks for is read from its spec in the log once per generation. */
#include "deployd/quota.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/base/size.h"
#include "common/spec/spec.h"
#include "deployd/operation.h"

enum { SPEC_ARENA_BYTES = 16 * 1024 * 1024 };

static struct quota_use use_of_spec(const struct spec *spec)
{
    return (struct quota_use){
        .services = 1,
        .processes = spec->limits.tasks != 0 ? spec->limits.tasks : 1,
        .memory_bytes = spec->limits.memory_bytes,
        .log_bytes = spec->logs.max_bytes * spec->logs.files,
        .code_bytes = spec->code.size,
    };
}

static void add(struct quota_use *sum, const struct quota_use *use)
{
    sum->services += use->services;
    sum->processes += use->processes;
    sum->memory_bytes += use->memory_bytes;
    sum->log_bytes += use->log_bytes;
    sum->code_bytes += use->code_bytes;
}

static enum status use_of_packed(struct span packed, struct quota_use *use, struct problem *problem)
{
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    struct spec spec;
    TRY(spec_decode(packed, &arena, &spec, problem));
    *use = use_of_spec(&spec);
    return STATUS_OK;
}

/* Its deploy has been let in and is not in the log yet. */
static bool is_on_the_way(const struct service *service)
{
    const struct operation *first = service->queue;
    return first != NULL && first->kind == OPERATION_DEPLOY &&
           (first->state == OPERATION_TENANT || first->state == OPERATION_COMMITTING ||
            (first->state != OPERATION_QUEUED && operation_is_uncommitted(first)));
}

/* What the log wants of it. A spec that cannot be read counts as a service and no more: it runs
 * only if it can be read, and must not keep others from being deployed. */
static void read_wanted(struct deployd *deployd, struct service *service)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span stored;
    struct problem problem = { 0 };
    uint64_t generation = service->wanted.generation;
    if (service->used_generation == generation)
        return;
    service->used = (struct quota_use){ .services = 1 };
    service->used_generation = generation;
    enum status status = event_map_begin(&deployd->map, &txn);
    if (status == STATUS_OK)
        status = event_log_spec(&txn, generation, &stored);
    if (status == STATUS_OK)
        status = use_of_packed(stored, &service->used, &problem);
    if (status != STATUS_OK)
        log_failure(status, "read what a service may use", "service", service->key, "generation",
                    NUMBER(generation));
}

static struct quota_use use_of(struct deployd *deployd, struct service *service)
{
    if (is_on_the_way(service))
        return service->asked;
    if (service->wanted.generation == 0)
        return (struct quota_use){ 0 };
    read_wanted(deployd, service);
    return service->used;
}

struct rule {
    const char *field, *what;
    uint64_t most, before, after, others;
    bool is_size;
};

static enum status check(const struct rule *rule, const char *tenant, struct problem *problem)
{
    char used[SIZE_TEXT_BYTES], most[SIZE_TEXT_BYTES], more[SIZE_TEXT_BYTES];
    if (rule->most == 0 || rule->after <= rule->before ||
        (rule->after <= rule->most && rule->others <= rule->most - rule->after))
        return STATUS_OK;
    if (rule->is_size)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, rule->field,
                           "tenant %s uses %s of %s of %s; this would take %s", tenant,
                           size_text(used, rule->others + rule->before),
                           size_text(most, rule->most), rule->what, size_text(more, rule->after));
    return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, rule->field,
                       "tenant %s uses %" PRIu64 " of %" PRIu64 " %s; this would take %" PRIu64,
                       tenant, rule->others + rule->before, rule->most, rule->what, rule->after);
}

static bool is_asked_for(const struct settings *settings)
{
    return settings->tenant_services_max != 0 || settings->tenant_processes_max != 0 ||
           settings->tenant_memory_max != 0 || settings->tenant_log_bytes_max != 0 ||
           settings->tenant_code_bytes_max != 0;
}

enum status quota_check(struct deployd *deployd, const char *tenant_name, struct service *service,
                        struct span canonical, struct problem *problem)
{
    const struct settings *settings = &deployd->settings;
    struct quota_use others = { 0 }, before = { 0 }, after;
    if (!is_asked_for(settings))
        return STATUS_OK;
    TRY(use_of_packed(canonical, &after, problem));
    const struct tenant *tenant = catalog_tenant(&deployd->catalog, tenant_name);
    struct service *first = tenant == NULL ? NULL : tenant->services;
    for (struct service *other = first; other != NULL; other = other->next) {
        const struct quota_use use = use_of(deployd, other);
        add(other == service ? &before : &others, &use);
    }
    const struct rule rules[] = {
        { "tenant", "services", settings->tenant_services_max, before.services, after.services,
          others.services, false },
        { "limits.tasks", "tasks", settings->tenant_processes_max, before.processes,
          after.processes, others.processes, false },
        { "limits.memory", "memory", settings->tenant_memory_max, before.memory_bytes,
          after.memory_bytes, others.memory_bytes, true },
        { "logs.max_size", "log", settings->tenant_log_bytes_max, before.log_bytes, after.log_bytes,
          others.log_bytes, true },
        { "code", "code", settings->tenant_code_bytes_max, before.code_bytes, after.code_bytes,
          others.code_bytes, true },
    };
    for (size_t i = 0; i < COUNT_OF(rules); i++)
        TRY(check(&rules[i], tenant_name, problem));
    if (service != NULL)
        service->asked = after;
    return STATUS_OK;
}
