/* Old events leave the log: what is left verifies, starts and is answered as before, what left is
 * in archives that prove themselves, and a cut anywhere in between costs nothing. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/uuid.h"
#include "tests/support/archives.h"
#include "tests/support/build.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(retention, .timeout = 240);

enum { PATIENCE_MS = 60000 };

static struct testbed bed;

static void set_up(void)
{
    testbed_open(&bed, 0);
    testbed_start(&bed);
}

static void tear_down(void)
{
    testbed_close(&bed);
}

static void expect_verified(void)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&result, 0);
}

static uint64_t first_of_log(void)
{
    json_t *answer = testbed_ask(&bed, "eventd", "event.query", json_pack("{s:i}", "limit", 1));
    uint64_t first = number_in(answer, "first_id");
    json_t *event = json_array_get(json_object_get(answer, "events"), 0);
    cr_assert_eq(number_in(event, "id"), first, "a walk begins where the log does");
    json_decref(answer);
    return first;
}

/* Counts events that a question from the end finds, page by page: it must come to its end. */
static size_t count_back(const char *key, const char *value)
{
    uint64_t before = 0;
    size_t found = 0;
    do {
        json_t *answer = testbed_ask(&bed, "eventd", "event.query",
                                     json_pack("{s:s, s:b, s:I, s:i}", key, value, "newest_first",
                                               1, "before", (json_int_t)before, "limit", 7));
        found += json_array_size(json_object_get(answer, "events"));
        before = number_in(answer, "next");
        json_decref(answer);
    } while (before != 0);
    return found;
}

/* --- the whole life --- */

static void expect_refused_below(uint64_t cut)
{
    AUTO(result_close) struct result told = { 0 }, followed = { 0 };
    struct problem problem = { 0 };
    enum status status =
        testbed_call(&bed, "eventd", "event.watch",
                     json_pack("{s:I}", "after", (json_int_t)(cut - 1)), NULL, &problem);
    expect_refused(status, STATUS_OUT_OF_RANGE, &problem, "after");
    testbed_soloctl(&bed, &told, "events", "--after", "1", NULL);
    expect_exit(&told, 0);
    expect_contains(result_err(&told), "the log begins at event");
    cr_assert_eq(status_exit_code(STATUS_OUT_OF_RANGE), 4);
}

static enum status deploy_with(const char *request_id, const char *name, struct problem *problem)
{
    return testbed_call(&bed, "deployd", "service.deploy",
                        json_pack("{s:o, s:s}", "spec",
                                  service_spec(&bed, "acme", name, "sleeper", NULL), "request_id",
                                  request_id),
                        NULL, problem);
}

/* What was done stays done: as long as it is wanted its event is there, and answers; else it is
 * refused, because nobody here can say any more what came of it. */
static void expect_not_repeated(const char *wanted_id, const char *killed_id)
{
    struct problem problem = { 0 };
    pid_t pid = service_pid(&bed, "acme", "old");
    cr_assert_eq(deploy_with(wanted_id, "old", &problem), STATUS_OK);
    cr_assert_eq(service_pid(&bed, "acme", "old"), pid);
    enum status status = deploy_with(killed_id, "gone", &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, "request_id");
    cr_assert_eq(service_pid(&bed, "acme", "gone"), 0);
}

static void expect_dry_run(void)
{
    AUTO(result_close) struct result plan = { 0 };
    testbed_recoveryd(&bed, &plan, "--dry-run", NULL);
    expect_exit(&plan, 0);
    expect_contains(result_out(&plan), "Plan: 2 to start,");
}

