/* How much a service may print: the bucket under a clock of its own, what is dropped and how that
 * is told, and that one who prints without end takes nothing from the others. */
#include "tenantd/log_rate.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "tenantd/capture.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/scratch.h"

static const uint64_t SECOND = 1000000000;

Test(log_rate, a_bucket_is_full_at_first_and_fills_by_the_clock)
{
    struct log_rate rate;
    log_rate_init(&rate, &(struct log_rate_settings){ 100, 1000 }, 5 * SECOND);
    cr_assert(log_rate_take(&rate, 1000));
    cr_assert_not(log_rate_take(&rate, 1));
    log_rate_fill(&rate, 5 * SECOND + SECOND / 2);
    cr_assert_not(log_rate_take(&rate, 51));
    cr_assert_not(log_rate_is_open(&rate));
    cr_assert(log_rate_take(&rate, 50));
    log_rate_fill(&rate, 6 * SECOND + SECOND / 2);
    cr_assert(log_rate_is_open(&rate));
    log_rate_fill(&rate, 1000 * SECOND);
    cr_assert(log_rate_take(&rate, 1000));
    cr_assert_not(log_rate_take(&rate, 1));
}

/* Many short steps must not round the rate away, and a clock that stands gives nothing. */
Test(log_rate, short_steps_add_up)
{
    struct log_rate rate;
    log_rate_init(&rate, &(struct log_rate_settings){ 10, 100 }, 0);
    cr_assert(log_rate_take(&rate, 100));
    for (uint64_t now = 0; now <= SECOND; now += SECOND / 1000)
        log_rate_fill(&rate, now);
    log_rate_fill(&rate, SECOND);
    log_rate_fill(&rate, SECOND / 2);
    cr_assert(log_rate_take(&rate, 10));
    cr_assert_not(log_rate_take(&rate, 1));
}

Test(log_rate, zero_is_no_bound)
{
    struct log_rate rate;
    log_rate_init(&rate, &(struct log_rate_settings){ 0, 0 }, 0);
    cr_assert(log_rate_take(&rate, UINT64_MAX));
    cr_assert(log_rate_take(&rate, UINT64_MAX));
}

struct fixture {
    struct scratch scratch;
    struct folder folder;
    struct ev_loop *loop;
    struct capture_hub hub;
    struct capture loud, quiet;
    int loud_ends[2], quiet_ends[2];
};

static void one_open(struct fixture *fixture, struct capture *capture, const char *name,
                     int ends[2])
{
    const struct log_settings settings = { 1 << 30, 2 };
    capture_init(capture, &fixture->hub, name);
    cr_assert_eq(capture_open(capture, &settings, ends), STATUS_OK);
    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
}

static void fixture_open(struct fixture *fixture, uint64_t bytes_per_s, uint64_t burst_bytes)
{
    memset(fixture, 0, sizeof *fixture);
    scratch_open(&fixture->scratch);
    fixture->loop = ev_loop_new(EVFLAG_NOENV);
    fixture->folder = (struct folder){ .fd = fixture->scratch.fd, .top = -1 };
    capture_hub_open(&fixture->hub, fixture->loop, &fixture->folder);
    fixture->hub.rate = (struct log_rate_settings){ bytes_per_s, burst_bytes };
    one_open(fixture, &fixture->loud, "loud", fixture->loud_ends);
    one_open(fixture, &fixture->quiet, "quiet", fixture->quiet_ends);
}

static void fixture_close(struct fixture *fixture)
{
    for (int i = 0; i < 2; i++) {
        close(fixture->loud_ends[i]);
        close(fixture->quiet_ends[i]);
    }
    capture_free(&fixture->loud);
    capture_free(&fixture->quiet);
    capture_hub_close(&fixture->hub);
    ev_loop_destroy(fixture->loop);
    scratch_close(&fixture->scratch);
}

static void print(struct fixture *fixture, int stream, const char *text)
{
    size_t size = strlen(text);
    cr_assert_eq(write(fixture->loud_ends[stream], text, size), (ssize_t)size);
    ev_run(fixture->loop, EVRUN_NOWAIT);
}

struct tally {
    uint64_t kept, told_lines, told_bytes, notes, pieces;
};

/* Lines of a stream, and what its notes say of those that are missing. */
static struct tally tally(struct fixture *fixture, const char *stream)
{
    struct tally found = { 0 };
    AUTO(scratch_free) char *text = scratch_read(&fixture->scratch, "loud.log");
    for (char *line = text, *end; line != NULL && (end = strchr(line, '\n')) != NULL;
         line = end + 1) {
        uint64_t lines, bytes;
        if (strncmp(line + 31, stream, 6) != 0)
            continue;
        if (sscanf(line + 40, "solo: %" SCNu64 " lines (%" SCNu64 " bytes) were dropped since",
                   &lines, &bytes) == 2) {
            found.notes++;
            found.told_lines += lines;
            found.told_bytes += bytes;
        } else if (line[38] == 'P') {
            found.pieces++;
        } else {
            found.kept++;
        }
    }
    return found;
}

