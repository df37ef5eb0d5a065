/* A power cut at every moment of the event store's life, creation included: its writes are recorded
 * as they go to the kernel, and every disk that a cut may leave of them is opened. What was
 * committed is there, byte for byte; what is wanted is what the events say; the store goes on. The
 * ledger of what was committed is kept by this test, not read from the store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/db/copy.h"
#include "common/db/slices.h"
#include "tests/faults/event_life.h"
#include "tests/faults/power_cut.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

TestSuite(power_cuts, .timeout = 3600);

enum {
    STATES = 1000, /* a hundred times as many when SOLO_LONG is set */
    TURNS = 40,
    TURN_EVENTS_MAX = 12,
    PLAYS = 3, /* at each moment, as it comes */
    REOPENED = 60
};

struct campaign {
    struct event_life life;
    size_t states_max, states, absent, reopened;
    char store[4096], data[4096], left[4096];
};

static void record_life(struct campaign *campaign)
{
    disk_record("/tmp");
    fixture_open();
    snprintf(campaign->data, sizeof campaign->data, "%s", fixture_data_dir());
    snprintf(campaign->store, sizeof campaign->store, "%s", scratch_path("data/events"));
    snprintf(campaign->left, sizeof campaign->left, "%s", scratch_path("left"));
    for (int turn = 0; turn < TURNS; turn++) {
        cr_assert_eq(event_store_begin(&store), STATUS_OK);
        event_life_append(&campaign->life, TURN_EVENTS_MAX);
        cr_assert_eq(event_store_commit(&store), STATUS_OK);
        disk_record_mark(campaign->life.last);
        if (turn == TURNS / 2) {
            cr_assert_eq(event_store_tidy(&store), STATUS_OK);
            fixture_reopen();
        }
    }
    cr_assert_eq(event_store_close_cleanly(&store, &(struct store_end){ 0 }), STATUS_OK);
    disk_record_end();
}

/* As eventd starts on it: opened for writing, and the next event has the next number. */
static bool goes_on(struct campaign *campaign, uint64_t committed)
{
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.next", "", "", (struct span){ 0 });
    struct append_outcome outcome = { 0 };
    bool is_fine = event_store_open(&store, campaign->left) == STATUS_OK;
    uint64_t last = store.last_id;
    is_fine = is_fine && last >= committed && append_one(&call, &request, &outcome) == STATUS_OK &&
              outcome.first_id == last + 1;
    event_store_close(&store);
    if (!is_fine)
        event_life_told(&campaign->life, "eventd does not go on after event", last);
    campaign->reopened++;
    return is_fine;
}

/* Whether the store is whole after this cut. */
static bool play(struct campaign *campaign, const struct power_cut *cut, enum cut_kind kind)
{
    char dir[4096];
    uint64_t committed = power_cut_mark(cut);
    cr_assert_eq(path_join(dir, campaign->left, "events"), STATUS_OK);
    cr_assert_eq(directory_make(campaign->left, 0700), STATUS_OK);
    cr_assert_eq(directory_make(dir, 0700), STATUS_OK);
    bool is_there = power_cut_play(cut, kind, &campaign->life.random, campaign->store, dir);
    if (!is_there) /* nothing was renamed: as before the first start */
        campaign->absent++;
    campaign->states++;
    bool is_fine = is_there ? event_life_is_in(&campaign->life, dir, committed) : committed == 0;
    if (is_fine && is_there && random_below(&campaign->life.random, STATES / REOPENED) == 0)
        is_fine = goes_on(campaign, committed);
    cr_assert_eq(directory_remove(campaign->left), STATUS_OK);
    return is_fine;
}

/* Until there were enough. */
static bool must_play(void *context, const struct power_cut *cut, enum cut_kind kind)
{
    struct campaign *campaign = context;
    cr_assert(play(campaign, cut, kind), "repeat with SOLO_SEED=%llu",
              (unsigned long long)campaign->life.seed);
    return campaign->states < campaign->states_max;
}

static void close_cut(struct power_cut **cut)
{
    power_cut_close(cut);
}

static struct campaign *campaign_open(void)
{
    struct campaign *campaign = calloc(1, sizeof *campaign);
    cr_assert_not_null(campaign);
    campaign->life.seed = random_seed();
    campaign->life.random.state = campaign->life.seed;
    campaign->states_max = campaign_count(STATES, 100 * STATES);
    return campaign;
}

static void forget_life(struct campaign *campaign)
{
    event_life_clear(&campaign->life);
    disk_forget();
    fixture_close();
}

Test(power_cuts, of_every_disk_that_a_cut_may_leave_eventd_opens_all_and_has_what_was_committed)
{
    struct campaign *campaign = campaign_open();
    size_t lives = 0;
    for (; campaign->states < campaign->states_max; lives++) {
        record_life(campaign);
        cr_assert_gt(power_cut_each(must_play, campaign), TURNS * 2);
        forget_life(campaign);
    }
    fprintf(stderr,
            "%zu states of %zu lives opened (%zu without a store, %zu written on), 0 lost\n",
            campaign->states, lives, campaign->absent, campaign->reopened);
    free(campaign);
}

