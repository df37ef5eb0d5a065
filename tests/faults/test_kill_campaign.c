/* kill -9 of each daemon, of supervisors, of solod with all daemons, and of everything at once, at
 * random moments under eight clients and a live tail; after each round the ledger judges. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "tests/faults/judge.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

enum { KILLS = 110, KILLS_LONG = 1100, KILLS_PER_ROUND = 11, PAUSE_MS_MAX = 300, BYSTANDERS = 4 };

/* How often each is chosen, in a hundred. */
enum victim { EVENTD, DEPLOYD, TENANTD, RECOVERYD, SOLOD, EVERYTHING, VICTIMS };
static const struct {
    const char *name;
    unsigned weight;
} victims[VICTIMS] = {
    [EVENTD] = { "eventd", 28 },   [DEPLOYD] = { "deployd", 28 },
    [TENANTD] = { "tenantd", 22 }, [RECOVERYD] = { "recoveryd", 2 },
    [SOLOD] = { "solod", 10 },     [EVERYTHING] = { "everything", 10 },
};

/* Services that no client touches: only the loss of everything may change their pids. */
struct bystanders {
    pid_t pids[BYSTANDERS];
};

static void bystanders_look(const struct testbed *bed, struct bystanders *bystanders)
{
    for (int i = 0; i < BYSTANDERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "b%d", i);
        service_await(bed, "bystander", name, "running", 20000);
        bystanders->pids[i] = service_pid(bed, "bystander", name);
    }
}

static void bystanders_deploy(const struct testbed *bed)
{
    for (int i = 0; i < BYSTANDERS; i++) {
        char name[16], key[32];
        snprintf(name, sizeof name, "b%d", i);
        snprintf(key, sizeof key, "bystander/%s", name);
        service_deploy(bed, service_spec(bed, "bystander", name, "sleeper", key, "b", NULL));
    }
}

static void bystanders_judge(const struct bystanders *bystanders)
{
    for (int i = 0; i < BYSTANDERS; i++)
        if (!process_is_alive(bystanders->pids[i]))
            test_fail("P10: bystander %d died, and nobody had killed its supervisor", i);
}

static bool is_program(pid_t pid, const char *name, bool *is_of_bystander)
{
    AUTO(buffer_close) struct buffer line = { .limit = 1 << 20 };
    if (!process_read(pid, "cmdline", &line) || line.size == 0)
        return false;
    const char *base = strrchr((const char *)line.data, '/');
    base = base == NULL ? (const char *)line.data : base + 1;
    *is_of_bystander = memmem(line.data, line.size, "\0bystander\0", 11) != NULL;
    return strcmp(base, name) == 0;
}

/* One running process of this name, chosen at random; 0 for none. Supervisors of the bystanders are
 * spared. */
static pid_t choose(const struct testbed *bed, struct random *random, const char *name)
{
    pid_t pids[4096], found[256];
    size_t count = testbed_processes(bed, pids, COUNT_OF(pids)), matching = 0;
    for (size_t i = 0; i < count && i < COUNT_OF(pids) && matching < COUNT_OF(found); i++) {
        bool is_of_bystander;
        if (is_program(pids[i], name, &is_of_bystander) && !is_of_bystander)
            found[matching++] = pids[i];
    }
    return matching == 0 ? 0 : found[random_below(random, matching)];
}

static enum victim draw_victim(struct random *random)
{
    uint64_t draw = random_below(random, 100);
    enum victim victim = 0;
    while (draw >= victims[victim].weight)
        draw -= victims[victim++].weight;
    return victim;
}

static void solod_die(struct testbed *bed)
{
    process_signal(bed->solod, SIGKILL);
    command_wait(bed->solod, -1);
    bed->solod = 0;
}

