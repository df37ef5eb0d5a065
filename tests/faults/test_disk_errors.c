/* Every n-th call to the disk fails once, or does half: what was committed stays, what was refused
 * has not happened, what is unknown has happened entirely or not at all, and eventd goes on, at the
 * latest when it is started again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "tests/faults/disk.h"
#include "tests/faults/event_life.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

TestSuite(disk_errors, .timeout = 3600);

enum { LIVES = 50, TURNS = 12, TURN_EVENTS_MAX = 6 };
/* Lives of thousands of calls. */
enum { DEEP_LIVES = 1000, DEEP_TURNS = 500, DEEP_TURN_EVENTS_MAX = 3 };

static int turns = TURNS;
static uint64_t events_max = TURN_EVENTS_MAX;

struct counts {
    size_t tried, met, refused, unknown, unopened;
};

static const int errors[] = { EIO, ENOSPC, EINTR, EDQUOT, DISK_SHORT };

/* As systemd or solod does it; the error came once. */
static void restart(const char *how)
{
    event_store_close(&store);
    enum status status = event_store_open(&store, scratch_path("data"));
    cr_assert_eq(status, STATUS_OK, "%s; then eventd does not open any more: %s", how,
                 status_name(status));
}

static void turn(struct event_life *life, const char *how, struct counts *counts)
{
    struct event_life before = *life;
    enum status status = event_store_begin(&store);
    if (status == STATUS_OK) {
        event_life_append(life, events_max);
        status = event_store_commit(&store);
    }
    if (status == STATUS_OK)
        return;
    uint64_t appended = life->last;
    bool is_refusal = status == STATUS_RESOURCE_EXHAUSTED;
    counts->refused += is_refusal ? 1 : 0;
    counts->unknown += is_refusal ? 0 : 1;
    if (!is_refusal)
        restart(how);
    if (is_refusal || store.committed_id == before.last) {
        struct random random = life->random;
        *life = before;
        life->random = random;
    }
    cr_assert_eq(store.committed_id, life->last,
                 "%s; %s, then the log ends at %llu, not at %llu or %llu", how, status_name(status),
                 (unsigned long long)store.committed_id, (unsigned long long)before.last,
                 (unsigned long long)appended);
}

static void live_with(struct event_life *life, enum disk_call call, long due, int error,
                      struct counts *counts)
{
    char how[80];
    snprintf(how, sizeof how, "%s %ld fails with %d; SOLO_SEED=%llu", disk_call_name(call), due,
             error, (unsigned long long)life->seed);
    scratch_make();
    event_life_clear(life);
    disk_fail(call, due, error);
    if (event_store_open(&store, scratch_path("data")) != STATUS_OK) {
        counts->unopened++;
        restart(how);
    }
    for (int i = 0; i < turns; i++)
        turn(life, how, counts);
    event_store_close(&store);
    counts->tried++;
    counts->met += disk_fail_end() ? 1 : 0;
    cr_assert(event_life_is_in(life, scratch_path("data/events"), life->last), "%s", how);
    scratch_remove();
}

static void try_all(struct event_life *life, const long made[DISK_CALLS], struct counts *counts)
{
    for (int call = 0; call < DISK_CALLS; call++)
        for (size_t i = 0; i < COUNT_OF(errors); i++)
            for (long due = 1; due <= made[call]; due++)
                if (campaign_takes(&life->random))
                    live_with(life, (enum disk_call)call, due, errors[i], counts);
}

static void try_some(struct event_life *life, const long made[DISK_CALLS], size_t lives,
                     struct counts *counts)
{
    for (size_t i = 0; i < lives; i++) {
        enum disk_call call;
        do
            call = (enum disk_call)random_below(&life->random, DISK_CALLS);
        while (made[call] == 0);
        live_with(life, call, 1 + (long)random_below(&life->random, (uint64_t)made[call]),
                  errors[random_below(&life->random, COUNT_OF(errors))], counts);
    }
}

static void count_calls(struct event_life *life, long made[DISK_CALLS], struct counts *counts)
{
    long most = 0;
    live_with(life, CALL_PWRITE, 0, 0, counts);
    counts->tried--; /* nothing has failed in it */
    for (int call = 0; call < DISK_CALLS; call++) {
        made[call] = disk_calls_made((enum disk_call)call);
        most = made[call] > most ? made[call] : most;
    }
    fprintf(stderr, "lives of %d turns: the n-th call fails, n to %ld\n", turns, most);
}

/* Some of calls and errors, each at some n of those that a life makes; when SOLO_LONG is set, all.
 */
Test(disk_errors, a_failed_call_loses_nothing_that_was_committed)
{
    struct event_life *life = calloc(1, sizeof *life);
    struct counts counts = { 0 };
    long made[DISK_CALLS];
    cr_assert_not_null(life);
    log_setup("test", LOG_LEVEL_ERROR + 1);
    event_life_begin(life);
    count_calls(life, made, &counts);
    if (campaign_is_long())
        try_all(life, made, &counts);
    else
        try_some(life, made, LIVES, &counts);
    if (campaign_is_long()) {
        turns = DEEP_TURNS;
        events_max = DEEP_TURN_EVENTS_MAX;
        count_calls(life, made, &counts);
        try_some(life, made, campaign_count(1, DEEP_LIVES), &counts);
    }
    fprintf(stderr,
            "%zu lives, %zu with a failed call: %zu commits refused, %zu unknown, %zu starts "
            "refused; 0 lost\n",
            counts.tried, counts.met, counts.refused, counts.unknown, counts.unopened);
    cr_expect_gt(counts.met, counts.tried / 2);
    free(life);
}
