/* Sums over a tenant's services, made anew for each deploy, and only when a setting asks for it.
 * What a service asks for is read from its spec in the log once per generation. */
#include "deployd/quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/level.h"
#include "common/base/log.h"
#include "common/base/size.h"
#include "common/spec/spec.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
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
    const struct operation *operation = service->queue;
    while (operation != NULL &&
           (operation->kind != OPERATION_DEPLOY || operation->state == OPERATION_QUEUED ||
            (operation->state != OPERATION_COMMITTING && !operation_is_uncommitted(operation))))
        operation = operation->next;
    return operation != NULL;
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

/* What is bounded, and by which setting. */
enum { TOTALS = 5 };
struct total {
    const char *what, *field; /* in messages; of the spec */
    bool is_size;
    uint64_t most; /* 0: not bounded */
};

static bool totals_read(const struct settings *settings, struct total totals[TOTALS])
{
    const struct total all[TOTALS] = {
        { "services", "tenant", false, settings->tenant_services_max },
        { "tasks", "limits.tasks", false, settings->tenant_processes_max },
        { "memory", "limits.memory", true, settings->tenant_memory_max },
        { "log", "logs.max_size", true, settings->tenant_log_bytes_max },
        { "code", "code", true, settings->tenant_code_bytes_max },
    };
    bool is_any = false;
    memcpy(totals, all, sizeof all);
    for (int i = 0; i < TOTALS; i++)
        is_any = is_any || totals[i].most != 0;
    return is_any;
}

static uint64_t part_of(const struct quota_use *use, int total)
{
    const uint64_t parts[TOTALS] = { use->services, use->processes, use->memory_bytes,
                                     use->log_bytes, use->code_bytes };
    return parts[total];
}

/* Of all its services but this one. */
static struct quota_use sum_of(struct deployd *deployd, const struct tenant *tenant,
                               const struct service *without)
{
    struct quota_use sum = { 0 };
    struct service *first = tenant == NULL ? NULL : tenant->services;
    for (struct service *service = first; service != NULL; service = service->next) {
        if (service == without)
            continue;
        const struct quota_use use = use_of(deployd, service);
        add(&sum, &use);
    }
    return sum;
}

/* Which totals were high before this deployd changed anything was told by whoever was here then. */
static void totals_learn(struct tenant *tenant, const struct total totals[TOTALS],
                         const struct quota_use *sum)
{
    if (tenant->are_totals_known)
        return;
    tenant->are_totals_known = true;
    for (int i = 0; i < TOTALS; i++)
        if (level_is_high(part_of(sum, i), totals[i].most))
            tenant->high_totals |= 1u << i;
}

/* In the words of the total: "3", or "12 MiB". */
static char *amount_text(char text[SIZE_TEXT_BYTES], const struct total *total, uint64_t amount)
{
    if (total->is_size)
        return size_text(text, amount);
    snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64, amount);
    return text;
}

static enum status check(const struct total *total, uint64_t others, uint64_t before,
                         uint64_t after, const char *tenant, struct problem *problem)
{
    char used[SIZE_TEXT_BYTES], most[SIZE_TEXT_BYTES], all[SIZE_TEXT_BYTES];
    char own[SIZE_TEXT_BYTES], instead[SIZE_TEXT_BYTES + 16] = "", excess[SIZE_TEXT_BYTES];
    if (total->most == 0 || after <= before ||
        (after <= total->most && others <= total->most - after))
        return STATUS_OK;
    uint64_t left = others + before < total->most ? total->most - others - before : 0;
    if (before > 0)
        snprintf(instead, sizeof instead, " instead of %s", amount_text(own, total, before));
    return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, total->field,
                       "tenant %s uses %s of %s %s%s; this would take %s%s, %s more than is left",
                       tenant, amount_text(used, total, others + before),
                       amount_text(most, total, total->most), total->is_size ? "of " : "",
                       total->what, amount_text(all, total, after), instead,
                       amount_text(excess, total, after - before - left));
}

enum status quota_check(struct deployd *deployd, const char *tenant_name, struct service *service,
                        struct span canonical, bool keeps_place, struct problem *problem)
{
    struct total totals[TOTALS];
    struct quota_use before = { 0 }, after;
    if (!totals_read(&deployd->settings, totals))
        return STATUS_OK;
    TRY(use_of_packed(canonical, &after, problem));
    struct tenant *tenant = catalog_tenant(&deployd->catalog, tenant_name);
    const struct quota_use others = sum_of(deployd, tenant, service);
    if (service != NULL)
        before = use_of(deployd, service);
    if (tenant != NULL) {
        struct quota_use sum = others;
        add(&sum, &before);
        totals_learn(tenant, totals, &sum);
    }
    for (int i = 0; i < TOTALS; i++)
        TRY(check(&totals[i], part_of(&others, i), part_of(&before, i), part_of(&after, i),
                  tenant_name, problem));
    if (service != NULL && keeps_place)
        service->asked = after;
    return STATUS_OK;
}

