/* A damaged log, and what is made of it: whatever the file and a backup prove, and nothing else. A
 * service whose kill may be lost is not brought back. */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/buffer.h"
#include "common/base/file.h"
#include "tests/support/build.h"
#include "tests/support/expect.h"

TestSuite(salvage, .timeout = 180);

enum { PATIENCE_MS = 60000, GRANTS = 20, LOG_BYTES_MAX = 64 << 20, AT_ID = 40, AT_BODY = 121 };

static struct testbed bed;
static char data[400], backup[400];

static void set_up(void)
{
    testbed_open(&bed, 0);
    snprintf(data, sizeof data, "%s/events/data.mdb", bed.data);
    snprintf(backup, sizeof backup, "%s/backup", bed.dir);
    testbed_start(&bed);
}

static void tear_down(void)
{
    testbed_close(&bed);
}

/* Every copy of these events in the file. */
static void spoil_events(uint64_t first, uint64_t last)
{
    AUTO(buffer_close) struct buffer bytes = { .limit = LOG_BYTES_MAX };
    cr_assert_eq(file_read(data, &bytes), STATUS_OK);
    AUTO(fd_close) int fd = open(data, O_WRONLY | O_CLOEXEC);
    size_t spoiled = 0;
    for (uint8_t *at = bytes.data, *end = bytes.data + bytes.size;
         (at = memmem(at, (size_t)(end - at), "SoloEvt1", 8)) != NULL; at++) {
        uint64_t id;
        if (end - at < AT_BODY)
            break;
        memcpy(&id, at + AT_ID, sizeof id);
        if (id < first || id > last)
            continue;
        cr_assert_eq(pwrite(fd, "\xff", 1, at - bytes.data + AT_BODY), 1);
        spoiled++;
    }
    cr_assert_gt(spoiled, 0);
}

static json_t *salvage(int exit_code, const char *source)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "salvage", "-o", "json", "--detailed-exitcode", source, NULL);
    expect_exit(&result, exit_code);
    json_t *report = json_loads(result_out(&result), 0, NULL);
    cr_assert_not_null(report, "%s", result_out(&result));
    return report;
}

/* The first of the stores that were set aside. */
static size_t quarantined(char path[400])
{
    char pattern[400];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/quarantine-events-*/data.mdb", bed.data);
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
    size_t count = found.gl_pathc;
    snprintf(path, 400, "%s", found.gl_pathv[0]);
    globfree(&found);
    return count;
}

/* Beside the store that was set aside, for whom a cut kept from reading it. */
static void expect_kept(const json_t *report)
{
    char path[420];
    snprintf(path, sizeof path, "%s.json", text_in(report, "quarantine"));
    json_t *kept = json_load_file(path, 0, NULL);
    cr_assert(json_equal(kept, (json_t *)(uintptr_t)report), "%s", path);
    json_decref(kept);
}

static void expect_verified(void)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&result, 0);
}

