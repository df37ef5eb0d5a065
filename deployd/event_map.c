/* Short transactions on eventd's map. Searches go back along the links of one subject and are
 * bounded; deployd is the only writer of what it looks for, so what it does not find there is not
 * there. */
#include "deployd/event_map.h"

#include <stdio.h>
#include <string.h>

#include "common/api/event_types.h"
#include "common/api/records/log_salvage.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/plan/plan.h"
#include "common/wire/reader.h"

enum {
    FAILURE_LATER_MAX = 64, /* after the failure of a first deploy little can happen to it */
};

enum status event_map_open(struct event_map *map, const char *data_dir)
{
    if (map->is_open)
        return STATUS_OK; /* LMDB must not have a file open twice */
    TRY(path_join(map->dir, data_dir, "events"));
    TRY(db_open_reader(&map->db, &events_schema, map->dir));
    map->is_open = true;
    map->is_checked = true;
    return STATUS_OK;
}

void event_map_close(struct event_map *map)
{
    if (map->is_open)
        db_close(&map->db);
    map->is_open = false;
}

void event_map_connected(struct event_map *map, bool is_connected)
{
    map->is_served = is_connected;
    map->was_seen = map->is_checked = false;
    map->was_replaced = map->was_replaced || map->is_foreign;
    map->is_foreign = false;
}

void event_map_turn_ended(struct event_map *map)
{
    map->is_checked = false;
}

enum status event_map_begin(struct event_map *map, struct db_txn *txn)
{
    if (map->is_open && !map->is_checked && db_check_same_file(&map->db) != STATUS_OK) {
        log_warning("the event store was replaced", "dir", map->dir);
        event_map_close(map);
        map->was_replaced = true;
        map->is_foreign = map->is_served && map->was_seen;
    }
    if (map->is_foreign && db_check_same_file(&map->db) != STATUS_OK)
        return STATUS_UNAVAILABLE;
    map->is_foreign = false; /* the one that this eventd has open may have come back */
    if (!map->is_open) {
        enum status status = db_open_reader(&map->db, &events_schema, map->dir);
        if (status != STATUS_OK)
            return status == STATUS_NOT_FOUND ? STATUS_UNAVAILABLE : status;
        map->is_open = true;
    }
    map->is_checked = map->was_seen = true;
    return db_begin_read(&map->db, txn);
}

bool event_map_is_forked(struct event_map *map, struct log_branch *branch)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    *branch = (struct log_branch){ 0 };
    return event_map_begin(map, &txn) == STATUS_OK && log_branch_read(&txn, branch) == STATUS_OK &&
           branch->is_forked;
}

bool event_map_needs_review(struct event_map *map, const char *tenant, const char *name,
                            uint64_t since)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct log_salvage salvage;
    return event_map_begin(map, &txn) == STATUS_OK &&
           log_salvage_read(&txn, &salvage) == STATUS_OK &&
           log_salvage_needs_review(&salvage, tenant, name, since);
}

enum status event_map_live(struct event_map *map, const char *tenant, const char *name,
                           struct live_row *row)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(event_map_begin(map, &txn));
    struct live_row found = { 0 };
    enum status status = live_find(&txn, tenant, name, &found);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    *row = status == STATUS_OK ? found : (struct live_row){ 0 };
    return STATUS_OK;
}

enum status event_map_tenant(struct event_map *map, const char *tenant, struct tenant_row *row)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(event_map_begin(map, &txn));
    return tenant_find(&txn, tenant, row);
}

enum status event_map_newest(struct event_map *map, const char *subject, uint64_t *id)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(event_map_begin(map, &txn));
    return event_log_head(&txn, HEAD_OF_SUBJECT, subject, id);
}

/* Calls `look` with each event of a subject, newest first, until it says that it has seen enough.
 * *is_cut when the walk ended before that: at its bound, or where the log begins because what was
 * before is archived. */
static enum status subject_walk(struct event_map *map, const char *subject, unsigned count_max,
                                bool (*look)(void *context, const struct event *event),
                                void *context, bool *is_cut)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    TRY(event_map_begin(map, &txn));
    uint64_t id, first;
    size_t bytes = 0;
    *is_cut = false;
    TRY(event_log_first(&txn, &first));
    TRY(event_log_head(&txn, HEAD_OF_SUBJECT, subject, &id));
    for (unsigned count = 0; id != 0; count++) {
        struct event event;
        if (count == count_max || bytes > LOG_SEARCH_BYTES_MAX) {
            *is_cut = true;
            return STATUS_OK;
        }
        TRY(event_log_read(&txn, id, &arena, &event));
        if (look(context, &event))
            return STATUS_OK;
        bytes += event.payload.size;
        id = event.previous_of_subject;
        arena_reset(&arena);
    }
    *is_cut = first > 1;
    return STATUS_OK;
}

