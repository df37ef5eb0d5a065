/* The counts of 72 hours in about one: 2.6 million events, 259,200 pairs of deploy and kill, a
 * daemon killed with SIGKILL each hour, backups and archives of old events in between. Prints
 * memory, descriptors and disk over time. Ends with 0 only if all of them stay flat, nothing that
 * was acknowledged is lost, and a full verification finds nothing.
 *
 *     bench_soak [SHARE]        of those counts; 1 by default, 0.001 is a quarter of a minute */
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/figures.h"
#include "bench/machine.h"
#include "bench/soak_work.h"
#include "bench/weight.h"
#include "common/api/records/log_archive.h"
#include "common/base/file.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

enum {
    HOURS = 72,
    HOURS_MIN = 6,
    PAIRS = 259200,
    EVENTS = 2600000,
    EVENTS_OF_PAIR = 4,
    BACKUP_EVERY = 6, /* hours; archives between them */
    EVENTS_KEPT_PART = 4,
    READY_MS = 120000,
};

static const char *const weighed[] = { "solod", "eventd", "tokend", "vaultd", "deployd" };
enum { WEIGHED = 5 };

struct sample {
    struct weight daemons[WEIGHED];
    double disk_kib, log_kib;
};

struct run {
    struct testbed bed;
    struct soak soak;
    struct sample samples[HOURS + 1];
    int hours, count;
    uint64_t lost, kills, backups, archives, events_kept;
    pid_t resident;
    double began;
};

/* --- over time --- */

static pid_t pid_of(struct run *run, int daemon)
{
    return daemon == 0 ? run->bed.solod : testbed_daemon(&run->bed, weighed[daemon]);
}

static void take_sample(struct run *run)
{
    struct sample *sample = &run->samples[run->count];
    for (int i = 0; i < WEIGHED; i++)
        sample->daemons[i] = weight_of(pid_of(run, i));
    weight_of_disk(&run->bed, &sample->disk_kib, &sample->log_kib);
    printf("%5d  %6.0f  %8lu %9lu ", run->count, machine_now() - run->began,
           (unsigned long)run->soak.pairs_done, (unsigned long)log_last_id(&run->bed));
    for (int i = 0; i < WEIGHED; i++)
        printf(" %6.0f %3ld", sample->daemons[i].kib, sample->daemons[i].descriptors);
    printf("  %8.0f %9.0f\n", sample->disk_kib, sample->log_kib);
    fflush(stdout);
    run->count++;
}

/* The most of some samples. */
static struct sample most(const struct run *run, int from, int to)
{
    struct sample result = { 0 };
    for (int s = from; s < to; s++) {
        const struct sample *sample = &run->samples[s];
        for (int i = 0; i < WEIGHED; i++) {
            struct weight *weight = &result.daemons[i];
            weight->kib =
                sample->daemons[i].kib > weight->kib ? sample->daemons[i].kib : weight->kib;
            weight->descriptors = sample->daemons[i].descriptors > weight->descriptors
                                      ? sample->daemons[i].descriptors
                                      : weight->descriptors;
        }
        result.disk_kib = sample->disk_kib > result.disk_kib ? sample->disk_kib : result.disk_kib;
    }
    return result;
}

/* Every hour one of them is a new process: the later half is compared with the earlier one. The
 * first sample is of a Solo that has done nothing yet. */
static bool is_flat(const struct run *run)
{
    bool is_all = true;
    int half = 1 + (run->count - 1) / 2;
    struct sample first = most(run, 1, half), second = most(run, half, run->count);
    for (int i = 0; i < WEIGHED; i++) {
        const struct weight *before = &first.daemons[i], *after = &second.daemons[i];
        bool is_one =
            after->kib <= 1.15 * before->kib + 512 && after->descriptors <= before->descriptors + 2;
        printf("%-10s %8.0f then %8.0f KiB, %3ld then %3ld descriptors   %s\n", weighed[i],
               before->kib, after->kib, before->descriptors, after->descriptors,
               is_one ? "flat" : "GROWS");
        is_all = is_all && is_one;
    }
    bool is_disk = second.disk_kib <= 1.1 * first.disk_kib + 8192;
    printf("%-10s %8.0f then %8.0f KiB, the log apart   %s\n", "disk", first.disk_kib,
           second.disk_kib, is_disk ? "flat" : "GROWS");
    return is_all && is_disk;
}

