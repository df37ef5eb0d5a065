#include "tests/faults/event_life.h"

#include <stdio.h>
#include <string.h>

#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "common/db/probe.h"
#include "tests/support/criterion.h"

void event_life_begin(struct event_life *life)
{
    *life = (struct event_life){ .seed = random_seed() };
    life->random.state = life->seed;
    fprintf(stderr, "seed %llu\n", (unsigned long long)life->seed);
}

void event_life_clear(struct event_life *life)
{
    struct random random = life->random;
    *life = (struct event_life){ .seed = life->seed, .random = random };
}

static void note(struct event_life *life, uint64_t id, struct span payload)
{
    cr_assert_eq(id, life->last + 1);
    cr_assert_leq(id, LIFE_EVENTS_MAX);
    life->last = id;
    life->payloads[id] = hash_of(payload);
    memcpy(life->wanted[id], life->wanted[id - 1], sizeof life->wanted[id]);
}

static void append_one_of(struct event_life *life)
{
    uint64_t choice = random_below(&life->random, 4);
    uint64_t service = random_below(&life->random, LIFE_SERVICES);
    uint64_t *held = &life->wanted[life->last][service];
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    char subject[32], text[400] = { 0 };
    snprintf(subject, sizeof subject, "service/acme/s%d", (int)service);
    memset(text, 'x', 1 + random_below(&life->random, sizeof text - 1));
    bool is_deploy = choice == 0, is_kill = choice == 1 && *held != 0;
    struct span payload = is_deploy ? payload_deploy(text)
                          : is_kill ? payload_generation(*held)
                                    : payload_text(text);
    struct event_append_request request =
        is_deploy ? request_of("service_deployed", "acme", subject, payload)
        : is_kill ? request_of("service_killed", "acme", subject, payload)
                  : request_of("app.note", "acme", "", payload);
    if (!is_deploy && !is_kill)
        call = call_of_operator();
    call.has_request_id = true;
    enum status status = appending_run(&store, &call, &request, 1, &outcome);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return; /* the disk is full: what grows is refused */
    cr_assert_eq(status, STATUS_OK, "%s: %s %s", request.type, call.problem.field,
                 call.problem.message);
    note(life, outcome.first_id, payload);
    if (is_deploy)
        life->wanted[life->last][service] = outcome.first_id;
    else if (is_kill)
        life->wanted[life->last][service] = 0;
}

void event_life_append(struct event_life *life, uint64_t events_max)
{
    for (uint64_t i = 1 + random_below(&life->random, events_max); i > 0; i--)
        append_one_of(life);
}

void event_life_told(const struct event_life *life, const char *what, uint64_t number)
{
    fprintf(stderr, "seed %llu: %s (%llu); what was appended ends at %llu\n",
            (unsigned long long)life->seed, what, (unsigned long long)number,
            (unsigned long long)life->last);
}

static bool are_events_true(const struct event_life *life, struct db_txn *txn, uint64_t last)
{
    AUTO(arena_close) struct arena arena = { .limit = 1 << 20 };
    for (uint64_t id = 1; id <= last; id++) {
        struct event event;
        arena_reset(&arena);
        enum status status = event_log_read(txn, id, &arena, &event);
        struct hash payload = hash_of(event.payload);
        if (status != STATUS_OK || !hash_equal(&payload, &life->payloads[id])) {
            event_life_told(life, "an event is not what was committed", id);
            return false;
        }
    }
    return true;
}

static bool is_live_true(const struct event_life *life, struct db_txn *txn, uint64_t last)
{
    for (int i = 0; i < LIFE_SERVICES; i++) {
        char name[8];
        struct live_row row = { 0 };
        snprintf(name, sizeof name, "s%d", i);
        enum status status = live_find(txn, "acme", name, &row);
        uint64_t wanted = life->wanted[last][i];
        if (status != (wanted == 0 ? STATUS_NOT_FOUND : STATUS_OK) || row.generation != wanted) {
            event_life_told(life, "another generation is wanted than the events say",
                            row.generation);
            return false;
        }
    }
    return true;
}

bool event_life_is_in(const struct event_life *life, const char *dir, uint64_t committed)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t last = 0, checked = 0;
    if (db_probe_here(&events_schema, dir, NULL) != STATUS_OK ||
        db_open_without_trace(&db, &events_schema, dir) != STATUS_OK ||
        db_begin_read(&db, &txn) != STATUS_OK || event_log_last(&txn, &last) != STATUS_OK ||
        event_log_verify(&txn, 1, UINT64_MAX, &checked) != STATUS_OK) {
        event_life_told(life, "cannot be opened, or its chain is broken, after event", last);
        return false;
    }
    if (last < committed || last > life->last || checked != last) {
        event_life_told(life, "what was committed is lost: it ends at event", last);
        return false;
    }
    return are_events_true(life, &txn, last) && is_live_true(life, &txn, last);
}
