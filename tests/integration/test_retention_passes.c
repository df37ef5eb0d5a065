/* Old events leave the log by the settings, without anybody asking, and everything that reads the
 * log goes on; a day is a second here. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/build.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(retention_passes, .timeout = 240);

enum { PATIENCE_MS = 60000, NOTES = 500 };

static struct testbed bed;

static void tear_down(void)
{
    testbed_close(&bed);
}

/* This build's day is the real one: nothing goes in a test. */
static void need_short_days(void)
{
    if (!build_has_faults(&bed))
        cr_skip_test("this build has no fault points (SOLO_FAULTS)");
}

static void open_bed(unsigned flags, const char *setting, const char *value)
{
    testbed_open(&bed, flags);
    need_short_days();
    testbed_set(&bed, "SOLO_FAULT_BOUND", "day_ms:retention:1000");
    testbed_set(&bed, setting, value);
    testbed_start(&bed);
}

static void append_notes(void)
{
    json_t *events = json_array();
    for (int i = 0; i < NOTES; i++)
        json_array_append_new(events,
                              json_pack("{s:s, s:s}", "type", "app.note", "subject", "notes"));
    json_decref(
        testbed_ask(&bed, "eventd", "event.append_batch", json_pack("{s:o}", "events", events)));
}

static uint64_t first_of_log(void)
{
    json_t *answer = testbed_ask(&bed, "eventd", "event.query", json_pack("{s:i}", "limit", 1));
    uint64_t first = number_in(answer, "first_id");
    json_decref(answer);
    return first;
}

/* A stop writes what is late; the next eventd looks two seconds after its start. */
static void await_pass(uint64_t after)
{
    append_notes();
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    for (int waited = 0; first_of_log() <= after; waited += 100) {
        cr_assert_lt(waited, PATIENCE_MS, "nothing left the log by itself");
        sleep_ms(100);
    }
}

static void recoveryd(int code, const char *words, const char *first, const char *second)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, first, second, NULL);
    expect_exit(&result, code);
    if (words[0] != '\0' && strstr(result_out(&result), words) == NULL)
        expect_contains(result_err(&result), words);
}

static void expect_running(void)
{
    AUTO(result_close) struct result full = { 0 };
    service_await(&bed, "acme", "old", "running", PATIENCE_MS);
    cr_assert_eq(service_pid(&bed, "acme", "gone"), 0);
    recoveryd(0, "chain intact", "verify", "--detailed-exitcode");
    testbed_recoveryd(&bed, &full, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&full, 0);
}

static void expect_recovered(void)
{
    testbed_kill_everything(&bed);
    recoveryd(0, "Plan: 1 to start,", "--dry-run", NULL);
    testbed_start(&bed);
    expect_running();
}

static void ruin_log(void)
{
    static const char ruin[8192];
    char store[400];
    snprintf(store, sizeof store, "%s/events/data.mdb", bed.data);
    AUTO(fd_close) int fd = open(store, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0, "%s", strerror(errno));
    cr_assert_eq(pwrite(fd, ruin, sizeof ruin, 0), (ssize_t)sizeof ruin);
}

/* Pages that nothing uses any more may still have the first events, and then little else is proven;
 * otherwise nothing is. The damaged store is there to be salvaged again. */
static void expect_less_without_archives(const char *backup)
{
    AUTO(result_close) struct result result = { 0 };
    char pattern[400], events[400];
    glob_t kept;
    testbed_recoveryd(&bed, &result, "salvage", backup, NULL);
    if (result.exit_code == 86) {
        expect_contains(result_err(&result), "event 1 is not there");
        return;
    }
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "put the kept store back as DATA/events");
    snprintf(pattern, sizeof pattern, "%s/quarantine-events-*Z", bed.data);
    cr_assert_eq(glob(pattern, 0, NULL, &kept), 0);
    cr_assert_eq(kept.gl_pathc, 1);
    snprintf(events, sizeof events, "%s/events", bed.data);
    cr_assert_eq(directory_remove(events), STATUS_OK);
    cr_assert_eq(rename(kept.gl_pathv[0], events), 0);
    globfree(&kept);
}

static void expect_salvaged(const char *backup)
{
    char archives[400], aside[400];
    snprintf(archives, sizeof archives, "%s/archive", bed.data);
    snprintf(aside, sizeof aside, "%s/aside", bed.dir);
    cr_assert_eq(testbed_stop(&bed), 0);
    ruin_log();
    cr_assert_eq(rename(archives, aside), 0);
    expect_less_without_archives(backup);
    cr_assert_eq(rename(aside, archives), 0);
    recoveryd(0, "Nothing is lost", "salvage", "--detailed-exitcode");
    testbed_start(&bed);
    expect_running();
}

static void expect_restored(const char *backup)
{
    char archives[400], aside[400], kept[400];
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(kept, sizeof kept, "%s/kept", bed.dir);
    cr_assert_eq(rename(bed.data, kept), 0);
    cr_assert_eq(mkdir(bed.data, 0755), 0);
    if (bed.uid != 0)
        cr_assert_eq(chown(bed.data, bed.uid, bed.uid), 0);
    recoveryd(0, "is in its place", "restore", backup);
    snprintf(archives, sizeof archives, "%s/archive", bed.data);
    snprintf(aside, sizeof aside, "%s/archive", kept);
    cr_assert_eq(rename(aside, archives), 0);
    testbed_start(&bed);
    expect_running();
}

static void live_on(void)
{
    AUTO(result_close) struct result token = { 0 }, made = { 0 };
    char backup[400];
    service_deploy_sleeper(&bed, "acme", "old");
    service_deploy_sleeper(&bed, "acme", "gone");
    service_kill(&bed, "acme", "gone");
    testbed_soloctl(&bed, &token, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&token, 0);
    sleep_ms(2100);
    await_pass(NOTES / 2);
    expect_running();
    expect_recovered();
    snprintf(backup, sizeof backup, "%s/backup", bed.dir);
    testbed_soloctl(&bed, &made, "backup", backup, NULL);
    expect_exit(&made, 0);
    expect_restored(backup);
    sleep_ms(2100);
    await_pass(first_of_log() + NOTES / 2); /* the restored log goes on by itself, too */
    expect_running();
    expect_salvaged(backup);
}

Test(retention_passes, what_is_left_lives_on_by_number, .fini = tear_down)
{
    open_bed(0, "SOLO_RETENTION_EVENTS", "50");
    live_on();
}

Test(retention_passes, what_is_left_lives_on_by_age_as_a_user, .fini = tear_down)
{
    open_bed(TESTBED_AS_USER, "SOLO_RETENTION_MS", "1s");
    live_on();
}
