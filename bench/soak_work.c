/* One thread to a tenant; the first also appends. A thread rests only between two requests, so that
 * in a pause every outcome is known. */
#include "bench/soak_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/api/records/event_log.h"
#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/uuid.h"
#include "common/wire/reader.h"

enum { CALL_MS = 20000, RETRY_MS = 5, GIVE_UP_MS = 300000, TOKEN_EVERY = 10 };

struct worker {
    struct soak *soak;
    char tenant[16];
    struct caller deployd, eventd, tokend;
};

/* --- requests --- */

static bool is_final(enum status status)
{
    return status != STATUS_UNAVAILABLE && status != STATUS_UNKNOWN &&
           status != STATUS_DEADLINE_EXCEEDED && status != STATUS_RESOURCE_EXHAUSTED &&
           status != STATUS_CANCELLED;
}

static enum status try_once(struct worker *worker, struct caller *caller, const char *daemon,
                            const char *method, const json_t *params, json_t **reply,
                            struct problem *problem)
{
    char path[4096];
    if (caller->fd <= 0) {
        caller_close(caller);
        if (caller_open(caller, testbed_socket(worker->soak->bed, daemon, path)) != STATUS_OK)
            return STATUS_UNAVAILABLE;
    }
    return caller_call(caller, method, params, CALL_MS, reply, problem);
}

/* Until there is an answer that means something; params are stolen, the id is the same each time.
 */
static json_t *insist(struct worker *worker, struct caller *caller, const char *daemon,
                      const char *method, json_t *params)
{
    char id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    struct problem problem = { 0 };
    json_t *reply = NULL;
    uint64_t begin = clock_boottime_ns(), retries = 0, took_ms = 0;
    enum status status;
    json_object_set_new(params, "request_id", json_string(uuid_text(id, &uuid)));
    while (!is_final(status = try_once(worker, caller, daemon, method, params, &reply, &problem))) {
        took_ms = (clock_boottime_ns() - begin) / 1000000;
        if (took_ms > GIVE_UP_MS)
            test_fail("%s got no answer in %d s, the last was %s %s", method, GIVE_UP_MS / 1000,
                      status_name(status), problem.message);
        retries++;
        sleep_ms(RETRY_MS);
    }
    if (status != STATUS_OK)
        test_fail("%s: %s %s %s", method, status_name(status), problem.field, problem.message);
    json_decref(params);
    took_ms = (clock_boottime_ns() - begin) / 1000000;
    struct soak *soak = worker->soak;
    pthread_mutex_lock(&soak->mutex);
    soak->retries += retries;
    soak->longest_ms = took_ms > soak->longest_ms ? took_ms : soak->longest_ms;
    pthread_mutex_unlock(&soak->mutex);
    return reply;
}

static void note(struct soak *soak, const struct soak_ack *ack)
{
    pthread_mutex_lock(&soak->mutex);
    if (soak->ack_count == soak->ack_capacity) {
        soak->ack_capacity = soak->ack_capacity == 0 ? 4096 : 2 * soak->ack_capacity;
        soak->acks = realloc(soak->acks, soak->ack_capacity * sizeof *soak->acks);
        if (soak->acks == NULL)
            test_fail("no memory");
    }
    soak->acks[soak->ack_count++] = *ack;
    pthread_mutex_unlock(&soak->mutex);
}

static void do_pair(struct worker *worker, uint64_t number)
{
    struct soak *soak = worker->soak;
    char mark[24];
    snprintf(mark, sizeof mark, "%lu", (unsigned long)number);
    json_t *reply =
        insist(worker, &worker->deployd, "deployd", "service.deploy",
               json_pack("{s:o}", "spec",
                         service_spec(soak->bed, worker->tenant, "pair", "sleeper", mark, NULL)));
    uint64_t generation = number_in(reply, "event_id");
    note(soak, &(struct soak_ack){ generation, number, SOAK_DEPLOYED });
    json_decref(reply);
    reply = insist(worker, &worker->deployd, "deployd", "service.kill",
                   json_pack("{s:s, s:s}", "tenant", worker->tenant, "name", "pair"));
    note(soak, &(struct soak_ack){ number_in(reply, "event_id"), generation, SOAK_KILLED });
    json_decref(reply);
}