enum status event_map_request(struct event_map *map, const char *tenant, const struct uuid *id,
                              const struct hash *body, struct request_record *record,
                              struct problem *problem)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct request_outcome outcome;
    struct event event;
    *record = (struct request_record){ 0 };
    TRY(event_map_begin(map, &txn));
    enum status status = event_log_request(&txn, tenant, id, body, &outcome, problem);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    /* Of a deploy that ended another one's trial it is the second (operation_trial_write). */
    uint64_t last_id = outcome.first_id + (outcome.count > 0 ? outcome.count - 1 : 0);
    status = event_log_read(&txn, last_id, &arena, &event);
    if (status == STATUS_NOT_FOUND) /* an operator had events of the last day archived */
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "request_id",
                           "was carried out, and its event (%llu) was archived since",
                           (unsigned long long)last_id);
    TRY(status);
    record->event_id = event.id;
    record->generation = map_u64(event.payload, "generation", event.id);
    return STATUS_OK;
}

struct outcome_search {
    uint64_t generation;
    struct generation_outcome *outcome;
};

/* It failed in nothing but that it was not ready yet when another deploy came. */
static bool is_replaced(const struct event *failure)
{
    char code[40];
    return strcmp(map_text(failure->payload, "code", code, sizeof code),
                  plan_code_name(PLAN_CODE_replaced)) == 0;
}

/* Newest first, so the oldest event after the generation decides, unless it failed outright. */
static bool outcome_look(void *context, const struct event *event)
{
    struct outcome_search *search = context;
    struct generation_outcome *outcome = search->outcome;
    if (event->id <= search->generation)
        return true;
    bool is_about_it = map_u64(event->payload, "generation", 0) == search->generation;
    switch (event_type_parse(event->type)) {
    case EVENT_service_deployment_failed:
        if (!is_about_it)
            return false;
        if (outcome->fate == FATE_REPLACED && is_replaced(event))
            return true;
        outcome->fate = FATE_FAILED;
        outcome->event_id = event->id;
        map_text(event->payload, "reason", outcome->reason, sizeof outcome->reason);
        return true;
    case EVENT_service_completed:
        if (is_about_it)
            outcome->fate = FATE_COMPLETED, outcome->event_id = event->id;
        return false;
    case EVENT_service_deployed:
        outcome->fate = FATE_REPLACED, outcome->event_id = event->id;
        return false;
    case EVENT_service_killed:
        outcome->fate = FATE_KILLED, outcome->event_id = event->id;
        return false;
    default:
        return false;
    }
}

enum status event_map_outcome(struct event_map *map, const char *subject, uint64_t generation,
                              struct generation_outcome *outcome)
{
    *outcome = (struct generation_outcome){ 0 };
    struct outcome_search search = { generation, outcome };
    bool is_cut;
    return subject_walk(map, subject, LOG_SEARCH_MAX, outcome_look, &search, &is_cut);
}

/* A first deploy: a later one has a generation to fall back to. */
static bool is_first_deploy(const struct event *failure)
{
    return map_u64(failure->payload, "previous", 0) == 0;
}

struct later_search {
    uint64_t failure;
    bool is_overtaken;
};

static bool later_look(void *context, const struct event *event)
{
    struct later_search *search = context;
    enum event_type type = event_type_parse(event->type);
    if (event->id > search->failure)
        search->is_overtaken = type == EVENT_service_deployed || type == EVENT_service_killed;
    return search->is_overtaken || event->id <= search->failure;
}

/* The failures among the newest ones, newest first. */
static enum status failures_collect(struct event_map *map, uint64_t ids[FAILED_DEPLOYS_MAX],
                                    size_t *count)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    uint64_t id;
    TRY(event_map_begin(map, &txn));
    TRY(event_log_head(&txn, HEAD_OF_TYPE, event_type_name(EVENT_service_deployment_failed), &id));
    for (unsigned looked = 0; id != 0 && looked < LOG_SEARCH_MAX && *count < FAILED_DEPLOYS_MAX;
         looked++) {
        struct event event;
        TRY(event_log_read(&txn, id, &arena, &event));
        if (is_first_deploy(&event))
            ids[(*count)++] = id;
        id = event.previous_of_type;
        arena_reset(&arena);
    }
    return STATUS_OK;
}

static enum status failure_read(struct event_map *map, uint64_t id, char subject[SUBJECT_BYTES],
                                struct failed_deploy *failed)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    TRY(event_map_begin(map, &txn));
    TRY(event_log_read(&txn, id, &arena, &event));
    *failed = (struct failed_deploy){ .generation = map_u64(event.payload, "generation", 0) };
    snprintf(subject, SUBJECT_BYTES, "%s", event.subject);
    map_text(event.payload, "reason", failed->reason, sizeof failed->reason);
    return subject_to_service(subject, failed->tenant, failed->name) ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status event_map_failed_deploy(struct event_map *map, uint64_t id,
                                    struct failed_deploy *failed)
{
    char subject[SUBJECT_BYTES];
    return failure_read(map, id, subject, failed);
}

