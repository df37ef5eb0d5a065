/* Reading both sides. The log is read in one snapshot: wanted rows, the specs of what has to be
 * started, and the events that un-wanted what still runs. Nothing here walks the log, unless its
 * projection is damaged while eventd is down: then it is folded as eventd will fold it. */
#include "recoveryd/picture.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/log_fold.h"
#include "common/api/records/log_salvage.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/spec/build.h"
#include "common/spec/printable.h"
#include "common/spec/spec.h"
#include "common/wire/reader.h"
#include "recoveryd/anchors.h"
#include "recoveryd/event_store.h"

enum {
    READ_ATTEMPTS_MAX = 10,
    CHAIN_CHECKED = 1000,
    UNWANTED_STEPS_MAX = 64, /* events of one subject looked at for the one that un-wanted it */
    PICTURE_BYTES_MAX = 64 * 1024 * 1024,
    SPEC_ARENA_BYTES = 4 * 1024 * 1024,
};

/* --- wanted --- */

static enum status take_wanted(void *context, const char *tenant, const char *name,
                               const struct live_row *row)
{
    struct picture *picture = context;
    struct plan_wanted *wanted = &picture->wanted[picture->wanted_count];
    *wanted = (struct plan_wanted){
        .tenant = arena_text(&picture->arena, span_of_text(tenant)),
        .name = arena_text(&picture->arena, span_of_text(name)),
        .row = *row,
        .obstacle = PLAN_CODE_none,
    };
    if (wanted->tenant == NULL || wanted->name == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    picture->wanted_count++;
    return STATUS_OK;
}

static enum status make_room(struct picture *picture, uint64_t count)
{
    if (count > SERVICES_MAX)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "read wanted services", "count",
                           NUMBER(count));
    picture->wanted = calloc(count + 1, sizeof *picture->wanted);
    return picture->wanted == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

static enum status read_projection(struct db_txn *txn, struct picture *picture)
{
    uint64_t count;
    TRY(table_verify(txn, EVENTS_TENANTS)); /* eventd folds both anew when one is wrong */
    TRY(live_count(txn, &count));
    TRY(make_room(picture, count));
    return live_each(txn, take_wanted, picture);
}

static enum status fold_wanted(struct db_txn *txn, struct picture *picture)
{
    AUTO(log_fold_close) struct log_fold fold = { 0 };
    TRY(log_fold_open_at_cut(&fold, txn));
    picture->log.chain_from = fold.next;
    TRY(log_fold_advance(&fold, txn, picture->log.last_event, UINT64_MAX));
    log_fold_sort(&fold);
    TRY(make_room(picture, HASH_COUNT(fold.services)));
    for (const struct folded *service = fold.services; service != NULL;
         service = service->hh.next) {
        char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
        TRY(service_key_split(service->key, tenant, name));
        TRY(take_wanted(picture, tenant, name, &service->row));
    }
    return STATUS_OK;
}

/* Beside a running eventd a damaged projection is damage like any other: it was whole when eventd
 * opened the store, and nobody folds it anew before the next start. */
static enum status read_wanted(struct db_txn *txn, bool is_log_held, struct picture *picture)
{
    enum status status = read_projection(txn, picture);
    if (status != STATUS_DATA_LOSS || is_log_held)
        return status;
    log_warning("what is wanted does not match its digest, folding the log in memory", "dir",
                txn->db->dir);
    free(picture->wanted);
    picture->wanted = NULL;
    picture->wanted_count = 0;
    picture->log.is_live_damaged = true;
    return fold_wanted(txn, picture);
}

/* --- obstacles --- */

static enum status note_obstacle(struct picture *picture, struct plan_wanted *wanted,
                                 enum plan_code code, const char *detail)
{
    char text[REASON_BYTES_MAX];
    text_printable(text, sizeof text, span_of_text(detail));
    wanted->obstacle = code;
    wanted->obstacle_detail = arena_text(&picture->arena, span_of_text(text));
    return wanted->obstacle_detail == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

/* Whether what its compiler made is in DATA/builds. */
static bool is_kept(const struct settings *settings, const struct spec *spec)
{
    char compiler[PATH_MAX], folder[PATH_MAX], path[PATH_MAX], name[HASH_TEXT_BYTES];
    struct hash key;
    return build_compiler_find(spec, compiler) == STATUS_OK &&
           build_key(spec, compiler, &key) == STATUS_OK &&
           path_join(folder, settings->data_dir, BUILDS_FOLDER) == STATUS_OK &&
           path_join(path, folder, build_key_text(&key, name)) == STATUS_OK &&
           access(path, F_OK) == 0;
}

static enum status find_obstacle(struct db_txn *txn, const struct settings *settings,
                                 struct picture *picture, struct plan_wanted *wanted,
                                 struct program_memory *memory, struct arena *arena)
{
    struct log_salvage salvage;
    struct span packed;
    struct spec spec;
    struct problem problem = { 0 };
    TRY(log_salvage_read(txn, &salvage));
    if (log_salvage_needs_review(&salvage, wanted->tenant, wanted->name, wanted->row.since))
        return note_obstacle(picture, wanted, PLAN_CODE_needs_review, "");
    enum status status = event_log_spec(txn, wanted->row.generation, &packed);
    if (status == STATUS_NOT_FOUND)
        return note_obstacle(picture, wanted, PLAN_CODE_spec_invalid,
                             "its generation is no service_deployed event");
    TRY(status);
    status = spec_decode(packed, arena, &spec, &problem);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return status;
    if (status != STATUS_OK) {
        char text[REASON_BYTES_MAX];
        snprintf(text, sizeof text, "%.80s %.150s", problem.field, problem.message);
        return note_obstacle(picture, wanted, PLAN_CODE_spec_invalid, text);
    }
    status = spec_program_check(&spec, settings->data_dir, PROGRAM_OWN_UID, memory, &problem);
    if (status == STATUS_OK && spec_is_built(&spec) && !is_kept(settings, &spec))
        status = problem_set(&problem, STATUS_UNKNOWN, "build",
                             "it has to be built, and only that shows whether it builds");
    if (status == STATUS_OK && spec.secret_count > 0)
        status = problem_set(&problem, STATUS_UNKNOWN, "secrets",
                             "only the attempt shows whether its secrets can be read");
    if (status == STATUS_OK)
        return STATUS_OK;
    return note_obstacle(picture, wanted,
                         status == STATUS_UNKNOWN ? PLAN_CODE_none
                                                  : plan_code_of_program(problem.field),
                         problem.message);
}

static struct plan_wanted *wanted_of(struct picture *picture, const struct plan_entry *entry)
{
    /* Entries point to the very names of the rows. */
    for (size_t low = 0, high = picture->wanted_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = plan_service_compare(picture->wanted[middle].tenant,
                                         picture->wanted[middle].name, entry->tenant, entry->name);
        if (order == 0)
            return &picture->wanted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Reads the spec of everything that a first plan would start. */
static enum status find_obstacles(struct db_txn *txn, const struct settings *settings,
                                  struct picture *picture, const struct plan *plan)
{
    struct program_memory memory = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->entries[i].action != PLAN_START && plan->entries[i].action != PLAN_REPLACE)
            continue;
        struct plan_wanted *wanted = wanted_of(picture, &plan->entries[i]);
        TRY(find_obstacle(txn, settings, picture, wanted, &memory, &arena));
        arena_reset(&arena);
    }
    return STATUS_OK;
}

/* --- what un-wanted it --- */

static enum status find_record(struct db_txn *txn, struct plan_actual *actual)
{
    char subject[SUBJECT_BYTES];
    uint64_t id;
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    TRY(event_log_head(txn, HEAD_OF_SUBJECT,
                       subject_of_service(subject, actual->tenant, actual->name), &id));
    actual->has_record = id != 0;
    for (int step = 0; id != 0 && step < UNWANTED_STEPS_MAX; step++) {
        struct event event;
        TRY(event_log_read(txn, id, &arena, &event));
        switch (event_type_parse(event.type)) {
        case EVENT_service_killed:
        case EVENT_service_completed:
        case EVENT_service_deployment_failed:
            actual->killed_by = id;
            return STATUS_OK;
        default:
            break;
        }
        id = event.previous_of_subject;
        arena_reset(&arena);
    }
    return STATUS_OK;
}

static enum status plan_actual_list(struct db_txn *txn, struct picture *picture,
                                    struct plan_actual **list)
{
    const struct actual *actual = &picture->actual;
    struct plan_actual *made = calloc(actual->count + 1, sizeof *made);
    if (made == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    *list = made;
    for (size_t i = 0; i < actual->count; i++) {
        const struct actual_service *service = &actual->services[i];
        made[i] = (struct plan_actual){
            .tenant = service->tenant,
            .name = service->name,
            .state = service->state,
            .generation = service->generation,
            .since = service->since,
            .pid = service->pid,
            .is_held = service->is_held,
            .has_record = true,
        };
        struct plan_entry key = { .tenant = service->tenant, .name = service->name };
        if (txn != NULL && wanted_of(picture, &key) == NULL)
            TRY(find_record(txn, &made[i]));
        else if (txn == NULL)
            made[i].has_record = false;
    }
    return STATUS_OK;
}

static void free_list(struct plan_actual **list)
{
    free(*list);
}

static enum status make_plan(struct db_txn *txn, const struct settings *settings,
                             struct picture *picture)
{
    AUTO(free_list) struct plan_actual *actual = NULL;
    AUTO(plan_close) struct plan first = { 0 };
    TRY(plan_actual_list(txn, picture, &actual));
    TRY(plan_make(picture->wanted, picture->wanted_count, actual, picture->actual.count,
                  picture->is_new_run, &first));
    if (txn != NULL)
        TRY(find_obstacles(txn, settings, picture, &first));
    return plan_make(picture->wanted, picture->wanted_count, actual, picture->actual.count,
                     picture->is_new_run, &picture->plan);
}

/* --- the run --- */

/* The event by which the run that goes on began; 0 while deployd has not recorded the one that
 * solod has begun, and without daemons: then the next start begins one. */
static enum status run_find(struct db_txn *txn, const struct settings *settings, bool is_log_held,
                            struct picture *picture, uint64_t *run)
{
    char current[UUID_TEXT_BYTES], recorded[UUID_TEXT_BYTES];
    struct event event;
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    TRY(event_log_head(txn, HEAD_OF_TYPE, event_type_name(EVENT_system_started), run));
    if (*run == 0)
        return STATUS_OK;
    TRY(event_log_read(txn, *run, &arena, &event));
    map_text(event.payload, "run_id", recorded, sizeof recorded);
    map_text(event.payload, "last_end", picture->last_end, sizeof picture->last_end);
    if (!is_log_held ||
        (run_id_read(settings->run_dir, current) == STATUS_OK && strcmp(current, recorded) != 0))
        *run = 0;
    return STATUS_OK;
}

/* Whether this run's first recovery is still to come, and how the run before it ended. */
static enum status judge_run(struct db_txn *txn, const struct settings *settings, bool is_log_held,
                             struct picture *picture)
{
    uint64_t run, recovered;
    char boot_id[BOOT_ID_BYTES];
    TRY(run_find(txn, settings, is_log_held, picture, &run));
    TRY(event_log_head(txn, HEAD_OF_TYPE, event_type_name(EVENT_recovery_completed), &recovered));
    picture->is_new_run = run == 0 || recovered < run;
    if (run != 0)
        return STATUS_OK;
    TRY(clock_boot_id(boot_id));
    return run_end_find(txn, boot_id, picture->last_end);
}

static enum status read_log(struct event_store *store, const struct settings *settings,
                            const struct anchors *anchors, struct picture *picture)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t checked, first;
    TRY(db_begin_read(&store->db, &txn));
    picture->log.exists = true;
    memcpy(picture->log.store_id, store->db.identity.id, sizeof picture->log.store_id);
    TRY(event_log_last(&txn, &picture->log.last_event));
    uint64_t last = picture->log.last_event;
    TRY(anchors_compare(anchors, &txn, last, &picture->log.branch));
    TRY(event_log_first(&txn, &first));
    picture->log.chain_from = last > CHAIN_CHECKED ? last - CHAIN_CHECKED + 1 : 1;
    if (picture->log.chain_from < first)
        picture->log.chain_from = first;
    TRY(event_log_verify(&txn, picture->log.chain_from, CHAIN_CHECKED, &checked));
    TRY(db_usage(&store->db, &picture->log.map_used_bytes, &picture->log.map_bytes));
    TRY(judge_run(&txn, settings, !store->is_without_trace, picture));
    if (recovery_cut_find(&txn, &picture->cut) != STATUS_OK)
        picture->cut = (struct recovery_cut){ 0 }; /* it is only shown: nobody waits for it */
    TRY(read_wanted(&txn, !store->is_without_trace, picture));
    return make_plan(&txn, settings, picture);
}

static void forget_log(struct picture *picture)
{
    plan_close(&picture->plan);
    free(picture->wanted);
    picture->wanted = NULL;
    picture->wanted_count = 0;
    memset(&picture->log, 0, sizeof picture->log);
    arena_reset(&picture->arena);
}

/* A log that others know of is gone: eventd, which makes a new one, would call it FORKED. */
static void fork_without_log(const struct anchors *anchors, struct picture *picture)
{
    for (size_t i = 0; i < anchors->count; i++)
        if (anchors->items[i].anchor.id != 0)
            log_branch_fork(&picture->log.branch, anchors->items[i].witness,
                            &anchors->items[i].anchor, 0);
}

/* What is there is asked for before the snapshot of the log is taken, and after the store was
 * opened, which says whose supervisors count. */
static enum status take_once(const struct settings *settings, struct picture *picture,
                             bool *is_settled)
{
    static const uint8_t no_log[16];
    struct anchors anchors;
    *is_settled = true;
    forget_log(picture);
    actual_close(&picture->actual);
    anchors_read(settings, &anchors);
    AUTO(event_store_close) struct event_store store = { 0 };
    enum status status = event_store_open(&store, settings->data_dir);
    if (status == STATUS_NOT_FOUND) {
        picture->is_new_run = true;
        fork_without_log(&anchors, picture);
        TRY(actual_read(settings, no_log, &picture->actual));
        return make_plan(NULL, settings, picture);
    }
    TRY(status);
    TRY(actual_read(settings, store.db.identity.incarnation, &picture->actual));
    status = read_log(&store, settings, &anchors, picture);
    if (status == STATUS_NOT_FOUND) /* a head, a link or a row names it */
        status = log_failure(STATUS_DATA_LOSS, "read the event store", "reason",
                             "an event that it names is missing");
    if (store.is_without_trace)
        TRY(event_store_is_settled(&store, is_settled));
    return status;
}

static enum status take(const struct settings *settings, struct picture *picture)
{
    for (int attempt = 0; attempt < READ_ATTEMPTS_MAX; attempt++) {
        bool is_settled;
        enum status status = take_once(settings, picture, &is_settled);
        if (is_settled)
            return status;
    }
    return log_failure(STATUS_ABORTED, "read the event store", "reason",
                       "it kept changing while no writer held it");
}

enum status picture_take(const struct settings *settings, struct picture *picture)
{
    *picture = (struct picture){ .arena = { .limit = PICTURE_BYTES_MAX } };
    enum status status = take(settings, picture);
    if (status != STATUS_OK)
        picture_close(picture);
    return status;
}

void picture_close(struct picture *picture)
{
    forget_log(picture);
    arena_close(&picture->arena);
    actual_close(&picture->actual);
}
