/* A bar written by hand: a carriage return puts the next one over the last. */
#include "recoveryd/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/daemon/parent.h"

enum { BAR_CELLS = 30, LINE_BYTES = 96 };
static const uint64_t bar_pause_ns = 50 * 1000000ull, line_pause_ns = 1000 * 1000000ull;

void progress_open(struct progress *progress, enum progress_kind kind, uint64_t total)
{
    *progress = (struct progress){
        .kind = kind,
        .is_bar = kind == PROGRESS_AUTO && isatty(STDERR_FILENO),
        .total = total,
        .told_ns = clock_boottime_ns(),
    };
    parent_progress("recovering: 0/%" PRIu64 " services", total);
}

char *progress_bar(char *text, size_t size, uint64_t done, uint64_t total)
{
    char cells[BAR_CELLS + 1];
    size_t full = total == 0 ? BAR_CELLS : (size_t)(done * BAR_CELLS / total);
    memset(cells, '#', full);
    memset(cells + full, '.', BAR_CELLS - full);
    cells[BAR_CELLS] = '\0';
    snprintf(text, size, "[%s]  %" PRIu64 "/%" PRIu64, cells, done, total);
    return text;
}

void progress_show(struct progress *progress, uint64_t done, uint64_t failed)
{
    uint64_t now = clock_boottime_ns();
    uint64_t pause = progress->is_bar ? bar_pause_ns : line_pause_ns;
    if (done == progress->told_done || (now - progress->told_ns < pause && done < progress->total))
        return;
    bool is_quick = !progress->is_bar && now - progress->told_ns < pause;
    progress->told_ns = now;
    progress->told_done = done;
    parent_progress("recovering: %" PRIu64 "/%" PRIu64 " services", done, progress->total);
    /* A recovery of less than a second needs no line: the report follows. */
    if (progress->kind == PROGRESS_NONE || is_quick)
        return;
    char line[LINE_BYTES], bar[LINE_BYTES];
    if (progress->is_bar) {
        snprintf(line, sizeof line, "\r%s%s", progress_bar(bar, sizeof bar, done, progress->total),
                 failed > 0 ? "  (some failed)" : "");
        progress->is_begun = true;
    } else {
        snprintf(line, sizeof line,
                 "recoveryd: %" PRIu64 " of %" PRIu64 " done, %" PRIu64 " failed\n", done,
                 progress->total, failed);
    }
    fputs(line, stderr);
    fflush(stderr);
}

void progress_close(struct progress *progress)
{
    if (progress->is_begun)
        fputs("\r\x1b[K", stderr);
    progress->is_begun = false;
}