Test(salvage, a_backup_fills_the_gap, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result made = { 0 }, repeated = { 0 };
    AUTO(buffer_close) struct buffer before = { .limit = LOG_BYTES_MAX };
    AUTO(buffer_close) struct buffer after = { .limit = LOG_BYTES_MAX };
    char kept[400];
    uint64_t api = service_deploy_sleeper(&bed, "acme", "api");
    uint64_t gone = service_deploy_sleeper(&bed, "acme", "gone");
    testbed_soloctl(&bed, &made, "backup", backup, NULL);
    expect_exit(&made, 0);
    service_kill(&bed, "acme", "gone");
    uint64_t late = service_deploy_sleeper(&bed, "beta", "late");
    cr_assert_eq(testbed_stop(&bed), 0);
    spoil_events(api, gone);
    cr_assert_eq(file_read(data, &before), STATUS_OK);

    /* Damaged mode, with everything else at work, until somebody decides. */
    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, PATIENCE_MS));
    struct problem problem = { 0 };
    enum status status = service_try_deploy(
        &bed, service_spec(&bed, "acme", "new", "sleeper", NULL), NULL, &problem);
    expect_refused(status, STATUS_DATA_LOSS, &problem, NULL);
    testbed_recoveryd(&bed, &repeated, "salvage", backup, NULL);
    expect_exit(&repeated, 75); /* not while it runs */
    (void)testbed_stop(&bed);

    json_t *report = salvage(0, backup);
    cr_assert_eq(number_in(report, "salvaged"), number_in(report, "known_last"));
    cr_assert_eq(json_array_size(json_object_get(report, "needs_review")), 0);
    json_decref(report);
    cr_assert_eq(quarantined(kept), 1);
    cr_assert_eq(file_read(kept, &after), STATUS_OK);
    cr_assert(span_equal(buffer_span(&before), buffer_span(&after)), "it is kept as it was");

    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", PATIENCE_MS);
    service_await(&bed, "beta", "late", "running", PATIENCE_MS);
    json_t *row = service_row_of(&bed, "beta", "late");
    expect_number(row, "generation", late);
    json_decref(row);
    cr_assert_eq(service_pid(&bed, "acme", "gone"), 0, "its kill was behind the gap");
    service_deploy_sleeper(&bed, "acme", "new");
    log_settled_id(&bed);
    expect_verified();
}

Test(salvage, what_may_have_been_killed_waits_for_a_person, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result dry = { 0 };
    service_deploy_sleeper(&bed, "acme", "first");
    service_deploy_sleeper(&bed, "acme", "third");
    uint64_t second = service_deploy_sleeper(&bed, "beta", "second");
    log_settled_id(&bed);
    service_kill(&bed, "acme", "first");
    log_settled_id(&bed);
    json_t *events = events_after(&bed, 0);
    uint64_t killed = number_in(event_last(events, "service_killed", "acme", "first"), "id");
    json_decref(events);
    json_decref(testbed_ask(&bed, "deployd", "service.restart",
                            json_pack("{s:s, s:s}", "tenant", "beta", "name", "second")));
    service_deploy_sleeper(&bed, "gamma", "passing");
    service_kill(&bed, "gamma", "passing");
    uint64_t later = service_deploy_sleeper(&bed, "gamma", "later");
    log_settled_id(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    spoil_events(killed, killed);

    json_t *report = salvage(3, NULL);
    expect_number(report, "salvaged", killed - 1);
    json_t *review = json_object_get(report, "needs_review");
    cr_assert_eq(json_array_size(review), 1, "the others' later events say that none is lost");
    cr_assert_str_eq(json_string_value(json_array_get(review, 0)), "acme/first");
    json_t *lost = json_object_get(report, "lost");
    expect_number(lost, "events", 1);
    expect_number(json_array_get(json_object_get(lost, "ranges"), 0), "first", killed);
    cr_assert_gt(number_in(json_object_get(report, "unlinked"), "events"), 0);
    json_t *behind = json_object_get(report, "behind");
    cr_assert_eq(json_array_size(behind), 1, "what was deployed behind the gap is named");
    expect_text(json_array_get(behind, 0), "service", "gamma/later");
    expect_number(json_array_get(behind, 0), "event", later);
    expect_kept(report);
    json_decref(report);

    testbed_recoveryd(&bed, &dry, "--dry-run", "-o", "json", NULL);
    expect_exit(&dry, 0);
    expect_contains(result_out(&dry), "needs_review");
    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, PATIENCE_MS));
    service_await(&bed, "beta", "second", "running", PATIENCE_MS);
    json_t *row = service_row_of(&bed, "beta", "second");
    expect_number(row, "generation", second);
    json_decref(row);
    service_await(&bed, "acme", "third", "running", PATIENCE_MS);
    cr_assert_eq(service_pid(&bed, "acme", "first"), 0);
    row = service_row_of(&bed, "acme", "first");
    expect_contains(text_in(row, "reason"), "salvaged");
    json_decref(row);
    service_deploy_sleeper(&bed, "acme", "first");
    log_settled_id(&bed);
    expect_verified();
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_start(&bed);
    service_await(&bed, "acme", "first", "running", PATIENCE_MS);
}