/* --- each hour --- */

static void kill_one(struct run *run)
{
    static const char *const victims[] = { "eventd", "deployd", "tokend", "vaultd", "tenantd" };
    const char *victim = victims[run->kills % COUNT_OF(victims)];
    char tenant[16];
    snprintf(tenant, sizeof tenant, "soak%d", (int)(run->kills % SOAK_WORKERS));
    pid_t pid = strcmp(victim, "tenantd") == 0 ? testbed_supervisor(&run->bed, tenant)
                                               : testbed_daemon(&run->bed, victim);
    if (pid <= 0 || process_signal(pid, SIGKILL) != 0)
        test_fail("there is no %s to be killed", victim);
    run->kills++;
}

static void back_up(struct run *run)
{
    AUTO(result_close) struct result result = { 0 };
    char folder[512];
    snprintf(folder, sizeof folder, "%s/backup", run->bed.dir);
    testbed_soloctl(&run->bed, &result, "backup", folder, NULL);
    if (result.exit_code != 0)
        test_fail("backup ended with %d: %s", result.exit_code, result_err(&result));
    if (directory_remove(folder) != STATUS_OK)
        test_fail("cannot remove %s", folder);
    run->backups++;
}

/* By its name: those before it are not in the folder any more. */
static void verify_archive(const struct run *run, const char *folder)
{
    AUTO(result_close) struct result result = { 0 };
    char pattern[4200];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*" LOG_ARCHIVE_SUFFIX, folder);
    if (glob(pattern, 0, NULL, &found) != 0 || found.gl_pathc != 1)
        test_fail("not one archive in %s", folder);
    testbed_recoveryd(&run->bed, &result, "archive", found.gl_pathv[0], NULL);
    globfree(&found);
    if (result.exit_code != 0)
        test_fail("an archive does not verify: exit code %d, %s%s", result.exit_code,
                  result_out(&result), result_err(&result));
}

/* What is archived has been looked for before. The archive is verified and removed, as somebody
 * does who keeps them elsewhere. */
static void archive(struct run *run)
{
    struct problem problem = { 0 };
    json_t *reply = NULL;
    enum status status = testbed_call(
        &run->bed, "eventd", "event.archive",
        json_pack("{s:I}", "keep_events", (json_int_t)run->events_kept), &reply, &problem);
    if (status == STATUS_NOT_FOUND && strcmp(problem.field, "method") == 0)
        return; /* an older eventd */
    if (status != STATUS_OK)
        test_fail("event.archive: %s %s", status_name(status), problem.message);
    if (number_in(reply, "events") > 0) {
        verify_archive(run, text_in(reply, "folder"));
        if (directory_empty(text_in(reply, "folder")) != STATUS_OK)
            test_fail("cannot empty %s", text_in(reply, "folder"));
        run->archives++;
    }
    json_decref(reply);
}

static void await_hour(struct run *run, int hour)
{
    uint64_t wanted = run->soak.pairs * (uint64_t)hour / (uint64_t)run->hours;
    for (;;) {
        pthread_mutex_lock(&run->soak.mutex);
        bool is_there = run->soak.pairs_done >= wanted || run->soak.ended == SOAK_WORKERS;
        pthread_mutex_unlock(&run->soak.mutex);
        if (is_there)
            return;
        sleep_ms(20);
    }
}