enum status event_map_failed_deploys(struct event_map *map, uint64_t ids[FAILED_DEPLOYS_MAX],
                                     size_t *count)
{
    size_t found = 0, kept = 0;
    *count = 0;
    TRY(failures_collect(map, ids, &found));
    for (size_t i = 0; i < found / 2; i++) {
        uint64_t id = ids[i];
        ids[i] = ids[found - 1 - i];
        ids[found - 1 - i] = id;
    }
    for (size_t i = 0; i < found; i++) {
        char subject[SUBJECT_BYTES];
        struct failed_deploy failed;
        struct later_search search = { .failure = ids[i] };
        bool is_cut;
        TRY(failure_read(map, ids[i], subject, &failed));
        TRY(subject_walk(map, subject, FAILURE_LATER_MAX, later_look, &search, &is_cut));
        if (!search.is_overtaken && !is_cut)
            ids[kept++] = ids[i];
    }
    *count = kept;
    return STATUS_OK;
}

struct run_search {
    uint64_t generation;
    bool has_run;
};

static bool has_run_look(void *context, const struct event *event)
{
    struct run_search *search = context;
    char code[40];
    if (event->id <= search->generation)
        return true;
    switch (event_type_parse(event->type)) {
    case EVENT_service_started:
    case EVENT_service_restarted:
    case EVENT_service_recovered:
        search->has_run = map_u64(event->payload, "generation", 0) == search->generation;
        return search->has_run;
    case EVENT_service_recovery_failed:
        /* It ran, and a recovery waited for it in vain. */
        search->has_run = map_u64(event->payload, "generation", 0) == search->generation &&
                          strcmp(map_text(event->payload, "code", code, sizeof code),
                                 plan_code_name(PLAN_CODE_not_ready)) == 0;
        return search->has_run;
    default:
        return false;
    }
}

enum status event_map_has_run(struct event_map *map, const char *subject, uint64_t generation,
                              bool *has_run)
{
    struct run_search search = { .generation = generation };
    bool is_cut;
    TRY(subject_walk(map, subject, LOG_SEARCH_MAX, has_run_look, &search, &is_cut));
    *has_run = search.has_run || is_cut;
    return STATUS_OK;
}

struct start_search {
    uint64_t event_id;
    bool is_found;
};

static bool start_look(void *context, const struct event *event)
{
    struct start_search *search = context;
    enum event_type type = event_type_parse(event->type);
    bool is_start = type == EVENT_service_started || type == EVENT_service_restarted ||
                    type == EVENT_service_recovered;
    search->is_found = is_start && event->causation_id >= search->event_id;
    return search->is_found || event->id <= search->event_id;
}

enum status event_map_was_started_for(struct event_map *map, const char *subject, uint64_t event_id,
                                      bool *was_started)
{
    struct start_search search = { .event_id = event_id };
    bool is_cut;
    TRY(subject_walk(map, subject, LOG_SEARCH_MAX, start_look, &search, &is_cut));
    *was_started = search.is_found || is_cut;
    return STATUS_OK;
}

void recovery_outcome_read(struct span report, struct recovery_outcome *outcome)
{
    char state[8];
    outcome->is_cut = strcmp(map_text(report, "state", state, sizeof state), "cut") == 0;
    outcome->done = map_u64(report, "done", outcome->done);
    outcome->total = map_u64(report, "total", outcome->total);
    outcome->failed = map_u64(report, "failed", outcome->failed);
    outcome->took_ms = map_u64(report, "took_ms", outcome->took_ms);
    map_text(report, "exit_hint", outcome->exit_hint, sizeof outcome->exit_hint);
}

/* The newest event of a type after `after`; 0 for none. */
static enum status newest_after(struct db_txn *txn, enum event_type type, uint64_t after,
                                uint64_t *id)
{
    TRY(event_log_head(txn, HEAD_OF_TYPE, event_type_name(type), id));
    if (*id <= after)
        *id = 0;
    return STATUS_OK;
}

/* The newest events of their types: they are there however much of the run was archived. */
enum status event_map_run(struct event_map *map, struct run_record *run)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    struct event event;
    struct reader report;
    struct run_record found = { 0 };
    *run = found;
    TRY(event_map_begin(map, &txn));
    TRY(newest_after(&txn, EVENT_system_started, 0, &found.started));
    TRY(newest_after(&txn, EVENT_recovery_started, found.started, &found.recovery_started));
    TRY(newest_after(&txn, EVENT_recovery_completed,
                     found.recovery_started != 0 ? found.recovery_started : found.started,
                     &found.recovery_completed));
    if (found.started != 0) {
        TRY(event_log_read(&txn, found.started, &arena, &event));
        map_text(event.payload, "run_id", found.run_id, sizeof found.run_id);
        map_text(event.payload, "last_end", found.last_end, sizeof found.last_end);
        arena_reset(&arena);
    }
    if (found.recovery_completed != 0) {
        TRY(event_log_read(&txn, found.recovery_completed, &arena, &event));
        if (map_find(event.payload, "report", &report) == STATUS_OK)
            recovery_outcome_read(report.rest, &found.outcome);
    }
    *run = found;
    return STATUS_OK;
}

enum status event_map_run_end(struct event_map *map, const char *boot_id, char end[RUN_END_BYTES])
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(event_map_begin(map, &txn));
    return run_end_find(&txn, boot_id, end);
}

enum status event_map_recovery_cut(struct event_map *map, struct recovery_cut *cut)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(event_map_begin(map, &txn));
    return recovery_cut_find(&txn, cut);
}
