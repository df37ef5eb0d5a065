/* One line, written over. */
#include "soloctl/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "common/base/clock.h"

static const uint64_t STEP_NS = 100000000;

void progress_show(struct progress *progress, const char *what, size_t done, size_t total)
{
    uint64_t now_ns = clock_boottime_ns();
    if (total < 2 || now_ns - progress->shown_ns < STEP_NS || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[Ksoloctl: %zu of %zu %s", done, total, what);
    progress->is_shown = true;
    progress->shown_ns = now_ns;
}

void progress_hide(struct progress *progress)
{
    if (progress->is_shown)
        fprintf(stderr, "\r\033[K");
    progress->is_shown = false;
}