Test(retention, what_is_left_is_a_whole_log, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result token = { 0 };
    char wanted_id[UUID_TEXT_BYTES], killed_id[UUID_TEXT_BYTES];
    struct uuid wanted = uuid_draw(), killed = uuid_draw();
    struct problem problem = { 0 };
    cr_assert_eq(deploy_with(uuid_text(wanted_id, &wanted), "old", &problem), STATUS_OK);
    cr_assert_eq(deploy_with(uuid_text(killed_id, &killed), "gone", &problem), STATUS_OK);
    service_kill(&bed, "acme", "gone");
    service_deploy_sleeper(&bed, "acme", "late"); /* its deploy is the newest of its type */
    testbed_soloctl(&bed, &token, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&token, 0);
    char folder[ARCHIVE_PATH_BYTES];
    struct stat file;
    notes_append(&bed, 1200);
    log_settled_id(&bed);
    json_t *answer = log_archive_keep(&bed, "100");
    uint64_t cut = number_in(answer, "last");
    expect_number(answer, "first", 1);
    expect_number(answer, "events", cut);
    cr_assert_gt(cut, 1100);
    json_decref(answer);
    snprintf(folder, sizeof folder, "%s/events.key", bed.data);
    cr_assert_eq(stat(folder, &file), 0);
    cr_assert_eq(file.st_mode & 07777, 0400);
    cr_assert_eq(first_of_log(), cut + 1);
    cr_assert_eq(count_back("subject", "service/acme/gone"), 0);
    cr_assert_eq(count_back("type", "service_deployed"), 0); /* the one that stays is met by none */
    cr_assert_eq(count_back("type", "log_archived"), 1);
    cr_assert_geq(count_back("subject", "notes"), 90);
    expect_refused_below(cut);
    expect_verified();
    expect_not_repeated(wanted_id, killed_id);
    json_t *row = service_row_of(&bed, "acme", "old");
    uint64_t old = number_in(row, "generation");
    json_decref(row);

    /* Only what is still needed has stayed below. */
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    service_await(&bed, "acme", "old", "running", PATIENCE_MS);
    row = service_row_of(&bed, "acme", "old");
    expect_number(row, "generation", old);
    json_decref(row);
    cr_assert_eq(service_pid(&bed, "acme", "gone"), 0);
    expect_verified();

    /* And once more, on from there. */
    service_kill(&bed, "acme", "old");
    service_deploy_sleeper(&bed, "acme", "gone");
    notes_append(&bed, 300);
    log_settled_id(&bed);
    answer = log_archive_keep(&bed, "50");
    expect_number(answer, "first", cut + 1);
    cut = number_in(answer, "last");
    json_decref(answer);
    cr_assert_eq(first_of_log(), cut + 1);
    expect_verified();
    cr_assert_eq(testbed_stop(&bed), 0);
    expect_dry_run();
    testbed_start(&bed);
    service_await(&bed, "acme", "gone", "running", PATIENCE_MS);
    expect_verified();
    cr_assert_eq(service_pid(&bed, "acme", "old"), 0);
}

/* --- backups --- */

Test(retention, a_backup_is_whole_without_the_archives, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result made = { 0 }, restored = { 0 }, checked = { 0 };
    char backup[400], kept[400], archives[420], setting[440];
    service_deploy_sleeper(&bed, "acme", "old");
    notes_append(&bed, 600);
    log_settled_id(&bed);
    json_decref(log_archive_keep(&bed, "20"));
    snprintf(backup, sizeof backup, "%s/backup", bed.dir);
    testbed_soloctl(&bed, &made, "backup", backup, NULL);
    expect_exit(&made, 0);
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(kept, sizeof kept, "%s/kept", bed.dir);
    cr_assert_eq(rename(bed.data, kept), 0);
    cr_assert_eq(mkdir(bed.data, 0755), 0);
    if (bed.uid != 0)
        cr_assert_eq(chown(bed.data, bed.uid, bed.uid), 0);
    testbed_recoveryd(&bed, &restored, "restore", backup, NULL);
    expect_exit(&restored, 0);
    testbed_start(&bed);
    service_await(&bed, "acme", "old", "running", PATIENCE_MS);
    cr_assert_eq(verify_findings(&bed, "archive_missing"), 1);
    snprintf(archives, sizeof archives, "%s/archive", kept);
    snprintf(setting, sizeof setting, "archive_dir=%s", archives);
    testbed_recoveryd(&bed, &checked, "verify", "--full", "--detailed-exitcode", "--set", setting,
                      NULL);
    expect_exit(&checked, 0);
}

/* --- damage --- */

