#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/file_number.h"
#include "common/base/log.h"
#include "deployd/log_files.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

static struct log_files files = { .directory = -1, .fd = -1 };
static const struct log_filter everything;

static void begin(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
}

static void end(void)
{
    log_files_close(&files);
    scratch_remove();
}

TestSuite(log_files, .init = begin, .fini = end);

/* Appends lines numbered first..last to a file. */
static void write_lines(const char *name, int first, int last)
{
    FILE *file = fopen(scratch_path(name), "a");
    for (int i = first; i <= last; i++)
        fprintf(file, "2026-11-21T20:58:17.%09dZ %s F line %d\n", i, i % 2 ? "stderr" : "stdout",
                i);
    fclose(file);
}

static void rotate(void)
{
    rename(scratch_path("api.log.1"), scratch_path("api.log.2"));
    rename(scratch_path("api.log"), scratch_path("api.log.1"));
}

static void open_files(const struct log_filter *filter)
{
    cr_assert_eq(log_files_open(&files, scratch_path(""), "api", filter), STATUS_OK);
}

/* The next line's number, 0 for no more. */
static int next(void)
{
    struct log_line line;
    for (;;) {
        size_t bytes = 4096;
        enum status status = log_files_next(&files, &bytes, &line);
        if (status == STATUS_UNAVAILABLE)
            continue;
        if (status == STATUS_NOT_FOUND)
            return 0;
        cr_assert_eq(status, STATUS_OK);
        char text[64];
        snprintf(text, sizeof text, "%.*s", (int)line.text.size, (const char *)line.text.data);
        return atoi(text + strlen("line "));
    }
}

static void expect(int first, int last)
{
    for (int i = first; i <= last; i++)
        cr_assert_eq(next(), i);
}

static void seek(uint64_t count)
{
    cr_assert_eq(log_files_seek_last(&files, count), STATUS_OK);
    enum status status;
    do
        status = log_files_seek_step(&files, 1);
    while (status == STATUS_UNAVAILABLE);
    cr_assert_eq(status, STATUS_OK);
}

Test(log_files, reads_all_files_oldest_first)
{
    write_lines("api.log.2", 1, 3);
    write_lines("api.log.1", 4, 6);
    write_lines("api.log", 7, 9);
    open_files(&everything);
    expect(1, 9);
    cr_assert_eq(next(), 0);
}

Test(log_files, says_when_there_is_nothing)
{
    cr_assert_eq(log_files_open(&files, scratch_path(""), "api", &everything), STATUS_NOT_FOUND);
    log_files_close(&files);
    cr_assert_eq(log_files_open(&files, scratch_path("none"), "api", &everything),
                 STATUS_NOT_FOUND);
}

Test(log_files, goes_on_when_lines_are_added)
{
    write_lines("api.log", 1, 2);
    open_files(&everything);
    expect(1, 2);
    cr_assert_eq(next(), 0);
    write_lines("api.log", 3, 4);
    expect(3, 4);
    cr_assert_eq(next(), 0);
}

Test(log_files, loses_and_repeats_nothing_when_files_are_moved)
{
    write_lines("api.log", 1, 3);
    open_files(&everything);
    expect(1, 2);
    write_lines("api.log", 4, 5);
    rotate();
    write_lines("api.log", 6, 7);
    expect(3, 7);
    cr_assert_eq(next(), 0);
    rotate();
    cr_assert_eq(next(), 0, "moved, and the next one is not there yet");
    write_lines("api.log", 8, 8);
    rotate();
    write_lines("api.log", 9, 9);
    expect(8, 9);
}

/* The supervisor moves the higher ones first: for a moment a number is free in between. */
Test(log_files, a_number_that_is_free_for_a_moment_is_no_end)
{
    write_lines("api.log.1", 1, 2);
    write_lines("api.log", 3, 4);
    open_files(&everything);
    expect(1, 2);
    rename(scratch_path("api.log.1"), scratch_path("api.log.2"));
    cr_assert_eq(next(), 0, "nothing was removed, and nothing is said to be");
    rename(scratch_path("api.log"), scratch_path("api.log.1"));
    write_lines("api.log", 5, 5);
    expect(3, 5);
}

static void give_number(const char *name, uint64_t number)
{
    AUTO(fd_close) int fd = open(scratch_path(name), O_RDONLY | O_CLOEXEC);
    file_number_write(fd, number);
    if (file_number_read(fd) != number)
        cr_skip_test("no attributes here");
}

/* The next thing to read is a note that begins so. */
static void expect_note(const char *text)
{
    struct log_line line;
    size_t bytes = 4096;
    cr_assert_eq(log_files_next(&files, &bytes, &line), STATUS_OK);
    cr_assert(line.is_note);
    cr_assert_geq(line.text.size, strlen(text));
    cr_assert_eq(memcmp(line.text.data, text, strlen(text)), 0, "%.*s", (int)line.text.size,
                 (const char *)line.text.data);
}

