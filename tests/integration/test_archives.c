/* Archives of old events prove themselves, say what is missing, damaged, cut off or another log's,
 * and what is whole in them is read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/archives.h"
#include "tests/support/expect.h"
#include "tests/support/files.h"

TestSuite(archives, .timeout = 240);

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

static void expect_log_command(uint64_t cut)
{
    AUTO(result_close) struct result own = { 0 }, archived = { 0 }, last = { 0 };
    char path[ARCHIVE_PATH_BYTES];
    testbed_recoveryd(&bed, &own, "log", "-o", "jsonl", NULL);
    expect_exit(&own, 0);
    expect_contains(result_err(&own), "the log begins at event");
    json_t *event = json_loads(result_out(&own), JSON_DISABLE_EOF_CHECK, NULL);
    expect_number(event, "id", cut + 1);
    json_decref(event);
    archive_only(&bed, path, ".archive");
    testbed_recoveryd(&bed, &archived, "log", "--archive", path, "-o", "jsonl", NULL);
    expect_exit(&archived, 0);
    event = json_loads(result_out(&archived), JSON_DISABLE_EOF_CHECK, NULL);
    expect_number(event, "id", 1);
    json_decref(event);
    size_t lines = 0;
    for (const char *at = result_out(&archived); (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    cr_assert_eq(lines, cut);
    testbed_recoveryd(&bed, &last, "log", "--archive", path, "-n", "1", "-o", "jsonl", NULL);
    event = json_loads(result_out(&last), JSON_DISABLE_EOF_CHECK, NULL);
    expect_number(event, "id", cut);
    json_decref(event);
}

static void expect_archive_command(const char *key)
{
    AUTO(result_close) struct result good = { 0 }, own = { 0 }, foreign = { 0 };
    char path[ARCHIVE_PATH_BYTES], other[65];
    archive_only(&bed, path, ".archive");
    testbed_recoveryd(&bed, &good, "archive", path, "--key", key, NULL);
    expect_exit(&good, 0);
    expect_contains(result_out(&good), key);
    testbed_recoveryd(&bed, &own, "archive", "-o", "json", NULL);
    expect_exit(&own, 0);
    memset(other, '7', 64);
    other[64] = '\0';
    testbed_recoveryd(&bed, &foreign, "archive", path, "--key", other, NULL);
    expect_exit(&foreign, 86);
    expect_contains(result_out(&foreign), "another key");
}

Test(archives, each_is_read_and_verified_by_itself, .init = set_up, .fini = tear_down)
{
    notes_append(&bed, 300);
    log_settled_id(&bed);
    json_t *answer = log_archive_keep(&bed, "100");
    expect_log_command(number_in(answer, "last"));
    expect_archive_command(text_in(answer, "key"));
    json_decref(answer);
}

/* --- damage --- */