/* So that LMDB cannot open it any more. */
static void spoil_meta_pages(void)
{
    static const uint8_t zeros[8192];
    AUTO(fd_close) int fd = open(data, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, zeros, sizeof zeros, 0), (ssize_t)sizeof zeros);
}

/* What the first salvage put to review is told by the log, as its events are lost still. */
static void expect_still_in_review(const char *service)
{
    json_t *report = salvage(3, NULL);
    cr_assert_eq(number_in(report, "salvaged"), number_in(report, "known_last"));
    json_t *review = json_object_get(report, "needs_review");
    cr_assert_eq(json_array_size(review), 1);
    cr_assert_str_eq(json_string_value(json_array_get(review, 0)), service);
    json_decref(report);
}

Test(salvage, another_one_brings_back_nothing_that_waits_for_a_person, .init = set_up,
     .fini = tear_down)
{
    if (!build_has_faults(&bed))
        cr_skip_test("skipped: the programs were built without fault points");
    service_deploy_sleeper(&bed, "acme", "decided");
    service_deploy_sleeper(&bed, "acme", "doubtful");
    log_settled_id(&bed);
    service_kill(&bed, "acme", "decided");
    log_settled_id(&bed);
    json_t *events = events_after(&bed, 0);
    uint64_t killed = number_in(event_last(events, "service_killed", "acme", "decided"), "id");
    json_decref(events);
    cr_assert_eq(testbed_stop(&bed), 0);
    spoil_events(killed, UINT64_MAX);
    json_t *report = salvage(3, NULL);
    cr_assert_eq(json_array_size(json_object_get(report, "needs_review")), 2);
    json_decref(report);
    report = salvage(3, NULL); /* at once again: nothing is known that was not */
    cr_assert(json_is_true(json_object_get(report, "is_repeat")));
    expect_number(report, "needs_review_count", 2);
    json_decref(report);

    /* Who opens it is killed before it has said so, and when it just has. */
    static const char *const points[] = { "eventd.before_commit", "eventd.after_commit" };
    for (size_t i = 0; i < COUNT_OF(points); i++) {
        size_t deaths = testbed_log_count(&bed, "daemon ended\" name=eventd");
        testbed_set(&bed, "SOLO_FAULT", points[i]);
        testbed_launch(&bed, NULL);
        for (int waited = 0; testbed_log_count(&bed, "daemon ended\" name=eventd") == deaths;
             waited += 20) {
            cr_assert_lt(waited, PATIENCE_MS, "%s", points[i]);
            sleep_ms(20);
        }
        testbed_kill_everything(&bed);
    }
    testbed_set(&bed, "SOLO_FAULT", "none");
    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, PATIENCE_MS));
    service_deploy_sleeper(&bed, "acme", "decided");
    service_await(&bed, "acme", "decided", "running", PATIENCE_MS);
    for (int again = 0; again < 2; again++) {
        log_settled_id(&bed);
        (void)testbed_stop(&bed);
        spoil_meta_pages();
        expect_still_in_review("acme/doubtful");
        testbed_launch(&bed, NULL);
        cr_assert(testbed_wait_ready(&bed, PATIENCE_MS));
        service_await(&bed, "acme", "decided", "running", PATIENCE_MS);
        cr_assert_eq(service_pid(&bed, "acme", "doubtful"), 0);
    }

    /* Who restarts it has not decided on it; who deploys what it was, has. */
    struct problem problem = { 0 };
    expect_refused(testbed_call(&bed, "deployd", "service.restart",
                                json_pack("{s:s, s:s}", "tenant", "acme", "name", "doubtful"), NULL,
                                &problem),
                   STATUS_FAILED_PRECONDITION, &problem, NULL);
    expect_contains(problem.message, "salvaged");
    service_deploy_sleeper(&bed, "acme", "doubtful");
    service_await(&bed, "acme", "doubtful", "running", PATIENCE_MS);
}