/* Every copy of this event in the store. */
static void spoil_event(uint64_t id)
{
    enum { AT_ID = 40, AT_BODY = 121 };
    AUTO(buffer_close) struct buffer bytes = { .limit = 64 << 20 };
    char store[400];
    size_t spoiled = 0;
    snprintf(store, sizeof store, "%s/events/data.mdb", bed.data);
    cr_assert_eq(file_read(store, &bytes), STATUS_OK);
    AUTO(fd_close) int fd = open(store, O_WRONLY | O_CLOEXEC);
    for (uint8_t *at = bytes.data, *end = bytes.data + bytes.size;
         (at = memmem(at, (size_t)(end - at), "SoloEvt1", 8)) != NULL && end - at > AT_BODY; at++)
        if (memcmp(at + AT_ID, &id, sizeof id) == 0) {
            cr_assert_eq(pwrite(fd, "\xff", 1, at - bytes.data + AT_BODY), 1);
            spoiled++;
        }
    cr_assert_gt(spoiled, 0);
}

/* Of what was archived nobody else would notice. */
Test(retention, what_is_needed_from_before_the_cut_is_looked_at, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result found = { 0 }, salvaged = { 0 };
    uint64_t old = service_deploy_sleeper(&bed, "acme", "old");
    notes_append(&bed, 300);
    log_settled_id(&bed);
    json_decref(log_archive_keep(&bed, "20"));
    cr_assert_eq(testbed_stop(&bed), 0);
    spoil_event(old);
    testbed_recoveryd(&bed, &found, "verify", "-o", "json", NULL);
    expect_exit(&found, 86);
    expect_contains(result_out(&found), "kept_event_damaged");
    testbed_recoveryd(&bed, &salvaged, "salvage", "--detailed-exitcode", NULL);
    expect_exit(&salvaged, 0);
    testbed_start(&bed);
    service_await(&bed, "acme", "old", "running", PATIENCE_MS);
}

enum { PAGE_BYTES = 4096, LARGE_BYTES = 1200, LARGE = 8 };

/* Whether the bytes at `at` belong to a node of their page, not to what an earlier one left there.
 */
static bool is_in_node(const uint8_t *at, const uint8_t *page)
{
    enum { AT_FLAGS = 10, AT_UPPER = 14, LEAF = 2 };
    uint16_t flags, upper;
    memcpy(&flags, page + AT_FLAGS, sizeof flags);
    memcpy(&upper, page + AT_UPPER, sizeof upper);
    return flags == LEAF && upper <= PAGE_BYTES && at >= page + upper;
}

/* Zeroes the pages that have this event's record, also those that no tree has any more. */
static void zero_pages_of(uint64_t id)
{
    AUTO(buffer_close) struct buffer bytes = { .limit = 64 << 20 };
    static const char ruin[PAGE_BYTES];
    char store[400];
    size_t zeroed = 0;
    snprintf(store, sizeof store, "%s/events/data.mdb", bed.data);
    cr_assert_eq(file_read(store, &bytes), STATUS_OK);
    AUTO(fd_close) int fd = open(store, O_WRONLY | O_CLOEXEC);
    for (uint8_t *at = bytes.data, *end = bytes.data + bytes.size;
         (at = memmem(at, (size_t)(end - at), "SoloEvt1", 8)) != NULL && end - at > 48; at++) {
        off_t page = (at - bytes.data) / PAGE_BYTES * PAGE_BYTES;
        if (memcmp(at + 40, &id, sizeof id) != 0 || !is_in_node(at, bytes.data + page))
            continue;
        cr_assert_eq(pwrite(fd, ruin, sizeof ruin, page), (ssize_t)sizeof ruin);
        zeroed++;
    }
    cr_assert_gt(zeroed, 0);
}

static bool is_found_damaged(const json_t *report, uint64_t event)
{
    const json_t *finding;
    size_t i;
    json_array_foreach(json_object_get(report, "inconsistencies"), i, finding)
    {
        if (strcmp(text_in(finding, "code"), "kept_event_damaged") == 0 &&
            number_in(finding, "event") == event)
            return true;
    }
    return false;
}

