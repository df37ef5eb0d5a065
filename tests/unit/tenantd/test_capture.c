/* Output on its way from a pipe to its file: lines, pieces, rotation, the tail. */
#include "tenantd/capture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_number.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/scratch.h"

struct fixture {
    struct scratch scratch;
    struct folder folder;
    struct ev_loop *loop;
    struct capture_hub hub;
    struct capture capture;
    int ends[2];
};

static void fixture_open(struct fixture *fixture, uint64_t max_bytes, uint64_t files)
{
    const struct log_settings settings = { max_bytes, files };
    memset(fixture, 0, sizeof *fixture);
    scratch_open(&fixture->scratch);
    fixture->loop = ev_loop_new(EVFLAG_NOENV);
    fixture->folder = (struct folder){ .fd = fixture->scratch.fd, .top = -1 };
    capture_hub_open(&fixture->hub, fixture->loop, &fixture->folder);
    capture_init(&fixture->capture, &fixture->hub, "api");
    cr_assert_eq(capture_open(&fixture->capture, &settings, fixture->ends), STATUS_OK);
    for (int i = 0; i < 2; i++)
        fcntl(fixture->ends[i], F_SETFL, O_NONBLOCK);
}

static void fixture_close(struct fixture *fixture)
{
    close(fixture->ends[0]);
    close(fixture->ends[1]);
    capture_free(&fixture->capture);
    capture_hub_close(&fixture->hub);
    ev_loop_destroy(fixture->loop);
    scratch_close(&fixture->scratch);
}

/* Writes all of it, letting the capture read whenever the pipe is full. */
static void print(struct fixture *fixture, int stream, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fixture->ends[stream], data, size);
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
        ev_run(fixture->loop, EVRUN_NOWAIT);
    }
    capture_drain(&fixture->capture);
}

static void print_text(struct fixture *fixture, int stream, const char *text)
{
    print(fixture, stream, text, strlen(text));
}

/* The lines of a log without their times: "stdout F text\n...". */
static char *lines_of(struct fixture *fixture, const char *name)
{
    char *text = scratch_read(&fixture->scratch, name);
    if (text == NULL)
        return NULL;
    char *to = text;
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        cr_assert_gt(end - line, 31, "a line without a time: %.*s", (int)(end - line), line);
        cr_assert_eq(line[29], 'Z');
        cr_assert_eq(line[30], ' ');
        memmove(to, line + 31, (size_t)(end + 1 - (line + 31)));
        to += end + 1 - (line + 31);
    }
    *to = '\0';
    return text;
}

static void expect_lines(struct fixture *fixture, const char *expected)
{
    char *lines = lines_of(fixture, "api.log");
    cr_assert_not_null(lines);
    cr_assert_str_eq(lines, expected);
    free(lines);
}

Test(capture, lines_of_both_streams_are_in_the_cri_format)
{
    struct fixture fixture;
    fixture_open(&fixture, 1 << 20, 3);
    uint64_t before = clock_wall_ns();
    print_text(&fixture, 0, "one\n\ntwo\n");
    print_text(&fixture, 1, "wrong\n");
    expect_lines(&fixture, "stdout F one\nstdout F \nstdout F two\nstderr F wrong\n");
    char *text = scratch_read(&fixture.scratch, "api.log");
    unsigned year;
    unsigned long ns;
    cr_assert_eq(sscanf(text, "%u-%*2u-%*2uT%*2u:%*2u:%*2u.%9luZ", &year, &ns), 2);
    cr_assert_geq(year, 1970 + before / 1000000000u / 86400 / 366);
    free(text);
    fixture_close(&fixture);
}

