/* Every n-th call to the disk fails once, or does half, as test_disk_errors has it for the log,
 * here for the stores of tokens and of secrets: what was committed stays, what was refused has not
 * happened, what is unknown has happened entirely or not at all, and the daemon goes on, at the
 * latest when it is started again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tests/faults/disk.h"
#include "tests/faults/store_life.h"
#include "tests/faults/store_states.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

TestSuite(store_errors, .timeout = 7200);

enum { LIVES = 40, TURNS = 10 };
enum { DEEP_LIVES = 500, DEEP_TURNS = 500 }; /* of thousands of calls */

static int turns = TURNS;

struct counts {
    size_t tried, met, refused, unknown, unopened;
};

static const int errors[] = { EIO, ENOSPC, EINTR, EDQUOT, DISK_SHORT };

static char data[4096], run[4096], store[4096];
static struct random chance;
static uint64_t seed;
static char how[120];

/* What lies there is what the last commit made, or else, after a failure, what it would have made.
 */
static void expect_last_state(const char *when, bool may_be_failed)
{
    struct hash state;
    cr_assert(state_read(store, &state), "%s; %s it cannot be opened", how, when);
    if (may_be_failed && states_take_failed(&state))
        return;
    cr_assert(states_have(&state, states_count()), "%s; %s it is another state", how, when);
}

/* As systemd or solod does it; the error came once. */
static void restart(bool has_store)
{
    life_close();
    if (has_store)
        expect_last_state("after the failure", true);
    enum status status = life_open(data, run);
    cr_assert_eq(status, STATUS_OK, "%s; then it does not open any more: %s", how,
                 status_name(status));
}

static void turn(struct counts *counts)
{
    enum status status = life_turn(&chance);
    if (status == STATUS_RESOURCE_EXHAUSTED) {
        counts->refused++;
        expect_last_state("after a refusal", false);
    } else if (status != STATUS_OK) {
        counts->unknown++;
        restart(true);
    }
}

static void live_with(enum disk_call call, long due, int error, struct counts *counts)
{
    snprintf(how, sizeof how, "%s %ld fails with %d; SOLO_SEED=%llu", disk_call_name(call), due,
             error, (unsigned long long)seed);
    scratch_make();
    snprintf(data, sizeof data, "%s", scratch_path("data"));
    snprintf(run, sizeof run, "%s", scratch_path("run"));
    cr_assert_eq(path_join(store, data, life_schema->name), STATUS_OK);
    cr_assert_eq(directory_make(data, 0700), STATUS_OK);
    cr_assert_eq(directory_make(run, 0700), STATUS_OK);
    states_begin(data);
    disk_fail(call, due, error);
    if (life_open(data, run) != STATUS_OK) {
        counts->unopened++;
        restart(false);
    }
    for (int i = 0; i < turns; i++)
        turn(counts);
    life_close();
    counts->tried++;
    counts->met += disk_fail_end() ? 1 : 0;
    expect_last_state("at the end", false);
    scratch_remove();
}

static void try_all(const long made[DISK_CALLS], struct counts *counts)
{
    for (int call = 0; call < DISK_CALLS; call++)
        for (size_t i = 0; i < COUNT_OF(errors); i++)
            for (long due = 1; due <= made[call]; due++)
                if (campaign_takes(&chance))
                    live_with((enum disk_call)call, due, errors[i], counts);
}

static void try_some(const long made[DISK_CALLS], size_t lives, struct counts *counts)
{
    for (size_t i = 0; i < lives; i++) {
        enum disk_call call;
        do
            call = (enum disk_call)random_below(&chance, DISK_CALLS);
        while (made[call] == 0);
        live_with(call, 1 + (long)random_below(&chance, (uint64_t)made[call]),
                  errors[random_below(&chance, COUNT_OF(errors))], counts);
    }
}

static void count_calls(long made[DISK_CALLS], struct counts *counts)
{
    long most = 0;
    live_with(CALL_PWRITE, 0, 0, counts);
    counts->tried--; /* nothing has failed in it */
    for (int call = 0; call < DISK_CALLS; call++) {
        made[call] = disk_calls_made((enum disk_call)call);
        most = made[call] > most ? made[call] : most;
    }
    fprintf(stderr, "lives of %d turns: the n-th call fails, n to %ld\n", turns, most);
}

/* Some of calls and errors, each at some n of those that a life makes; when SOLO_LONG is set, all.
 */
Test(store_errors, a_failed_call_loses_nothing_that_was_committed)
{
    struct counts counts = { 0 };
    long made[DISK_CALLS];
    log_setup("test", LOG_LEVEL_ERROR + 1);
    seed = chance.state = random_seed();
    fprintf(stderr, "seed %llu\n", (unsigned long long)chance.state);
    count_calls(made, &counts);
    if (campaign_is_long())
        try_all(made, &counts);
    else
        try_some(made, LIVES, &counts);
    if (campaign_is_long()) {
        turns = DEEP_TURNS;
        count_calls(made, &counts);
        try_some(made, campaign_count(1, DEEP_LIVES), &counts);
    }
    fprintf(stderr,
            "%s: %zu lives, %zu with a failed call: %zu commits refused, %zu unknown, %zu starts "
            "refused; 0 lost\n",
            life_schema->name, counts.tried, counts.met, counts.refused, counts.unknown,
            counts.unopened);
    cr_expect_gt(counts.met, counts.tried / 2);
}
