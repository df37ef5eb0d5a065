/* A power cut at every moment of a store's life, creation included, as test_power_cuts has it for
 * the log, here for the stores of tokens and of secrets (store_life.h): every disk that a cut may
 * leave is opened. Every row of every table is as one of the commits made it, and of a commit that
 * was acknowledged nothing is missing; and the daemon's own code goes on from there. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/probe.h"
#include "tests/faults/power_cut.h"
#include "tests/faults/store_life.h"
#include "tests/faults/store_states.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

TestSuite(store_cuts, .timeout = 7200);

enum {
    STATES = 600, /* a hundred times as many when SOLO_LONG is set */
    TURNS = 16,
    WRITTEN_ON = 30
};

struct campaign {
    struct random random;
    uint64_t seed;
    size_t states_max, states, absent, written_on;
    char data[4096], run[4096], store[4096], left[4096], left_store[4096], again[4096];
};

static struct campaign *campaign_open(void)
{
    struct campaign *campaign = calloc(1, sizeof *campaign);
    cr_assert_not_null(campaign);
    log_setup("test", LOG_LEVEL_ERROR + 1);
    campaign->seed = random_seed();
    campaign->random.state = campaign->seed;
    campaign->states_max = campaign_count(STATES, 100 * STATES);
    return campaign;
}

static void make_folders(struct campaign *campaign)
{
    scratch_make();
    snprintf(campaign->data, sizeof campaign->data, "%s", scratch_path("data"));
    snprintf(campaign->run, sizeof campaign->run, "%s", scratch_path("run"));
    snprintf(campaign->left, sizeof campaign->left, "%s", scratch_path("left"));
    snprintf(campaign->again, sizeof campaign->again, "%s", scratch_path("run-again"));
    cr_assert_eq(path_join(campaign->store, campaign->data, life_schema->name), STATUS_OK);
    cr_assert_eq(path_join(campaign->left_store, campaign->left, life_schema->name), STATUS_OK);
    cr_assert_eq(directory_make(campaign->data, 0700), STATUS_OK);
    cr_assert_eq(directory_make(campaign->run, 0700), STATUS_OK);
}

static void record_life(struct campaign *campaign)
{
    make_folders(campaign);
    disk_record(campaign->data);
    states_begin(campaign->data);
    cr_assert_eq(life_open(campaign->data, campaign->run), STATUS_OK);
    states_acknowledge();
    for (int turn = 0; turn < TURNS; turn++) {
        cr_assert_eq(life_turn(&campaign->random), STATUS_OK);
        if (turn != TURNS / 3 && turn != TURNS / 2)
            continue;
        if (turn == TURNS / 3)
            life_close(); /* as kill -9 does */
        else
            cr_assert_eq(life_close_cleanly(), STATUS_OK);
        cr_assert_eq(life_open(campaign->data, campaign->run), STATUS_OK);
    }
    cr_assert_eq(life_close_cleanly(), STATUS_OK);
    disk_record_end();
}

static bool told(const struct campaign *campaign, const char *what)
{
    fprintf(stderr, "SOLO_SEED=%llu, state %zu: %s\n", (unsigned long long)campaign->seed,
            campaign->states, what);
    return false;
}

/* In a new boot: nobody has vouched for anything. */
static bool goes_on(struct campaign *campaign)
{
    const char *step = "its daemon does not open it";
    campaign->written_on++;
    cr_assert_eq(directory_make(campaign->again, 0700), STATUS_OK);
    enum status status = life_open(campaign->left, campaign->again);
    if (status == STATUS_OK) {
        step = "nothing can be changed in it";
        status = life_turn(&campaign->random);
    }
    if (status == STATUS_OK) {
        step = "it cannot be closed";
        status = life_close_cleanly();
    }
    cr_assert_eq(directory_remove(campaign->again), STATUS_OK);
    if (status == STATUS_OK)
        return true;
    fprintf(stderr, "%s: ", status_name(status));
    return told(campaign, step);
}

static bool is_whole(struct campaign *campaign, uint64_t acknowledged)
{
    struct hash state;
    if (db_probe_here(life_schema, campaign->left_store, NULL) != STATUS_OK)
        return told(campaign, "the probe refuses it");
    if (!state_read(campaign->left_store, &state))
        return told(campaign, "it cannot be opened");
    if (!states_have(&state, acknowledged))
        return told(campaign, "it is not what the last commits made");
    return random_below(&campaign->random, STATES / WRITTEN_ON) != 0 || goes_on(campaign);
}

static bool play(struct campaign *campaign, const struct power_cut *cut, enum cut_kind kind)
{
    cr_assert_eq(directory_make(campaign->left_store, 0700), STATUS_OK);
    bool is_there =
        power_cut_play(cut, kind, &campaign->random, campaign->store, campaign->left_store);
    campaign->states++;
    campaign->absent += !is_there; /* nothing was renamed: as before the first start */
    bool is_fine = is_there ? is_whole(campaign, power_cut_mark(cut))
                            : power_cut_mark(cut) == 0 || told(campaign, "there is no store");
    cr_assert_eq(directory_remove(campaign->left), STATUS_OK);
    return is_fine;
}

/* Until there were enough. */
static bool must_play(void *context, const struct power_cut *cut, enum cut_kind kind)
{
    struct campaign *campaign = context;
    cr_assert(play(campaign, cut, kind), "repeat with SOLO_SEED=%llu",
              (unsigned long long)campaign->seed);
    return campaign->states < campaign->states_max;
}

static void close_cut(struct power_cut **cut)
{
    power_cut_close(cut);
}

Test(store_cuts, of_every_disk_that_a_cut_may_leave_its_daemon_opens_all_and_nothing_is_lost)
{
    struct campaign *campaign = campaign_open();
    size_t lives = 0;
    for (; campaign->states < campaign->states_max; lives++) {
        record_life(campaign);
        cr_assert_gt(power_cut_each(must_play, campaign), TURNS * 2);
        disk_forget();
        scratch_remove();
    }
    fprintf(stderr,
            "%s: %zu states of %zu lives opened (%zu without a store, %zu written on), 0 lost\n",
            life_schema->name, campaign->states, lives, campaign->absent, campaign->written_on);
    cr_expect_gt(campaign->written_on, 0);
    free(campaign);
}

/* The campaign above sees what it is there to see. */
Test(store_cuts, a_commit_that_does_not_wait_for_its_meta_page_is_found_to_lose)
{
    struct campaign *campaign = campaign_open();
    size_t count, lost = 0;
    record_life(campaign);
    disk_weaken();
    const struct disk_op *ops = disk_ops(&count);
    AUTO(close_cut) struct power_cut *cut = power_cut_open(ops, count);
    while (power_cut_step(cut) && lost < 3)
        if (power_cut_mark(cut) != 0 && power_cut_is_open(cut) &&
            !play(campaign, cut, CUT_TAKES_ALL))
            lost++;
    cr_expect_gt(lost, 0);
    disk_forget();
    scratch_remove();
    free(campaign);
}