static void spoil(const char *path, off_t offset)
{
    cr_assert_eq(chmod(path, 0640), 0);
    AUTO(fd_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    char byte;
    cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
}

/* All events of an archive but those of the bytes that are not as they were. */
static void expect_shown_but_for_damage(const char *path)
{
    AUTO(result_close) struct result whole = { 0 }, damaged = { 0 }, newest = { 0 };
    testbed_recoveryd(&bed, &whole, "log", "--archive", path, "-o", "jsonl", NULL);
    expect_exit(&whole, 0);
    spoil(path, 5000);
    testbed_recoveryd(&bed, &damaged, "log", "--archive", path, "-o", "jsonl", NULL);
    testbed_recoveryd(&bed, &newest, "log", "--archive", path, "-n", "2", "-o", "jsonl", NULL);
    spoil(path, 5000);
    expect_exit(&damaged, 86);
    expect_exit(&newest, 86);
    expect_contains(result_err(&damaged), "are not shown: ");
    const char *all = result_out(&whole), *shown = result_out(&damaged);
    size_t lost = 0;
    while (*all != '\0') { /* each line of the one, in order, but for few */
        size_t line = strcspn(all, "\n") + 1;
        bool is_there = strncmp(all, shown, line) == 0;
        lost += !is_there;
        shown += is_there ? line : 0;
        all += line;
    }
    cr_expect_eq(*shown, '\0');
    cr_expect_eq(lost, 1);
    size_t tail = strlen(result_out(&newest)), size = strlen(result_out(&whole));
    cr_assert_gt(tail, 0);
    cr_expect_str_eq(result_out(&newest), result_out(&whole) + size - tail);
}

Test(archives, what_is_missing_or_altered_is_found, .init = set_up, .fini = tear_down)
{
    char path[ARCHIVE_PATH_BYTES], checkpoint[ARCHIVE_PATH_BYTES], aside[ARCHIVE_PATH_BYTES],
        public_key[ARCHIVE_PATH_BYTES];
    notes_append(&bed, 400);
    log_settled_id(&bed);
    json_decref(log_archive_keep(&bed, "20"));
    archive_only(&bed, path, ".archive");
    archive_only(&bed, checkpoint, ".checkpoint");
    snprintf(aside, sizeof aside, "%s/aside", bed.dir);
    cr_assert_eq(verify_findings(&bed, "none"), 0);
    expect_shown_but_for_damage(path);
    cr_assert_eq(rename(path, aside), 0);
    cr_assert_eq(verify_findings(&bed, "archive_missing"), 1);
    cr_assert_eq(rename(aside, path), 0);
    spoil(path, 5000);
    cr_assert_eq(verify_findings(&bed, "archive_damaged"), 1);
    spoil(path, 5000);
    spoil(checkpoint, 40);
    cr_assert_eq(verify_findings(&bed, "archive_damaged"), 1);
    spoil(checkpoint, 40);
    cr_assert_eq(rename(checkpoint, aside), 0);
    cr_assert_eq(verify_findings(&bed, "archive_damaged"), 1);
    cr_assert_eq(rename(aside, checkpoint), 0);
    snprintf(public_key, sizeof public_key, "%s/events.pub", bed.data);
    cr_assert_eq(chmod(public_key, 0640), 0);
    AUTO(fd_close) int fd = open(public_key, O_WRONLY | O_CLOEXEC);
    char digits[64];
    memset(digits, 'a', sizeof digits);
    cr_assert_eq(pwrite(fd, digits, sizeof digits, 0), (ssize_t)sizeof digits);
    cr_assert_eq(verify_findings(&bed, "checkpoint_damaged"), 1);
    /* Another key signed it, as after a restore: that is told, and no damage of the archive. */
    AUTO(result_close) struct result foreign = { 0 };
    testbed_recoveryd(&bed, &foreign, "archive", NULL);
    expect_exit(&foreign, 0);
    expect_contains(result_out(&foreign), "chain intact");
    expect_contains(result_out(&foreign), "not the key of this DATA");
}

Test(archives, the_archives_of_data_begin_with_the_first_event, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result whole = { 0 }, found = { 0 }, told = { 0 };
    char path[ARCHIVE_PATH_BYTES], aside[ARCHIVE_PATH_BYTES], missing[100];
    notes_append(&bed, 100);
    log_settled_id(&bed);
    json_t *answer = log_archive_keep(&bed, "20");
    uint64_t cut = number_in(answer, "last");
    json_decref(answer);
    archive_only(&bed, path, ".archive");
    notes_append(&bed, 100);
    log_settled_id(&bed);
    json_decref(log_archive_keep(&bed, "20"));
    testbed_recoveryd(&bed, &whole, "archive", NULL);
    expect_exit(&whole, 0);
    snprintf(aside, sizeof aside, "%s/aside", bed.dir);
    cr_assert_eq(rename(path, aside), 0);
    testbed_recoveryd(&bed, &found, "archive", NULL);
    expect_exit(&found, 86);
    snprintf(missing, sizeof missing, "events 1 to %llu: MISSING", (unsigned long long)cut);
    expect_contains(result_out(&found), missing);
    testbed_recoveryd(&bed, &told, "archive", "-o", "json", NULL);
    expect_exit(&told, 86);
    json_t *document = json_loads(result_out(&told), 0, NULL), *item;
    item = json_array_get(json_object_get(document, "items"), 0);
    cr_assert(json_is_false(json_object_get(item, "intact")), "%s", result_out(&told));
    expect_number(item, "last", cut);
    json_decref(document);
    /* And the log follows the last of them. */
    AUTO(result_close) struct result none = { 0 };
    snprintf(path, sizeof path, "%s/archive", bed.data);
    snprintf(aside, sizeof aside, "%s/archives_aside", bed.dir);
    cr_assert_eq(rename(path, aside), 0);
    testbed_recoveryd(&bed, &none, "archive", NULL);
    expect_exit(&none, 86);
    expect_contains(result_out(&none), "events 1 to ");
}

/* --- cut off --- */

static void write_begin(const char *path, struct span bytes)
{
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
    cr_assert_eq(fd_write_all(fd, bytes), STATUS_OK);
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    return lines;
}

static size_t lines_before(const char *text, size_t lines)
{
    const char *at = text;
    for (size_t i = 0; i < lines; i++)
        at = strchr(at, '\n') + 1;
    return (size_t)(at - text);
}

/* The first events of `whole`, how many of them is returned. */
static size_t expect_shown_to_the_cut(const char *path, const char *whole)
{
    AUTO(result_close) struct result shown = { 0 }, newest = { 0 }, verified = { 0 };
    testbed_recoveryd(&bed, &shown, "log", "--archive", path, "-o", "jsonl", NULL);
    testbed_recoveryd(&bed, &newest, "log", "--archive", path, "-n", "2", "-o", "jsonl", NULL);
    testbed_recoveryd(&bed, &verified, "archive", path, NULL);
    expect_exit(&shown, 86);
    expect_exit(&newest, 86);
    expect_exit(&verified, 86);
    expect_contains(result_err(&shown), "DAMAGED: the archive has no end; events from ");
    expect_contains(result_out(&verified), "DAMAGED: ");
    size_t size = strlen(result_out(&shown)), lines = count_lines(result_out(&shown));
    cr_expect_eq(strncmp(result_out(&shown), whole, size), 0);
    cr_expect_eq(size, lines_before(whole, lines));
    size_t skipped = lines_before(result_out(&shown), lines < 2 ? 0 : lines - 2);
    cr_expect_str_eq(result_out(&newest), result_out(&shown) + skipped);
    return lines;
}

Test(archives, one_that_is_cut_off_is_read_to_the_cut, .init = set_up, .fini = tear_down)
{
    enum { HEAD_BYTES = 64, TAIL_BYTES = 136 };
    AUTO(result_close) struct result whole = { 0 }, none = { 0 };
    AUTO(buffer_close) struct buffer bytes = { .limit = 16 << 20 };
    char path[ARCHIVE_PATH_BYTES], cut[ARCHIVE_PATH_BYTES];
    notes_append(&bed, 300);
    log_settled_id(&bed);
    json_decref(log_archive_keep(&bed, "20"));
    archive_only(&bed, path, ".archive");
    testbed_recoveryd(&bed, &whole, "log", "--archive", path, "-o", "jsonl", NULL);
    expect_exit(&whole, 0);
    size_t all = count_lines(result_out(&whole));
    cr_assert_eq(file_read(path, &bytes), STATUS_OK);
    snprintf(cut, sizeof cut, "%s/events-%020d-%020d.archive", bed.dir, 1, (int)all);
    const struct {
        size_t size, least, most;
    } cuts[] = {
        { HEAD_BYTES, 0, 0 },
        { HEAD_BYTES + 100, 0, 0 },
        { bytes.size / 2, 20, all - 20 },
        { bytes.size - TAIL_BYTES, all, all }, /* of which the records are whole */
        { bytes.size - 1, all, all },
    };
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        write_begin(cut, span_of(bytes.data, cuts[i].size));
        size_t lines = expect_shown_to_the_cut(cut, result_out(&whole));
        cr_expect_geq(lines, cuts[i].least, "%zu of %zu bytes", cuts[i].size, bytes.size);
        cr_expect_leq(lines, cuts[i].most, "%zu of %zu bytes", cuts[i].size, bytes.size);
    }
    write_begin(cut, span_of(bytes.data, HEAD_BYTES - 1));
    testbed_recoveryd(&bed, &none, "log", "--archive", cut, NULL);
    expect_exit(&none, 86);
    expect_contains(result_err(&none), "too short");
}