/* A power cut keeps any part of what was not synced. */
Test(capture, a_torn_line_does_not_swallow_the_next)
{
    static const char torn[] = "2026-11-21T20:58:17.123456789Z stdout F tor";
    struct fixture fixture;
    fixture_open(&fixture, 1 << 20, 3);
    int fd = openat(fixture.scratch.fd, "api.log", O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    cr_assert_eq(write(fd, torn, strlen(torn)), (ssize_t)strlen(torn));
    close(fd);
    print_text(&fixture, 0, "whole\n");
    expect_lines(&fixture, "stdout F tor\nstdout F whole\n");
    fixture_close(&fixture);
}

Test(capture, a_line_that_arrives_in_parts_is_one_line)
{
    struct fixture fixture;
    fixture_open(&fixture, 1 << 20, 3);
    print_text(&fixture, 0, "half ");
    cr_assert_null(scratch_read(&fixture.scratch, "api.log"));
    print_text(&fixture, 1, "meanwhile\n");
    print_text(&fixture, 0, "and half\nrest");
    expect_lines(&fixture, "stderr F meanwhile\nstdout F half and half\n");
    capture_close(&fixture.capture);
    expect_lines(&fixture, "stderr F meanwhile\nstdout F half and half\nstdout F rest\n");
    fixture_close(&fixture);
}

static void count_pieces(const char *lines, size_t sizes[8], char flags[8], size_t *count)
{
    *count = 0;
    for (const char *end; (end = strchr(lines, '\n')) != NULL && *count < 8; lines = end + 1) {
        flags[*count] = lines[7];
        sizes[(*count)++] = (size_t)(end - lines) - 9;
    }
}

Test(capture, a_line_that_is_too_long_goes_out_in_pieces)
{
    struct fixture fixture;
    fixture_open(&fixture, 1 << 20, 3);
    enum { LONG = 2 * LOG_LINE_BYTES_MAX + 100 };
    char *text = malloc(LONG + 1);
    memset(text, 'x', LONG);
    text[LONG] = '\n';
    print(&fixture, 0, text, LONG + 1);
    print(&fixture, 0, text + LONG - LOG_LINE_BYTES_MAX, LOG_LINE_BYTES_MAX + 1);
    char *lines = lines_of(&fixture, "api.log"), flags[8];
    size_t sizes[8], count;
    count_pieces(lines, sizes, flags, &count);
    cr_assert_geq(count, 4);
    cr_assert_eq(sizes[0], LOG_LINE_BYTES_MAX);
    cr_assert_eq(flags[0], 'P');
    cr_assert_eq(sizes[1], LOG_LINE_BYTES_MAX);
    cr_assert_eq(flags[1], 'P');
    cr_assert_eq(sizes[2], 100);
    cr_assert_eq(flags[2], 'F');
    cr_assert_eq(flags[count - 1], 'F');
    size_t rest = 0;
    for (size_t i = 3; i < count; i++)
        rest += sizes[i];
    cr_assert_eq(rest, LOG_LINE_BYTES_MAX);
    free(lines);
    free(text);
    fixture_close(&fixture);
}

Test(capture, an_unfinished_line_can_be_read_after_a_second)
{
    struct fixture fixture;
    fixture_open(&fixture, 1 << 20, 3);
    print_text(&fixture, 0, "password: ");
    uint64_t deadline = clock_boottime_ns() + 60000000000u;
    char *text = NULL;
    while (text == NULL && clock_boottime_ns() < deadline) {
        ev_run(fixture.loop, EVRUN_ONCE);
        text = scratch_read(&fixture.scratch, "api.log");
    }
    free(text);
    expect_lines(&fixture, "stdout P password: \n");
    print_text(&fixture, 0, "secret\nnext\n");
    expect_lines(&fixture, "stdout P password: \nstdout F secret\nstdout F next\n");
    fixture_close(&fixture);
}

static off_t size_of(struct fixture *fixture, const char *name)
{
    struct stat stat;
    return fstatat(fixture->scratch.fd, name, &stat, 0) < 0 ? -1 : stat.st_size;
}

Test(capture, files_are_rotated_and_bounded)
{
    struct fixture fixture;
    enum { MAX = 4096 };
    fixture_open(&fixture, MAX, 3);
    char line[64];
    for (int i = 0; i < 1000; i++) {
        snprintf(line, sizeof line, "line number %d\n", i);
        print_text(&fixture, 0, line);
    }
    static const char *const names[] = { "api.log", "api.log.1", "api.log.2" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        cr_assert_gt(size_of(&fixture, names[i]), 0, "%s", names[i]);
        cr_assert_leq(size_of(&fixture, names[i]), MAX, "%s", names[i]);
    }
    cr_assert_eq(size_of(&fixture, "api.log.3"), -1);
    char *lines = lines_of(&fixture, "api.log");
    cr_assert_not_null(strstr(lines, "line number 999\n"));
    free(lines);
    /* Nothing is lost between the files that are kept. */
    int next = -1, number;
    for (int i = 2; i >= 0; i--) {
        lines = lines_of(&fixture, names[i]);
        for (char *at = lines; sscanf(at, "stdout F line number %d\n", &number) == 1;
             at = strchr(at, '\n') + 1) {
            cr_assert(next == -1 || number == next, "%d after %d", number, next - 1);
            next = number + 1;
        }
        free(lines);
    }
    cr_assert_eq(next, 1000);
    fixture_close(&fixture);
}

Test(capture, one_file_begins_anew)
{
    struct fixture fixture;
    fixture_open(&fixture, 200, 1);
    for (int i = 0; i < 20; i++)
        print_text(&fixture, 0, "0123456789\n");
    cr_assert_leq(size_of(&fixture, "api.log"), 200);
    cr_assert_eq(size_of(&fixture, "api.log.1"), -1);
    fixture_close(&fixture);
}

Test(capture, a_batch_bigger_than_a_file_still_rotates)
{
    struct fixture fixture;
    fixture_open(&fixture, 1000, 4);
    char text[20 * 100 + 1] = "";
    for (int i = 0; i < 100; i++)
        strcat(text, "0123456789012345678\n");
    print_text(&fixture, 0, text);
    for (int i = 1; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "api.log.%d", i);
        cr_assert_gt(size_of(&fixture, name), 800);
        cr_assert_leq(size_of(&fixture, name), 1000);
    }
    fixture_close(&fixture);
}