/* A page that LMDB cannot read ends its snapshot, not the look at the other events. */
Test(retention, a_page_of_kept_events_costs_those_and_no_others, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result found = { 0 };
    uint64_t events[LARGE];
    char large[LARGE_BYTES];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    for (int i = 0; i < LARGE; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        json_t *spec = service_spec(&bed, "acme", name, "sleeper", NULL);
        json_object_set_new(spec, "env", json_pack("{s:s}", "LARGE", large));
        json_t *answer =
            testbed_ask(&bed, "deployd", "service.deploy", json_pack("{s:o}", "spec", spec));
        events[i] = number_in(answer, "generation");
        json_decref(answer);
    }
    notes_append(&bed, 300);
    log_settled_id(&bed);
    json_decref(log_archive_keep(&bed, "20"));
    cr_assert_eq(testbed_stop(&bed), 0);
    zero_pages_of(events[0]);
    testbed_recoveryd(&bed, &found, "verify", "-o", "json", NULL);
    expect_exit(&found, 86);
    json_t *report = json_loads(result_out(&found), 0, NULL);
    cr_assert_not_null(report, "%s %s", result_out(&found), result_err(&found));
    cr_expect(is_found_damaged(report, events[0]));
    cr_expect_not(is_found_damaged(report, events[LARGE - 1]));
    json_decref(report);
}

/* The archives have what the store has no more: all of it is put together again, and may be taken
 * apart again. */
Test(retention, a_damaged_log_is_salvaged_with_its_archives, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result salvaged = { 0 };
    char store[400];
    static const char ruin[8192];
    service_deploy_sleeper(&bed, "acme", "old");
    notes_append(&bed, 300);
    log_settled_id(&bed);
    json_decref(log_archive_keep(&bed, "100"));
    notes_append(&bed, 50);
    json_t *answer = log_archive_keep(&bed, "60");
    uint64_t cut = number_in(answer, "last");
    json_decref(answer);
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(store, sizeof store, "%s/events/data.mdb", bed.data);
    AUTO(fd_close) int fd = open(store, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, ruin, sizeof ruin, 0), (ssize_t)sizeof ruin);
    testbed_recoveryd(&bed, &salvaged, "salvage", "--detailed-exitcode", NULL);
    expect_exit(&salvaged, 0);
    testbed_start(&bed);
    service_await(&bed, "acme", "old", "running", PATIENCE_MS);
    cr_assert_eq(first_of_log(), 1);
    expect_verified();
    json_decref(log_archive_keep(&bed, "20"));
    cr_assert_gt(first_of_log(), cut);
    expect_verified();
}

/* --- cuts --- */

static void start_with(const char *fault)
{
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_FAULT", fault);
    testbed_start(&bed);
}

/* Where the next start, before anybody asks, goes on and arrives there again. */
static bool is_met_at_start(const char *point)
{
    return strncmp(point, "prune", 5) == 0 || strcmp(point, "retention.after_cut") == 0;
}

Test(retention, a_cut_anywhere_costs_nothing, .init = set_up, .fini = tear_down)
{
    /* With SOLO_LONG all of them; each costs a start or two. */
    static const char *const all[] = {
        "archive.before_sync",
        "archive.before_rename",
        "archive.before_verify",
        "archive.before_checkpoint",
        "archive.after_checkpoint",
        "retention.archived",
        "retention.before_cut",
        "retention.after_cut",
        "prune.before_commit",
        "prune.after_commit",
        "none",
    };
    static const char *const some[] = {
        "archive.before_rename",
        "retention.before_cut",
        "retention.after_cut",
        "prune.after_commit",
        "none",
    };
    bool is_long = getenv("SOLO_LONG") != NULL;
    const char *const *points = is_long ? all : some;
    size_t count = is_long ? COUNT_OF(all) : COUNT_OF(some);
    uint64_t first = 1;
    if (!build_has_faults(&bed))
        cr_skip_test("this build has no fault points (SOLO_FAULTS)");
    service_deploy_sleeper(&bed, "acme", "old");
    for (size_t i = 0; i < count; i++) {
        struct problem problem = { 0 };
        start_with(points[i]);
        cr_assert_geq(first_of_log(), first, "%s", points[i]);
        expect_verified();
        notes_append(&bed, 300);
        enum status status = testbed_call(&bed, "eventd", "event.archive",
                                          json_pack("{s:i}", "keep_events", 60), NULL, &problem);
        bool is_last = i + 1 == count;
        cr_assert_eq(status == STATUS_OK, is_last, "%s: %s %s", points[i], status_name(status),
                     problem.message);
        if (is_met_at_start(points[i]))
            start_with("none");
        first = first_of_log();
    }
    cr_assert_gt(first, 280 * count);
    service_await(&bed, "acme", "old", "running", PATIENCE_MS);
    expect_verified();
    char pattern[ARCHIVE_PATH_BYTES];
    glob_t left;
    snprintf(pattern, sizeof pattern, "%s/archive/*.new", bed.data);
    cr_assert_eq(glob(pattern, 0, NULL, &left), GLOB_NOMATCH, "what was cut off is removed");
}