/* What tokend knows of the branch that a salvage gave up is lost once. */
Test(salvage, once_more_it_loses_nothing_more, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result grant = { 0 };
    service_deploy_sleeper(&bed, "acme", "api");
    uint64_t middle = service_deploy_sleeper(&bed, "acme", "next");
    for (int i = 0; i < GRANTS; i++) {
        testbed_soloctl(&bed, &grant, "token", "create", "-t", "acme", "--permission", "read",
                        NULL);
        expect_exit(&grant, 0);
        log_settled_id(&bed);
    }
    cr_assert_eq(testbed_stop(&bed), 0);
    spoil_events(middle, middle);
    json_decref(salvage(3, NULL));
    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, PATIENCE_MS));
    (void)testbed_stop(&bed);
    json_t *report = salvage(0, NULL);
    cr_assert_eq(number_in(report, "salvaged"), number_in(report, "known_last"));
    json_decref(report);
}

Test(salvage, a_log_of_another_solo_is_no_source, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result result = { 0 };
    struct testbed other = { 0 };
    testbed_open(&other, 0);
    testbed_start(&other);
    service_deploy_sleeper(&other, "acme", "theirs");
    cr_assert_eq(testbed_stop(&other), 0);
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_recoveryd(&bed, &result, "salvage", other.data, NULL);
    expect_exit(&result, 6);
    expect_contains(result_err(&result), "of another log");
    testbed_close(&other);
}

/* Nobody has to review anything, and what is lost is lost all the same. */
Test(salvage, run_again_it_asks_for_a_person_as_the_first_did, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result grant = { 0 };
    uint64_t settled = log_settled_id(&bed);
    testbed_soloctl(&bed, &grant, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&grant, 0);
    log_settled_id(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    spoil_events(settled + 1, UINT64_MAX);
    json_t *report = salvage(3, NULL);
    cr_assert_eq(json_array_size(json_object_get(report, "needs_review")), 0);
    json_decref(report);
    report = salvage(3, NULL);
    cr_assert(json_is_true(json_object_get(report, "is_repeat")));
    cr_assert(json_is_true(json_object_get(report, "needs_person")));
    expect_number(report, "needs_review_count", 0);
    json_decref(report);
}

static uint64_t last_event_of(const char *type, const char *tenant, const char *name)
{
    json_t *events = events_after(&bed, 0);
    uint64_t id = number_in(event_last(events, type, tenant, name), "id");
    json_decref(events);
    return id;
}

static void put_kept_back(const json_t *report)
{
    char place[400];
    snprintf(place, sizeof place, "%s/events", bed.data);
    cr_assert_eq(directory_remove(place), STATUS_OK);
    cr_assert_eq(rename(text_in(report, "quarantine"), place), 0);
}

static bool is_in_review(const json_t *report, const char *service)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(report, "needs_review"), i,
                       entry) if (strcmp(json_string_value(entry), service) == 0) return true;
    return false;
}

/* The kill of a service is lost with the end of the log. */
Test(salvage, what_was_doubted_is_doubted_behind_a_gap_and_with_the_kept_store_put_back,
     .init = set_up, .fini = tear_down)
{
    service_deploy_sleeper(&bed, "acme", "doubtful");
    service_deploy_sleeper(&bed, "beta", "other");
    log_settled_id(&bed);
    service_kill(&bed, "acme", "doubtful");
    log_settled_id(&bed);
    uint64_t between = last_event_of("service_started", "beta", "other");
    uint64_t killed = last_event_of("service_killed", "acme", "doubtful");
    cr_assert_lt(between, killed);
    cr_assert_eq(testbed_stop(&bed), 0);
    spoil_events(killed, UINT64_MAX);
    for (int times = 0; times < 2; times++) {
        json_t *report = salvage(3, NULL);
        expect_number(report, "salvaged", killed - 1);
        cr_assert_gt(number_in(report, "known_last"), killed);
        cr_assert(is_in_review(report, "acme/doubtful"));
        if (times == 0)
            put_kept_back(report);
        json_decref(report);
    }
    spoil_meta_pages(); /* nobody has opened it yet */
    json_t *early = salvage(3, NULL);
    expect_number(early, "salvaged", killed - 1);
    cr_assert(is_in_review(early, "acme/doubtful"));
    json_decref(early);

    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, PATIENCE_MS));
    service_deploy_sleeper(&bed, "acme", "later");
    log_settled_id(&bed);
    (void)testbed_stop(&bed);
    spoil_events(between, between);
    json_t *report = salvage(3, NULL);
    expect_number(report, "salvaged", between - 1);
    cr_assert(is_in_review(report, "acme/doubtful"));
    json_decref(report);
}