static void do_token(struct worker *worker)
{
    char text[TOKEN_TEXT_BYTES], hash_text[4 + HASH_TEXT_BYTES] = "hex:";
    token_text_draw(text);
    struct hash hash = token_text_hash(span_of_text(text));
    hex_text(hash_text + 4, hash.bytes, HASH_BYTES);
    json_t *granted = insist(worker, &worker->tokend, "tokend", "token.grant",
                             json_pack("{s:s, s:s, s:[s]}", "token_hash", hash_text, "tenant",
                                       worker->tenant, "permissions", "read"));
    json_decref(insist(worker, &worker->tokend, "tokend", "token.revoke",
                       json_pack("{s:s}", "accessor", text_in(granted, "accessor"))));
    json_decref(granted);
}

static void do_notes(struct worker *worker, uint64_t first, uint64_t count)
{
    json_t *events = json_array();
    for (uint64_t i = 0; i < count; i++)
        json_array_append_new(events, json_pack("{s:s, s:s, s:{s:I, s:s}}", "type", "app.soak",
                                                "tenant", worker->tenant, "payload", "number",
                                                (json_int_t)(first + i), "text",
                                                "as long as a usual event may be, or so"));
    json_t *reply = insist(worker, &worker->eventd, "eventd", "event.append_batch",
                           json_pack("{s:o}", "events", events));
    uint64_t id = number_in(reply, "first_id");
    for (uint64_t i = 0; i < count; i++)
        note(worker->soak, &(struct soak_ack){ id + i, first + i, SOAK_NOTED });
    json_decref(reply);
}

/* --- threads --- */

/* What is due next: as much is appended as pairs are done, in parts of the whole. */
enum work { WORK_NOTHING, WORK_PAIR, WORK_NOTES };

static enum work take_work(struct soak *soak, uint64_t *first, uint64_t *count)
{
    pthread_mutex_lock(&soak->mutex);
    soak->resting++;
    pthread_cond_broadcast(&soak->changed);
    while (soak->is_paused)
        pthread_cond_wait(&soak->changed, &soak->mutex);
    soak->resting--;
    enum work work = WORK_NOTHING;
    bool has_notes = soak->notes_begun < soak->notes, has_pairs = soak->pairs_begun < soak->pairs;
    if (has_notes && (!has_pairs || (double)soak->notes_begun / (double)soak->notes <
                                        (double)soak->pairs_begun / (double)soak->pairs)) {
        uint64_t left = soak->notes - soak->notes_begun;
        work = WORK_NOTES;
        *first = soak->notes_begun + 1;
        *count = left < SOAK_APPEND_BATCH ? left : SOAK_APPEND_BATCH;
        soak->notes_begun += *count;
    } else if (has_pairs) {
        work = WORK_PAIR;
        *first = ++soak->pairs_begun;
    }
    pthread_mutex_unlock(&soak->mutex);
    return work;
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct soak *soak = worker->soak;
    uint64_t first, count;
    for (;;) {
        enum work due = take_work(soak, &first, &count);
        if (due == WORK_NOTHING)
            break;
        bool has_token = due == WORK_PAIR && first % TOKEN_EVERY == 0;
        if (due == WORK_NOTES)
            do_notes(worker, first, count);
        else
            do_pair(worker, first);
        if (has_token)
            do_token(worker);
        pthread_mutex_lock(&soak->mutex);
        soak->pairs_done += due == WORK_PAIR;
        soak->notes_done += due == WORK_NOTES ? count : 0;
        soak->tokens_done += has_token;
        pthread_mutex_unlock(&soak->mutex);
    }
    pthread_mutex_lock(&soak->mutex);
    soak->ended++;
    pthread_cond_broadcast(&soak->changed);
    pthread_mutex_unlock(&soak->mutex);
    caller_close(&worker->deployd);
    caller_close(&worker->eventd);
    caller_close(&worker->tokend);
    free(worker);
    return NULL;
}