Test(capture, the_tail_is_the_last_output_as_clean_text)
{
    struct fixture fixture;
    fixture_open(&fixture, 1 << 20, 3);
    char text[EXIT_OUTPUT_BYTES_MAX + 1];
    cr_assert_str_eq(output_tail_text(&fixture.capture.tail, text), "");
    print_text(&fixture, 0, "a\x1b[1mb\xff\xc3\xa9\n");
    cr_assert_str_eq(output_tail_text(&fixture.capture.tail, text), "a?[1mb?\xc3\xa9\n");
    for (int i = 0; i < 1000; i++)
        print_text(&fixture, 1, "0123456789");
    print_text(&fixture, 1, "the end");
    output_tail_text(&fixture.capture.tail, text);
    cr_assert_eq(strlen(text), EXIT_OUTPUT_BYTES_MAX);
    cr_assert_str_eq(text + EXIT_OUTPUT_BYTES_MAX - 7, "the end");
    fixture_close(&fixture);
}

Test(capture, a_service_that_prints_too_fast_waits_and_loses_nothing)
{
    struct fixture fixture;
    fixture_open(&fixture, 1 << 20, 2);
    fixture.capture.tick_began = ev_now(fixture.loop) + 3600; /* this tick does not end */
    fixture.capture.bytes_this_tick = CAPTURE_BYTES_PER_TICK - 1;
    cr_assert_eq(write(fixture.ends[0], "one\n", 4), 4);
    ev_run(fixture.loop, EVRUN_NOWAIT);
    cr_assert(fixture.capture.is_waiting);
    cr_assert_eq(write(fixture.ends[0], "two\n", 4), 4);
    ev_run(fixture.loop, EVRUN_NOWAIT);
    expect_lines(&fixture, "stdout F one\n");
    while (fixture.capture.is_waiting)
        ev_run(fixture.loop, EVRUN_ONCE);
    ev_run(fixture.loop, EVRUN_ONCE);
    expect_lines(&fixture, "stdout F one\nstdout F two\n");
    fixture_close(&fixture);
}

Test(capture, a_log_that_cannot_be_written_does_not_stop_the_service)
{
    struct fixture fixture;
    fixture_open(&fixture, 1 << 20, 3);
    cr_assert_eq(mkdirat(fixture.scratch.fd, "api.log", 0700), 0);
    char text[EXIT_OUTPUT_BYTES_MAX + 1];
    print_text(&fixture, 0, "lost\n");
    print_text(&fixture, 0, "lost too\n");
    cr_assert_str_eq(output_tail_text(&fixture.capture.tail, text), "lost\nlost too\n");
    cr_assert(fixture.capture.is_disk_failing);
    cr_assert_eq(unlinkat(fixture.scratch.fd, "api.log", AT_REMOVEDIR), 0);
    print_text(&fixture, 0, "again\n");
    cr_assert_not(fixture.capture.is_disk_failing);
    char *lines = lines_of(&fixture, "api.log");
    cr_assert_eq(strncmp(lines, "stdout F solo: 2 lines (14 bytes) ", 34), 0, "%s", lines);
    cr_assert_not_null(strstr(lines, "\nstdout F again\n"));
    free(lines);
    fixture_close(&fixture);
}