static void live_hour(struct run *run, int hour)
{
    kill_one(run);
    await_hour(run, hour);
    if (hour % BACKUP_EVERY == 1)
        back_up(run); /* beside the work */
    soak_pause(&run->soak);
    if (!testbed_wait_ready(&run->bed, READY_MS))
        test_fail("Solo is not ready again");
    log_settled_id(&run->bed);
    run->lost += soak_count_lost(&run->soak);
    if (hour % BACKUP_EVERY == 4)
        archive(run);
    take_sample(run);
    soak_resume(&run->soak);
}

/* --- the end --- */

static bool is_whole(struct run *run)
{
    AUTO(result_close) struct result verified = { 0 }, tokens = { 0 };
    bool is_same = service_pid(&run->bed, "bystander", "resident") == run->resident;
    printf("a service that nobody touched: %s\n", is_same ? "the same process" : "ANOTHER PROCESS");
    testbed_soloctl(&run->bed, &tokens, "token", "list", "-o", "name", NULL);
    bool is_void = tokens.exit_code == 0 && result_out(&tokens)[0] == '\0';
    printf("tokens that were revoked: %s\n", is_void ? "void" : "SOME LIVE");
    double began = machine_now();
    testbed_recoveryd(&run->bed, &verified, "verify", "--full", NULL);
    printf("recoveryd verify --full: exit code %d after %.1f s\n", verified.exit_code,
           machine_now() - began);
    if (verified.exit_code != 0)
        printf("%s%s", result_out(&verified), result_err(&verified));
    int stopped = testbed_stop(&run->bed);
    printf("shutdown: exit code %d\n", stopped);
    return is_same && is_void && verified.exit_code == 0 && stopped == 0;
}

int main(int argc, char **argv)
{
    static struct run run;
    double share = argc > 1 ? atof(argv[1]) : 1;
    if (argc > 2 || share <= 0 || share > 1) {
        fprintf(stderr, "usage: %s [SHARE], of the counts of 72 hours; 1 by default\n", argv[0]);
        return 64;
    }
    run.hours = share * HOURS < HOURS_MIN ? HOURS_MIN : (int)(share * HOURS);
    run.soak = (struct soak){ .bed = &run.bed, .pairs = (uint64_t)(share * PAIRS) };
    uint64_t events = (uint64_t)(share * EVENTS);
    run.events_kept = events / EVENTS_KEPT_PART;
    run.soak.notes = events - run.soak.pairs * EVENTS_OF_PAIR;
    testbed_open(&run.bed, 0);
    testbed_start(&run.bed);
    service_deploy_sleeper(&run.bed, "bystander", "resident");
    run.resident = service_pid(&run.bed, "bystander", "resident");
    printf("%lu pairs and %lu more events in %d parts; private KiB and descriptors of each, disk "
           "in KiB\n part       s     pairs    events ",
           (unsigned long)run.soak.pairs, (unsigned long)run.soak.notes, run.hours);
    for (int i = 0; i < WEIGHED; i++)
        printf(" %10s", weighed[i]);
    printf("     other       log\n");
    run.began = machine_now();
    take_sample(&run);
    soak_start(&run.soak);
    for (int hour = 1; hour <= run.hours; hour++)
        live_hour(&run, hour);
    soak_join(&run.soak);
    bool is_steady = is_flat(&run);
    run.lost += soak_count_lost(&run.soak);
    printf("%lu pairs, %lu tokens, %lu events of clients in %.0f s; %lu daemons killed, %lu "
           "backups, %lu archives; %lu retries, longest wait %lu ms\n",
           (unsigned long)run.soak.pairs_done, (unsigned long)run.soak.tokens_done,
           (unsigned long)run.soak.notes_done, machine_now() - run.began, (unsigned long)run.kills,
           (unsigned long)run.backups, (unsigned long)run.archives, (unsigned long)run.soak.retries,
           (unsigned long)run.soak.longest_ms);
    printf("%lu acknowledged events found in the log, lost %lu\n", (unsigned long)run.soak.found,
           (unsigned long)run.lost);
    bool is_good = is_whole(&run) && is_steady && run.lost == 0;
    testbed_discard(&run.bed);
    free(run.soak.acks);
    return is_good ? 0 : 1;
}