/* Of a pass that was to let go nearly all, and was cut off. */
Test(retention, an_archive_that_has_more_than_may_go_is_left_alone, .init = set_up,
     .fini = tear_down)
{
    struct problem problem = { 0 };
    if (!build_has_faults(&bed))
        cr_skip_test("this build has no fault points (SOLO_FAULTS)");
    start_with("archive.after_checkpoint");
    notes_append(&bed, 300);
    uint64_t newest = log_settled_id(&bed);
    enum status status = testbed_call(&bed, "eventd", "event.archive",
                                      json_pack("{s:i}", "keep_events", 1), NULL, &problem);
    cr_assert_eq(status, STATUS_UNAVAILABLE, "%s %s", status_name(status), problem.message);
    cr_assert_eq(first_of_log(), 1);
    char path[ARCHIVE_PATH_BYTES];
    archive_only(&bed, path, ".checkpoint");
    start_with("none");
    json_t *answer = log_archive_keep(&bed, "200");
    cr_expect_gt(number_in(answer, "last"), newest - 210);
    cr_expect_lt(number_in(answer, "last"), newest - 150);
    json_decref(answer);
    expect_verified();
    json_decref(log_archive_keep(&bed, "20"));
    expect_verified();
}

/* With what is kept free there it is too little. */
static void expect_refused_for_room(const char *folder)
{
    AUTO(result_close) struct result full = { 0 };
    char pattern[ARCHIVE_PATH_BYTES];
    glob_t found;
    testbed_soloctl(&bed, &full, "archive", "--keep", "10", NULL);
    expect_exit(&full, 8);
    expect_contains(result_err(&full), folder);
    expect_contains(result_err(&full), "there is not enough room");
    cr_assert_eq(first_of_log(), 1);
    snprintf(pattern, sizeof pattern, "%s/*", folder);
    cr_assert_eq(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

Test(retention, a_full_disk_keeps_the_log_as_it_is)
{
    char folder[] = "/tmp/solo-disk-XXXXXX", setting[100];
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        cr_skip_test("a disk of its own needs root and mount namespaces");
    cr_assert_not_null(mkdtemp(folder));
    if (mount("solo-test", folder, "tmpfs", 0, "size=64k") != 0) {
        rmdir(folder);
        cr_skip_test("no tmpfs can be mounted here");
    }
    testbed_open(&bed, 0);
    snprintf(setting, sizeof setting, "%s", folder);
    testbed_set(&bed, "SOLO_ARCHIVE_DIR", setting);
    testbed_start(&bed);
    notes_append(&bed, 1000);
    log_settled_id(&bed);
    expect_refused_for_room(folder);
    cr_assert_eq(mount("solo-test", folder, "tmpfs", MS_REMOUNT, "size=320k"), 0);
    expect_refused_for_room(folder); /* there is enough for the archive alone */
    expect_verified();
    cr_assert_eq(mount("solo-test", folder, "tmpfs", MS_REMOUNT, "size=4m"), 0);
    json_decref(log_archive_keep(&bed, "10"));
    expect_verified();
    testbed_close(&bed);
    umount2(folder, MNT_DETACH);
    rmdir(folder);
}