/* The campaign above sees what it is there to see. */
Test(power_cuts, a_commit_that_does_not_wait_for_its_meta_page_is_found_to_lose_events)
{
    struct campaign *campaign = campaign_open();
    size_t count, lost = 0;
    record_life(campaign);
    disk_weaken();
    const struct disk_op *ops = disk_ops(&count);
    struct power_cut *cut = power_cut_open(ops, count);
    while (power_cut_step(cut))
        if (power_cut_mark(cut) != 0 && power_cut_is_open(cut) &&
            !play(campaign, cut, CUT_TAKES_ALL))
            lost++;
    cr_expect_gt(lost, 0);
    power_cut_close(&cut);
    forget_life(campaign);
    free(campaign);
}

/* --- a backup --- */

static void record_backup(struct campaign *campaign, const char *folder)
{
    char to[4096], json[4096];
    fixture_open();
    snprintf(campaign->left, sizeof campaign->left, "%s", scratch_path("left"));
    for (int turn = 0; turn < TURNS; turn++) {
        cr_assert_eq(event_store_begin(&store), STATUS_OK);
        event_life_append(&campaign->life, TURN_EVENTS_MAX);
        cr_assert_eq(event_store_commit(&store), STATUS_OK);
    }
    cr_assert_eq(directory_make(folder, 0700), STATUS_OK);
    cr_assert_eq(path_join(to, folder, "events"), STATUS_OK);
    cr_assert_eq(path_join(json, folder, "backup.json"), STATUS_OK);
    disk_record(folder);
    cr_assert_eq(db_copy_main(&events_schema, store.db.dir, to, NULL), 0);
    cr_assert_eq(file_write_durably(json, span_of_text("{}"), 0600), STATUS_OK);
    disk_record_mark(1);
    disk_record_end();
}

/* Whether it counts, and is whole then. */
static bool is_backup_whole(struct campaign *campaign, const struct power_cut *cut,
                            const char *folder, enum cut_kind kind, bool *counts)
{
    char events[4096], json[4096];
    cr_assert_eq(path_join(events, campaign->left, "events"), STATUS_OK);
    cr_assert_eq(path_join(json, campaign->left, "backup.json"), STATUS_OK);
    cr_assert_eq(directory_make(events, 0700), STATUS_OK);
    power_cut_play(cut, kind, &campaign->life.random, folder, campaign->left);
    *counts = access(json, F_OK) == 0;
    bool is_fine = !*counts || event_life_is_in(&campaign->life, events, campaign->life.last);
    cr_assert_eq(directory_remove(campaign->left), STATUS_OK);
    return is_fine;
}

/* Whose commits wait for the disk beside it must not wait for all of it. */
Test(power_cuts, a_copy_gives_the_disk_a_little_at_a_time)
{
    enum { EVENTS = 40 };
    static char text[64 * 1024];
    struct rpc_call call = call_of_operator();
    memset(text, 'x', sizeof text - 1);
    fixture_open();
    struct event_append_request request = request_of("app.x", "acme", "", payload_text(text));
    for (int i = 0; i < EVENTS; i++)
        must_append(&call, &request);
    disk_record(scratch_path("."));
    cr_assert_eq(db_copy_main(&events_schema, store.db.dir, scratch_path("copy"), NULL), 0);
    disk_record_end();
    size_t count, written = 0, waited = 0;
    const struct disk_op *ops = disk_ops(&count);
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == DISK_WRITE)
            written += ops[i].size;
        else if (ops[i].kind == DISK_RANGE)
            waited += ops[i].size;
        cr_assert_leq(written - waited, 2 * SLICE_BYTES);
    }
    cr_expect_gt(written, EVENTS * sizeof text);
    disk_forget();
    fixture_close();
}

/* Its last file is what makes it one. */
Test(power_cuts, a_backup_that_counts_has_every_event)
{
    struct campaign *campaign = campaign_open();
    char folder[4096];
    size_t count, played = 0, counted = 0;
    snprintf(folder, sizeof folder, "/tmp/solo-backup-%d", (int)getpid());
    record_backup(campaign, folder);
    const struct disk_op *ops = disk_ops(&count);
    AUTO(close_cut) struct power_cut *cut = power_cut_open(ops, count);
    while (power_cut_step(cut)) {
        for (int i = 0; i < PLAYS; i++) {
            enum cut_kind kind = i == 0 ? CUT_TAKES_ALL : i == 1 ? CUT_LEAVES_ALL : CUT_AS_IT_COMES;
            bool counts;
            cr_assert(is_backup_whole(campaign, cut, folder, kind, &counts),
                      "repeat with SOLO_SEED=%llu", (unsigned long long)campaign->life.seed);
            cr_assert(counts || power_cut_mark(cut) == 0, "it was told to be made, and is not");
            played++;
            counted += counts;
        }
    }
    fprintf(stderr, "%zu states of a backup, %zu that count\n", played, counted);
    cr_expect_gt(counted, 0);
    cr_expect_lt(counted, played);
    cr_assert_eq(directory_remove(folder), STATUS_OK);
    forget_life(campaign);
    free(campaign);
}