Test(log_files, goes_on_with_the_oldest_that_is_left)
{
    write_lines("api.log", 1, 3);
    open_files(&everything);
    expect(1, 3);
    rotate();
    unlink(scratch_path("api.log.1"));
    write_lines("api.log.1", 4, 5);
    write_lines("api.log", 6, 6);
    expect_note("solo: lines may be missing here");
    expect(4, 6);
}

Test(log_files, counts_the_files_that_were_removed_unread)
{
    write_lines("api.log", 1, 3);
    give_number("api.log", 7);
    open_files(&everything);
    expect(1, 3);
    unlink(scratch_path("api.log"));
    write_lines("api.log.1", 10, 11);
    give_number("api.log.1", 10);
    write_lines("api.log", 12, 12);
    give_number("api.log", 11);
    expect_note("solo: lines are missing here: 2 of its files were removed before they were read");
    expect(10, 12);
    cr_assert_eq(next(), 0);
    /* The next one is the one that follows: nothing is missing. */
    unlink(scratch_path("api.log.1"));
    unlink(scratch_path("api.log"));
    write_lines("api.log", 13, 13);
    give_number("api.log", 12);
    expect(13, 13);
}

Test(log_files, says_that_lines_may_be_missing_where_files_have_no_number)
{
    write_lines("api.log", 1, 3);
    open_files(&everything);
    expect(1, 3);
    unlink(scratch_path("api.log"));
    write_lines("api.log", 4, 4);
    expect_note("solo: lines may be missing here");
    expect(4, 4);
}

Test(log_files, waits_for_the_rest_of_a_line)
{
    write_lines("api.log", 1, 1);
    FILE *file = fopen(scratch_path("api.log"), "a");
    fprintf(file, "2026-11-21T20:58:17.000000002Z stdout F line");
    fflush(file);
    open_files(&everything);
    expect(1, 1);
    cr_assert_eq(next(), 0);
    fprintf(file, " 2\n");
    fclose(file);
    expect(2, 2);
}

Test(log_files, skips_what_is_no_line)
{
    write_lines("api.log", 1, 1);
    FILE *file = fopen(scratch_path("api.log"), "a");
    for (int i = 0; i < 3 * LOG_BLOCK_BYTES; i++)
        fputc('x', file);
    fputc('\n', file);
    fclose(file);
    write_lines("api.log", 2, 2);
    open_files(&everything);
    expect(1, 2);
}

Test(log_files, seeks_the_last_lines_across_files)
{
    write_lines("api.log.1", 1, 5);
    write_lines("api.log", 6, 8);
    open_files(&everything);
    static const int counts[] = { 1, 2, 3, 4, 7, 8 };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        seek((uint64_t)counts[i]);
        expect(9 - counts[i], 8);
        cr_assert_eq(next(), 0);
    }
    seek(1000);
    expect(1, 8);
    seek(0);
    cr_assert_eq(next(), 0);
    write_lines("api.log", 9, 9);
    expect(9, 9);
}

Test(log_files, seeks_across_many_blocks)
{
    enum { LINES = 20000 };
    write_lines("api.log.1", 1, LINES / 2);
    write_lines("api.log", LINES / 2 + 1, LINES);
    open_files(&everything);
    for (int count = 1; count < LINES; count = 2 * count + 1) {
        seek((uint64_t)count);
        expect(LINES - count + 1, LINES);
    }
}

Test(log_files, counts_only_lines_that_pass_the_filter)
{
    write_lines("api.log.1", 1, 6);
    write_lines("api.log", 7, 10);
    open_files(&(struct log_filter){ .only_errors = true });
    seek(3);
    cr_assert_eq(next(), 5);
    cr_assert_eq(next(), 7);
    cr_assert_eq(next(), 9);
    cr_assert_eq(next(), 0);
    log_files_close(&files);
    uint64_t base_ns = 1795294697000000000u;
    open_files(&(struct log_filter){ .only_output = true, .since_ns = base_ns + 5 });
    cr_assert_eq(next(), 6);
    cr_assert_eq(next(), 8);
    cr_assert_eq(next(), 10);
    cr_assert_eq(next(), 0);
}

Test(log_files, a_line_in_parts_counts_once)
{
    write_lines("api.log", 1, 2);
    FILE *file = fopen(scratch_path("api.log"), "a");
    fprintf(file, "2026-11-21T20:58:17.000000003Z stdout P line 3\n");
    fprintf(file, "2026-11-21T20:58:17.000000004Z stdout P line 4\n");
    fprintf(file, "2026-11-21T20:58:17.000000005Z stdout F line 5\n");
    fclose(file);
    open_files(&everything);
    seek(1);
    expect(3, 5);
}