/* ---- what is nearly used up ---- */

/* While its event is on the way; a tenant in the log stays. */
struct told {
    struct tenant *tenant;
    unsigned mark; /* in high_totals */
};

static void on_told(void *context, enum status status, const struct problem *problem,
                    const void *reply)
{
    struct told *told = context;
    (void)reply;
    if (status != STATUS_OK) {
        log_warning("a tenant near what it is allowed was not recorded", "tenant",
                    told->tenant->name, "reason",
                    problem == NULL ? status_text(status) : problem->message);
        told->tenant->high_totals &= ~told->mark; /* told by the next deploy or kill */
    }
    free(told);
}

static void tell(struct deployd *deployd, struct tenant *tenant, const struct total *total,
                 unsigned mark, uint64_t used, uint64_t cause)
{
    struct told *told = malloc(sizeof *told);
    if (told == NULL)
        return;
    *told = (struct told){ tenant, mark };
    tenant->high_totals |= mark;
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
    write_map(&payload, 3);
    write_str(&payload, "resource");
    write_str(&payload, total->what);
    write_str(&payload, "used");
    write_u64(&payload, used);
    write_str(&payload, "allowed");
    write_u64(&payload, total->most);
    struct event_append_request request = append_about_system(EVENT_resource_usage_high, &payload);
    snprintf(subject, sizeof subject, "tenant/%s", tenant->name);
    request.subject = subject;
    request.tenant = tenant->name;
    request.causation_id = cause;
    enum status status = append_send(deployd, &request, NULL, APPEND_TIMEOUT_MS, on_told, told);
    if (status != STATUS_OK)
        on_told(told, status, NULL, NULL);
}

void quota_look(struct deployd *deployd, struct tenant *tenant, uint64_t cause)
{
    struct total totals[TOTALS];
    if (!totals_read(&deployd->settings, totals))
        return;
    const struct quota_use sum = sum_of(deployd, tenant, NULL);
    totals_learn(tenant, totals, &sum); /* a kill asks nobody before */
    for (int i = 0; i < TOTALS; i++) {
        uint64_t used = part_of(&sum, i), most = totals[i].most;
        unsigned mark = 1u << i;
        bool was_high = (tenant->high_totals & mark) != 0;
        if (!was_high && level_is_high(used, most))
            tell(deployd, tenant, &totals[i], mark, used, cause);
        else if (was_high && level_is_low(used, most))
            tenant->high_totals &= ~mark;
    }
}

bool quota_is_high(const struct tenant *tenant)
{
    return tenant->high_totals != 0;
}

static void totals_write(const struct total totals[TOTALS], const struct quota_use *sum,
                         const struct quota_use *growth, struct buffer *buffer)
{
    uint32_t count = 0;
    for (int i = 0; i < TOTALS; i++)
        count += totals[i].most != 0;
    write_array(buffer, count);
    for (int i = 0; i < TOTALS; i++) {
        if (totals[i].most == 0)
            continue;
        write_map(buffer, growth == NULL ? 5 : 6);
        write_str(buffer, "total");
        write_str(buffer, totals[i].what);
        write_str(buffer, "field");
        write_str(buffer, totals[i].field);
        write_str(buffer, "used");
        write_u64(buffer, part_of(sum, i));
        write_str(buffer, "allowed");
        write_u64(buffer, totals[i].most);
        write_str(buffer, "is_size");
        write_bool(buffer, totals[i].is_size);
        if (growth == NULL)
            continue;
        write_str(buffer, "growth");
        write_u64(buffer, part_of(growth, i));
    }
}

void quota_write(struct deployd *deployd, struct tenant *tenant, struct buffer *buffer)
{
    struct total totals[TOTALS];
    struct quota_use sum = { 0 };
    if (totals_read(&deployd->settings, totals)) {
        sum = sum_of(deployd, tenant, NULL);
        totals_learn(tenant, totals, &sum);
    }
    totals_write(totals, &sum, NULL, buffer);
}

static uint64_t more(uint64_t after, uint64_t before)
{
    return after > before ? after - before : 0;
}

enum status quota_foresee(struct deployd *deployd, struct tenant *tenant, struct service *service,
                          struct span canonical, struct buffer *buffer, struct problem *problem)
{
    struct total totals[TOTALS];
    struct quota_use before = { 0 }, after, sum = { 0 }, growth = { 0 };
    if (totals_read(&deployd->settings, totals)) {
        TRY(use_of_packed(canonical, &after, problem));
        if (service != NULL)
            before = use_of(deployd, service);
        sum = sum_of(deployd, tenant, NULL);
        growth = (struct quota_use){
            .services = more(after.services, before.services),
            .processes = more(after.processes, before.processes),
            .memory_bytes = more(after.memory_bytes, before.memory_bytes),
            .log_bytes = more(after.log_bytes, before.log_bytes),
            .code_bytes = more(after.code_bytes, before.code_bytes),
        };
    }
    totals_write(totals, &sum, &growth, buffer);
    return STATUS_OK;
}