/* --- another log's --- */

/* A Solo of its own in the place of this one, which is put aside. */
static void begin_anew(const char *aside)
{
    cr_assert_eq(testbed_stop(&bed), 0);
    cr_assert_eq(rename(bed.data, aside), 0);
    cr_assert_eq(mkdir(bed.data, 0755), 0);
    if (bed.uid != 0)
        cr_assert_eq(chown(bed.data, bed.uid, bed.uid), 0);
    testbed_start(&bed);
}

static void expect_told(const char *what, const char *also)
{
    AUTO(result_close) struct result told = { 0 };
    testbed_recoveryd(&bed, &told, "archive", NULL);
    expect_exit(&told, 86);
    expect_contains(result_out(&told), what);
    expect_contains(result_out(&told), also);
}

Test(archives, those_of_another_log_are_told_apart, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result named = { 0 }, listed = { 0 }, unread = { 0 };
    char aside[400], foreign[ARCHIVE_PATH_BYTES], own[ARCHIVE_PATH_BYTES], folder[420];
    char missing[100], name[100];
    notes_append(&bed, 60);
    log_settled_id(&bed);
    json_decref(log_archive_keep(&bed, "20"));
    snprintf(aside, sizeof aside, "%s/other", bed.dir);
    archive_only(&bed, foreign, ".archive");
    begin_anew(aside);
    notes_append(&bed, 200);
    log_settled_id(&bed);
    json_t *answer = log_archive_keep(&bed, "20");
    snprintf(missing, sizeof missing, "events 1 to %llu: MISSING",
             (unsigned long long)number_in(answer, "last"));
    json_decref(answer);
    archive_only(&bed, own, ".archive");
    snprintf(name, sizeof name, "%s", strrchr(foreign, '/') + 1);
    snprintf(foreign, sizeof foreign, "%s/archive/%s", aside, name);

    /* Those that are named may be of any log. */
    testbed_recoveryd(&bed, &named, "archive", foreign, own, NULL);
    expect_exit(&named, 0);
    snprintf(folder, sizeof folder, "%s/archive", bed.data);
    files_change(&bed, "/bin/cp", "-a", foreign, folder, NULL);
    snprintf(strrchr(foreign, '.'), sizeof ".checkpoint", ".checkpoint");
    files_change(&bed, "/bin/cp", "-a", foreign, folder, NULL);
    expect_told("OF ANOTHER LOG than the one of this DATA", own);
    testbed_recoveryd(&bed, &listed, "archive", "-o", "json", NULL);
    json_t *document = json_loads(result_out(&listed), 0, NULL);
    json_t *items = json_object_get(document, "items");
    cr_assert_eq(json_array_size(items), 2, "%s", result_out(&listed));
    cr_expect(json_is_true(json_object_get(json_array_get(items, 0), "of_another_log")));
    cr_expect(json_is_false(json_object_get(json_array_get(items, 1), "of_another_log")));
    json_decref(document);

    /* It stands for none of ours. */
    snprintf(aside, sizeof aside, "%s/own.archive", bed.dir);
    cr_assert_eq(rename(own, aside), 0);
    expect_told("OF ANOTHER LOG", missing);
    cr_assert_eq(rename(aside, own), 0);

    /* Without the log the first archive is what the others are compared with. */
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(folder, sizeof folder, "%s/events", bed.data);
    snprintf(aside, sizeof aside, "%s/events.aside", bed.dir);
    cr_assert_eq(rename(folder, aside), 0);
    testbed_recoveryd(&bed, &unread, "archive", NULL);
    expect_exit(&unread, 86);
    expect_contains(result_err(&unread), "cannot be read");
    expect_contains(result_out(&unread), "OF ANOTHER LOG than the first archive here");
    cr_assert_eq(rename(aside, folder), 0);
    testbed_start(&bed);
}