/* A file that nothing but the tail is lost of, cut where LMDB cannot open it any more. */
Test(salvage, a_file_that_cannot_be_opened_is_read_all_the_same, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result result = { 0 };
    service_deploy_sleeper(&bed, "acme", "api");
    testbed_soloctl(&bed, &result, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&result, 0);
    log_settled_id(&bed);
    cr_assert_eq(testbed_stop(&bed), 0);
    spoil_meta_pages();
    json_t *report = salvage(0, NULL);
    cr_assert_eq(number_in(report, "salvaged"), number_in(report, "known_last"));
    json_decref(report);
    testbed_recoveryd(&bed, &result, "verify", NULL);
    cr_assert_null(strstr(result_out(&result), "outbox_gap"), "%s", result_out(&result));
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", PATIENCE_MS);
    log_settled_id(&bed);
    expect_verified();
}

Test(salvage, cut_off_anywhere_it_is_run_again, .init = set_up, .fini = tear_down)
{
    static const char *const points[] = { "salvage.before_exchange", "salvage.exchanged" };
    char kept[400];
    if (!build_has_faults(&bed))
        cr_skip_test("skipped: the programs were built without fault points");
    service_deploy_sleeper(&bed, "acme", "api");
    cr_assert_eq(testbed_stop(&bed), 0);
    for (size_t i = 0; i < COUNT_OF(points); i++) {
        AUTO(result_close) struct result cut = { 0 };
        testbed_set(&bed, "SOLO_FAULT", points[i]);
        testbed_recoveryd(&bed, &cut, "salvage", NULL);
        cr_assert_neq(cut.exit_code, 0, "%s", points[i]);
        testbed_set(&bed, "SOLO_FAULT", "none");
        json_decref(salvage(0, NULL));
        testbed_start(&bed);
        service_await(&bed, "acme", "api", "running", PATIENCE_MS);
        cr_assert_eq(testbed_stop(&bed), 0);
    }
    cr_assert_geq(quarantined(kept), 3, "whatever was there is kept");
}

Test(salvage, without_the_beginning_nothing_is_made, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result result = { 0 };
    struct stat before, after;
    service_deploy_sleeper(&bed, "acme", "api");
    cr_assert_eq(testbed_stop(&bed), 0);
    spoil_events(1, 1);
    cr_assert_eq(stat(data, &before), 0);
    testbed_recoveryd(&bed, &result, "salvage", NULL);
    expect_exit(&result, 86);
    expect_contains(result_err(&result), "event 1 is not there");
    cr_assert_eq(stat(data, &after), 0);
    cr_assert_eq(before.st_ino, after.st_ino);
}

/* Reading it never ends by itself. */
Test(salvage, a_folder_in_the_place_of_a_file_is_refused, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result result = { 0 };
    char folder[512];
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(folder, sizeof folder, "%s/events/data.mdb", backup);
    cr_assert_eq(directory_make(folder, 0700), STATUS_OK);
    testbed_recoveryd(&bed, &result, "salvage", backup, NULL);
    expect_exit(&result, 65);
    expect_contains(result_err(&result), "it is no file");
}
