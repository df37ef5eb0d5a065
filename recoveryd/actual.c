/* Asking what runs. The sources are tried in the order of how much they know; each is asked with a
 * short patience, because a dry run must answer also when everything is down or hangs. */
#include "recoveryd/actual.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/base/process_identity.h"
#include "common/base/run_folder.h"
#include "common/plan/plan.h"
#include "common/rpc/client.h"
#include "common/wire/reader.h"
#include "recoveryd/identity.h"
#include "recoveryd/peer.h"
#include "recoveryd/registry_rows.h"

enum {
    ANSWER_MS_MAX = 2000,
    NAMES_BYTES_MAX = 64 * 1024 * 1024,
    ROW_BYTES_MAX = 64 * 1024,
    ANSWER_BYTES_MAX = 4 * 1024 * 1024,
    ACTUAL_MAX = 2 * SERVICES_MAX,
};

/* --- the list --- */

static enum status add(struct actual *actual, const struct service_row *row, bool is_held)
{
    if (actual->count == actual->capacity) {
        size_t capacity = actual->capacity == 0 ? 256 : 2 * actual->capacity;
        struct actual_service *grown =
            capacity > ACTUAL_MAX ? NULL
                                  : realloc(actual->services, capacity * sizeof *actual->services);
        if (grown == NULL)
            return log_failure(STATUS_RESOURCE_EXHAUSTED, "list what runs", "services",
                               NUMBER(actual->count));
        actual->services = grown;
        actual->capacity = capacity;
    }
    enum service_state state = service_state_parse(row->state);
    if (state == SERVICE_STATES)
        return log_failure(STATUS_INTERNAL, "read a service's row", "tenant", row->tenant,
                           "service", row->name, "reason", "no such state", "state", row->state);
    struct actual_service *service = &actual->services[actual->count];
    *service = (struct actual_service){
        .tenant = arena_text(&actual->arena, span_of_text(row->tenant)),
        .name = arena_text(&actual->arena, span_of_text(row->name)),
        .state = state,
        .generation = row->generation,
        .since = row->since,
        .pid = row->pid,
        .start_ticks = row->start_ticks,
        .is_held = is_held,
        .instance = arena_text(&actual->arena, span_of_text(row->instance)),
    };
    if (service->instance == NULL || service->tenant == NULL || service->name == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    actual->count++;
    return STATUS_OK;
}

static int by_key(const void *a, const void *b)
{
    const struct actual_service *first = a, *second = b;
    return plan_service_compare(first->tenant, first->name, second->tenant, second->name);
}

/* Sorted, and each service once: what is held by a supervisor before what is only known to live. */
static void settle(struct actual *actual)
{
    if (actual->count == 0)
        return;
    qsort(actual->services, actual->count, sizeof *actual->services, by_key);
    size_t kept = 1;
    for (size_t i = 1; i < actual->count; i++) {
        struct actual_service *last = &actual->services[kept - 1];
        if (by_key(last, &actual->services[i]) != 0)
            actual->services[kept++] = actual->services[i];
        else if (!last->is_held && actual->services[i].is_held)
            *last = actual->services[i];
    }
    actual->count = kept;
}

/* --- answers --- */

static enum status add_rows(struct actual *actual, struct span list)
{
    struct reader reader = reader_of(list);
    uint32_t count;
    if (list.size == 0)
        return STATUS_OK;
    if (reader_array(&reader, &count) != STATUS_OK)
        return log_failure(STATUS_INTERNAL, "read a list of services", "reason", "it is no list");
    AUTO(arena_close) struct arena arena = { .limit = ROW_BYTES_MAX };
    for (; count > 0; count--) {
        struct span map;
        struct service_row row = { 0 };
        struct problem problem = { 0 };
        if (reader_any(&reader, &map) != STATUS_OK ||
            fields_decode(&record_service_row, map, &arena, &row, &problem) != STATUS_OK)
            return log_failure(STATUS_INTERNAL, "read a service's row", "field", problem.field,
                               "reason", problem.message);
        /* Of what nothing holds deployd writes a row too, without a boot id. */
        TRY(add(actual, &row, row.boot_id[0] != '\0'));
        arena_reset(&arena);
    }
    return STATUS_OK;
}

static bool is_absence(enum status status)
{
    return status == STATUS_UNAVAILABLE || status == STATUS_DEADLINE_EXCEEDED ||
           status == STATUS_NOT_FOUND || status == STATUS_UNKNOWN ||
           status == STATUS_FAILED_PRECONDITION;
}

/* One page of a list: its rows, and what the next one begins after. */
struct page {
    struct span services;
    const char *next;
};
typedef enum status page_ask(struct peer *peer, const char *after, struct arena *arena,
                             struct page *page, struct problem *problem);

static enum status ask_page_of_deployd(struct peer *peer, const char *after, struct arena *arena,
                                       struct page *page, struct problem *problem)
{
    struct service_list_request request = { .tenant = "", .after = after };
    struct service_list_reply reply = { 0 };
    TRY(peer_ask(peer, ANSWER_MS_MAX, &method_service_list, &request, arena, &reply, problem));
    *page = (struct page){ reply.services, reply.next };
    return STATUS_OK;
}

static enum status ask_page_of_supervisor(struct peer *peer, const char *after, struct arena *arena,
                                          struct page *page, struct problem *problem)
{
    struct supervisor_list_request request = { .after = after };
    struct supervisor_list_reply reply = { 0 };
    TRY(peer_ask(peer, ANSWER_MS_MAX, &method_supervisor_list, &request, arena, &reply, problem));
    *page = (struct page){ reply.services, reply.next };
    return STATUS_OK;
}

/* Every page of who listens there. `is_silent` when an answer did not come. */
static enum status ask_pages(struct peer *peer, page_ask *ask, struct actual *actual,
                             bool *is_silent, struct problem *problem)
{
    AUTO(arena_close) struct arena arena = { .limit = ANSWER_BYTES_MAX };
    char after[SERVICE_KEY_BYTES] = "";
    do {
        struct page page = { .next = "" };
        enum status status = ask(peer, after, &arena, &page, problem);
        *is_silent = is_absence(status);
        TRY(status);
        TRY(add_rows(actual, page.services));
        snprintf(after, sizeof after, "%s", page.next);
        arena_reset(&arena);
    } while (after[0] != '\0');
    return STATUS_OK;
}

/* Another token than an admin's is shown its own tenant: the others' services would be taken for
 * gone. */
static enum status check_token(struct peer *peer, struct problem *problem)
{
    AUTO(arena_close) struct arena arena = { .limit = ANSWER_BYTES_MAX };
    const struct token_check_request request = { .permission = "admin" };
    struct token_check_reply reply = { 0 };
    if (!identity_is_token())
        return STATUS_OK;
    enum status status =
        peer_ask(peer, ANSWER_MS_MAX, &method_token_check, &request, &arena, &reply, problem);
    return status != STATUS_PERMISSION_DENIED
               ? status
               : problem_set(problem, status, "",
                             "the token of SOLO_TOKEN_FILE is no admin's: it is shown the services "
                             "of its tenant alone");
}

/* unavailable when nobody answers; then nothing has been added. */
static enum status ask_deployd(const struct settings *settings, struct actual *actual)
{
    bool is_silent = false;
    struct problem problem = { 0 };
    AUTO(peer_close) struct peer peer = { 0 };
    TRY(peer_open_daemon(&peer, settings->run_dir, "deployd"));
    enum status status = check_token(&peer, &problem);
    is_silent = is_absence(status);
    if (status == STATUS_OK)
        status = ask_pages(&peer, ask_page_of_deployd, actual, &is_silent, &problem);
    if (status == STATUS_OK) {
        actual->source = "deployd";
        return STATUS_OK;
    }
    actual->count = 0;
    if (is_silent)
        return STATUS_UNAVAILABLE;
    if (problem.message[0] == '\0') /* its answer could not be used: told where that was seen */
        return status;
    return log_failure(status, "ask deployd what runs", "run", settings->run_dir, "reason",
                       problem.message);
}

struct supervisors {
    const struct settings *settings;
    struct actual *actual;
};

/* Of one that does not say which log it serves, as an earlier version, what it holds counts. */
static enum status ask_whom(struct peer *peer, const struct actual *actual, bool *is_foreign,
                            bool *is_silent, struct problem *problem)
{
    AUTO(arena_close) struct arena arena = { .limit = ANSWER_BYTES_MAX };
    const struct supervisor_hello_request request = {};
    struct supervisor_hello_reply reply = { 0 };
    enum status status =
        peer_ask(peer, ANSWER_MS_MAX, &method_supervisor_hello, &request, &arena, &reply, problem);
    *is_silent = is_absence(status);
    TRY(status);
    struct span its = reply.store_incarnation;
    *is_foreign =
        its.size > 0 && !span_equal(its, span_of(actual->incarnation, sizeof actual->incarnation));
    if (*is_foreign)
        log_warning("a supervisor serves another event log: the next start ends it, with all that "
                    "it holds",
                    "tenant", reply.tenant, "pid", NUMBER(reply.pid), "services",
                    NUMBER(reply.services));
    return STATUS_OK;
}

static enum status ask_supervisor(void *context, const char *tenant)
{
    const struct supervisors *supervisors = context;
    struct actual *actual = supervisors->actual;
    char path[4096];
    bool is_silent = false, is_foreign = false;
    struct problem problem = { 0 };
    size_t first = actual->count;
    AUTO(peer_close) struct peer peer = { 0 };
    TRY(tenant_socket_path(path, supervisors->settings->run_dir, tenant));
    TRY(peer_open(&peer, &(struct rpc_client_options){ .path = path }));
    enum status status = ask_whom(&peer, actual, &is_foreign, &is_silent, &problem);
    if (status == STATUS_OK && is_foreign)
        return STATUS_OK;
    if (status == STATUS_OK)
        status = ask_pages(&peer, ask_page_of_supervisor, actual, &is_silent, &problem);
    for (size_t i = first; i < actual->count; i++)
        actual->services[i].is_held = true;
    if (!is_silent)
        return status;
    log_warning("a supervisor does not answer; its services are taken as last known", "tenant",
                tenant, "status", status_name(status), "reason", problem.message);
    struct silent_tenant *silent = arena_alloc(&actual->arena, sizeof *silent);
    if (silent == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    *silent =
        (struct silent_tenant){ actual->silent, arena_text(&actual->arena, span_of_text(tenant)) };
    actual->silent = silent;
    return silent->name == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

/* --- the registry --- */

static bool is_silent(const struct actual *actual, const char *tenant)
{
    for (const struct silent_tenant *silent = actual->silent; silent != NULL; silent = silent->next)
        if (strcmp(silent->name, tenant) == 0)
            return true;
    return false;
}

struct living {
    struct actual *actual;
    const char *boot_id;
};

static enum status add_if_alive(void *context, const struct service_row *row)
{
    const struct living *living = context;
    struct actual *actual = living->actual;
    /* A supervisor that only hangs holds it all the same. */
    if (strcmp(row->boot_id, living->boot_id) == 0 && is_silent(actual, row->tenant))
        return add(actual, row, true);
    if (row->pid == 0 || row->start_ticks == 0 || strcmp(row->boot_id, living->boot_id) != 0 ||
        !process_lives(row->pid, row->start_ticks))
        return STATUS_OK;
    return add(actual, row, false);
}

/* The registry need not survive anything: what cannot be read of it is told and counts for nothing.
 */
static enum status read_registry(const char *run_dir, const char *boot_id, struct actual *actual)
{
    size_t count = actual->count;
    enum status status = registry_rows_each(run_dir, actual->incarnation, add_if_alive,
                                            &(struct living){ actual, boot_id });
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        return STATUS_OK;
    actual->count = count;
    log_warning("the registry cannot be read; what it may know of is taken as not running", "run",
                run_dir, "status", status_name(status));
    return STATUS_OK;
}

static enum status read_all(const struct settings *settings, struct actual *actual)
{
    char boot_id[BOOT_ID_BYTES];
    enum run_boot boot;
    TRY(clock_boot_id(boot_id));
    /* RUN is for one boot: what another one left says nothing. */
    if (run_boot_find(settings->run_dir, &boot) == STATUS_OK && boot == RUN_BOOT_EARLIER)
        return STATUS_OK;
    enum status status = ask_deployd(settings, actual);
    if (status != STATUS_UNAVAILABLE)
        return status;
    TRY(tenants_locked_each(settings->run_dir, ask_supervisor,
                            &(struct supervisors){ settings, actual }));
    if (actual->count > 0)
        actual->source = "supervisors";
    return read_registry(settings->run_dir, boot_id, actual);
}

enum status actual_read(const struct settings *settings, const uint8_t incarnation[16],
                        struct actual *actual)
{
    *actual = (struct actual){ .arena = { .limit = NAMES_BYTES_MAX }, .source = "nothing runs" };
    memcpy(actual->incarnation, incarnation, sizeof actual->incarnation);
    enum status status = read_all(settings, actual);
    if (status != STATUS_OK) {
        actual_close(actual);
        return status;
    }
    settle(actual);
    return STATUS_OK;
}

const struct actual_service *actual_find(const struct actual *actual, const char *tenant,
                                         const char *name)
{
    for (size_t low = 0, high = actual->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        const struct actual_service *met = &actual->services[middle];
        int order = plan_service_compare(met->tenant, met->name, tenant, name);
        if (order == 0)
            return met;
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

void actual_close(struct actual *actual)
{
    arena_close(&actual->arena);
    free(actual->services);
    *actual = (struct actual){ 0 };
}