void soak_start(struct soak *soak)
{
    pthread_mutex_init(&soak->mutex, NULL);
    pthread_cond_init(&soak->changed, NULL);
    for (int i = 0; i < SOAK_WORKERS; i++) {
        struct worker *worker = calloc(1, sizeof *worker);
        if (worker == NULL)
            test_fail("no memory");
        *worker = (struct worker){ soak, "", CALLER_NONE, CALLER_NONE, CALLER_NONE };
        snprintf(worker->tenant, sizeof worker->tenant, "soak%d", i);
        if (pthread_create(&soak->threads[i], NULL, work, worker) != 0)
            test_fail("no thread");
    }
}

void soak_pause(struct soak *soak)
{
    pthread_mutex_lock(&soak->mutex);
    soak->is_paused = true;
    while (soak->resting + soak->ended < SOAK_WORKERS)
        pthread_cond_wait(&soak->changed, &soak->mutex);
    pthread_mutex_unlock(&soak->mutex);
}

void soak_resume(struct soak *soak)
{
    pthread_mutex_lock(&soak->mutex);
    soak->is_paused = false;
    pthread_cond_broadcast(&soak->changed);
    pthread_mutex_unlock(&soak->mutex);
}

void soak_join(struct soak *soak)
{
    for (int i = 0; i < SOAK_WORKERS; i++)
        pthread_join(soak->threads[i], NULL);
}

bool soak_is_done(struct soak *soak)
{
    pthread_mutex_lock(&soak->mutex);
    bool is_done = soak->ended == SOAK_WORKERS;
    pthread_mutex_unlock(&soak->mutex);
    return is_done;
}

/* --- what was acknowledged --- */

/* A deploy's number stands in its spec, as the last argument. */
static bool has_mark(const struct event *event, const struct soak_ack *ack)
{
    char mark[24];
    switch (ack->kind) {
    case SOAK_DEPLOYED:
        snprintf(mark, sizeof mark, "%lu", (unsigned long)ack->mark);
        return strcmp(event->type, "service_deployed") == 0 &&
               memmem(event->payload.data, event->payload.size, mark, strlen(mark)) != NULL;
    case SOAK_KILLED:
        return strcmp(event->type, "service_killed") == 0 &&
               map_u64(event->payload, "generation", 0) == ack->mark;
    default:
        return strcmp(event->type, "app.soak") == 0 &&
               map_u64(event->payload, "number", 0) == ack->mark;
    }
}

uint64_t soak_count_lost(struct soak *soak)
{
    static struct db db;
    AUTO(arena_close) struct arena arena = { .limit = 1 << 20 };
    struct db_txn txn = { 0 };
    char dir[4096];
    uint64_t lost = 0;
    snprintf(dir, sizeof dir, "%s/events", soak->bed->data);
    if (db_open_reader(&db, &events_schema, dir) != STATUS_OK ||
        db_begin_read(&db, &txn) != STATUS_OK)
        test_fail("cannot read %s", dir);
    for (size_t i = 0; i < soak->ack_count; i++) {
        struct event event;
        arena_reset(&arena);
        bool is_there = event_log_read(&txn, soak->acks[i].id, &arena, &event) == STATUS_OK &&
                        has_mark(&event, &soak->acks[i]);
        if (!is_there && lost++ == 0)
            printf("event %lu was acknowledged and is not there, or another\n",
                   (unsigned long)soak->acks[i].id);
    }
    db_end(&txn);
    db_close(&db);
    soak->found += soak->ack_count - lost;
    soak->ack_count = 0;
    return lost;
}