/* Files may not grow beyond `bytes`, as on a disk that is full; RLIM_INFINITY: there is room. */
static void leave_room(rlim_t bytes)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(capture, what_a_full_disk_did_not_take_is_told_when_it_takes_more)
{
    struct fixture fixture;
    signal(SIGXFSZ, SIG_IGN);
    fixture_open(&fixture, 1 << 20, 3);
    /* It takes the first line and half of the second: two are lost in this batch ... */
    leave_room(92);
    print_text(&fixture, 0, "first\nsecond that is longer\nthird\n");
    /* ... three in others. */
    print_text(&fixture, 0, "fourth\nfifth\n");
    print_text(&fixture, 1, "wrong\n");
    leave_room(RLIM_INFINITY);
    /* It says so by itself; or before what follows. */
    uint64_t deadline = clock_boottime_ns() + 60000000000u;
    while (fixture.capture.is_missing && clock_boottime_ns() < deadline)
        ev_run(fixture.loop, EVRUN_ONCE);
    cr_assert_not(fixture.capture.is_missing);
    print_text(&fixture, 0, "again\n");
    char *lines = lines_of(&fixture, "api.log");
    unsigned long count, bytes;
    const char *at = strstr(lines, "stdout F solo: ");
    cr_assert_not_null(at, "%s", lines);
    cr_assert_eq(
        sscanf(at, "stdout F solo: %lu lines (%lu bytes) were dropped since 2", &count, &bytes), 2);
    cr_assert_eq(count, 4);
    cr_assert_eq(bytes, strlen("second that is longer\nthird\nfourth\nfifth\n"));
    cr_assert_not_null(strstr(at, "the log could not be written (File too large)\n"));
    at = strstr(lines, "stderr F solo: 1 lines (6 bytes) were dropped since 2");
    cr_assert_not_null(at, "%s", lines);
    cr_assert_not_null(strstr(at, "stdout F again\n"));
    cr_assert_null(strstr(strstr(lines, "stderr F solo: ") + 10, "solo: "), "told twice: %s",
                   lines);
    free(lines);
    fixture_close(&fixture);
}

Test(capture, what_was_lost_is_told_before_what_follows)
{
    struct fixture fixture;
    signal(SIGXFSZ, SIG_IGN);
    fixture_open(&fixture, 1 << 20, 3);
    print_text(&fixture, 0, "first\n");
    leave_room(46);
    print_text(&fixture, 0, "lost\n");
    leave_room(RLIM_INFINITY);
    print_text(&fixture, 0, "again\n");
    char *lines = lines_of(&fixture, "api.log");
    const char *told = strstr(lines, "stdout F solo: 1 lines (5 bytes) were dropped since 2");
    cr_assert_not_null(told, "%s", lines);
    cr_assert_not_null(strstr(told, "stdout F again\n"), "%s", lines);
    free(lines);
    fixture_close(&fixture);
}

static uint64_t number_in(struct fixture *fixture, const char *name)
{
    AUTO(fd_close) int fd = openat(fixture->scratch.fd, name, O_RDONLY | O_CLOEXEC);
    return file_number_read(fd);
}

Test(capture, files_are_numbered_without_gaps)
{
    struct fixture fixture;
    fixture_open(&fixture, 200, 3);
    int probe = openat(fixture.scratch.fd, "probe", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    file_number_write(probe, 7);
    bool has_attributes = file_number_read(probe) == 7;
    close(probe);
    for (int i = 0; i < 40; i++)
        print_text(&fixture, 0, "0123456789\n");
    if (has_attributes) {
        cr_assert_eq(number_in(&fixture, "api.log"), 14); /* three lines each */
        cr_assert_eq(number_in(&fixture, "api.log.1"), 13);
        cr_assert_eq(number_in(&fixture, "api.log.2"), 12);
        /* a power cut between moving it away and making it anew */
        cr_assert_eq(unlinkat(fixture.scratch.fd, "api.log", 0), 0);
        print_text(&fixture, 0, "0123456789\n");
        cr_assert_eq(number_in(&fixture, "api.log"), 14);
    }
    fixture_close(&fixture);
}