/* Returns whether something was there to be killed. */
static bool strike(struct testbed *bed, struct random *random, enum victim victim)
{
    switch (victim) {
    case SOLOD:
        solod_die(bed);
        testbed_launch(bed, NULL);
        return true;
    case EVERYTHING:
        testbed_kill_everything(bed);
        testbed_launch(bed, NULL);
        return true;
    default: {
        pid_t pid = choose(bed, random, victims[victim].name);
        return pid != 0 && process_signal(pid, SIGKILL) == 0;
    }
    }
}

/* It may be killed, but it must not give up. */
static void expect_solod(struct testbed *bed)
{
    if (process_is_alive(bed->solod))
        return;
    testbed_show_log(bed);
    test_fail("solod has ended by itself with exit code %d", command_wait(bed->solod, 0));
}

static void await_ready(struct testbed *bed)
{
    if (testbed_wait_ready(bed, 120000))
        return;
    testbed_show_log(bed);
    test_fail("Solo is not ready again after two minutes");
}

Test(kill_campaign, nothing_acknowledged_is_lost, .timeout = 7000)
{
    struct testbed bed = { 0 };
    struct ledger ledger;
    static struct clients clients;
    static struct watcher watcher;
    struct judge judge = { 0 };
    struct bystanders bystanders;
    uint64_t seed = random_seed();
    struct random random = { seed };
    size_t wanted = campaign_count(KILLS, KILLS_LONG), kills = 0, of[VICTIMS] = { 0 };
    printf("seed %lu, %zu kills\n", (unsigned long)seed, wanted);
    fflush(stdout);

    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_RECOVERY_TIMEOUT_MS", "60000");
    testbed_start(&bed);
    ledger_open(&ledger);
    bystanders_deploy(&bed);
    bystanders_look(&bed, &bystanders);
    watcher_start(&watcher, &bed);
    clients_start(&clients, &bed, &ledger, seed);
    uint64_t begin = clock_boottime_ns();
    while (kills < wanted) {
        bool has_lost_all = false;
        for (size_t i = 0; i < KILLS_PER_ROUND && kills < wanted;) {
            sleep_ms((int)random_below(&random, PAUSE_MS_MAX));
            expect_solod(&bed);
            enum victim victim = draw_victim(&random);
            if (!strike(&bed, &random, victim))
                continue;
            has_lost_all |= victim == EVERYTHING;
            of[victim]++;
            kills++;
            i++;
        }
        clients_pause(&clients);
        await_ready(&bed);
        if (!has_lost_all)
            bystanders_judge(&bystanders);
        judge_round(&judge, &bed, &ledger, &clients, &watcher);
        bystanders_look(&bed, &bystanders);
        clients_resume(&clients);
    }
    clients_end(&clients);
    watcher_end(&watcher);

    uint64_t retries = 0, repeats = 0, longest_ms = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        retries += clients.clients[i].retries;
        repeats += clients.clients[i].repeats;
        if (clients.clients[i].longest_ms > longest_ms)
            longest_ms = clients.clients[i].longest_ms;
    }
    printf("%zu kills (", kills);
    for (size_t i = 0; i < VICTIMS; i++)
        printf("%s%s %zu", i == 0 ? "" : ", ", victims[i].name, of[i]);
    printf(") in %lu rounds and %lu s, seed %lu\n", (unsigned long)judge.rounds,
           (unsigned long)((clock_boottime_ns() - begin) / 1000000000), (unsigned long)seed);
    printf("%zu requests, %lu acknowledged, lost 0; %lu sent again after a broken connection, %lu "
           "repeated after their answer; longest wait %lu ms; %lu events; %lu reconnects of the "
           "watch\n",
           ledger.count, (unsigned long)judge.acknowledged, (unsigned long)retries,
           (unsigned long)repeats, (unsigned long)longest_ms, (unsigned long)judge.events,
           (unsigned long)watcher.reconnects);
    cr_assert_gt(judge.acknowledged, 100, "the clients got nothing done");
    judge_close(&judge);
    ledger_close(&ledger);
    testbed_close(&bed);
}