Test(log_rate, what_is_dropped_is_counted_and_told)
{
    struct fixture fixture;
    fixture_open(&fixture, 1000, 2000);
    for (int i = 0; i < 100; i++)
        print(&fixture, 0, "0123456789012345678\n");
    print(&fixture, 1, "wrong\n");
    cr_assert_eq(tally(&fixture, "stdout").notes, 0);
    capture_close(&fixture.loud);
    struct tally out = tally(&fixture, "stdout"), err = tally(&fixture, "stderr");
    cr_assert_eq(out.notes, 1);
    cr_assert_geq(out.kept, 2000 / 60);
    cr_assert_eq(out.kept + out.told_lines, 100);
    cr_assert_eq(out.told_bytes, 20 * out.told_lines);
    cr_assert_eq(err.kept + err.told_lines, 1);
    fixture_close(&fixture);
}

/* Without being asked, although the service has fallen silent. */
Test(log_rate, it_is_told_when_the_rate_allows_lines_again)
{
    struct fixture fixture;
    fixture_open(&fixture, 1000, 1000); /* a second later */
    for (int i = 0; i < 100; i++)
        print(&fixture, 0, "0123456789012345678\n");
    uint64_t deadline = clock_boottime_ns() + 60 * SECOND;
    while (tally(&fixture, "stdout").notes == 0 && clock_boottime_ns() < deadline)
        ev_run(fixture.loop, EVRUN_ONCE);
    struct tally found = tally(&fixture, "stdout");
    cr_assert_eq(found.notes, 1);
    cr_assert_eq(found.kept + found.told_lines, 100);
    print(&fixture, 0, "and on\n");
    cr_assert_eq(tally(&fixture, "stdout").kept, found.kept + 1);
    fixture_close(&fixture);
}

/* The rest of a line that was dropped must not look like a line, nor like the end of another. */
Test(log_rate, a_line_is_dropped_as_a_whole)
{
    struct fixture fixture;
    fixture_open(&fixture, 1000, LOG_LINE_BYTES_MAX + 1000);
    enum { LONG = 3 * LOG_LINE_BYTES_MAX };
    char *text = malloc(LONG + 2);
    memset(text, 'x', LONG);
    strcpy(text + LONG, "\n");
    fcntl(fixture.loud_ends[0], F_SETFL, 0);
    for (size_t at = 0; at < LONG; at += LOG_LINE_BYTES_MAX) {
        cr_assert_eq(write(fixture.loud_ends[0], text + at, LOG_LINE_BYTES_MAX),
                     LOG_LINE_BYTES_MAX);
        ev_run(fixture.loop, EVRUN_NOWAIT);
    }
    print(&fixture, 0, "\n");
    capture_close(&fixture.loud);
    struct tally found = tally(&fixture, "stdout");
    cr_assert_eq(found.pieces, 1);
    cr_assert_eq(found.kept, 1, "the piece that was written is ended");
    cr_assert_eq(found.notes, 1);
    cr_assert_eq(found.told_bytes, 2 * LOG_LINE_BYTES_MAX + 1);
    cr_assert_eq(found.told_lines, 1);
    free(text);
    fixture_close(&fixture);
}

Test(log_rate, one_who_prints_without_end_starves_nobody)
{
    struct fixture fixture;
    fixture_open(&fixture, 1 << 20, 1 << 20);
    static char lines[CAPTURE_PIPE_BYTES];
    for (size_t i = 0; i < sizeof lines; i++)
        lines[i] = i % 2 == 0 ? 'y' : '\n';
    for (int turn = 0; turn < 200; turn++) {
        while (write(fixture.loud_ends[0], lines, sizeof lines) > 0)
            ; /* its pipe is always full */
        uint32_t before = fixture.loud.bytes_this_tick;
        cr_assert_eq(write(fixture.quiet_ends[0], "here\n", 5), 5);
        ev_run(fixture.loop, EVRUN_NOWAIT);
        /* In the very same turn, and the loud one had one read of it. */
        char left;
        cr_assert_eq(read(fixture.quiet.streams[0].on_readable.fd, &left, 1), -1);
        uint32_t after = fixture.loud.bytes_this_tick;
        cr_assert((after < before ? after : after - before) <= CAPTURE_READ_BYTES);
    }
    AUTO(scratch_free) char *text = scratch_read(&fixture.scratch, "quiet.log");
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, "stdout F here\n")) != NULL; at++)
        count++;
    cr_assert_eq(count, 200);
    fixture_close(&fixture);
}
