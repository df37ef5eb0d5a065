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
    char text[128];
    snprintf(text, sizeof text, "%zu of %zu %s", done, total, what);
    progress_say(progress, text);
    progress->shown_ns = now_ns;
}

void progress_say(struct progress *progress, const char *text)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[Ksoloctl: %s", text);
    progress->is_shown = true;
}

void progress_hide(struct progress *progress)
{
    if (progress->is_shown)
        fprintf(stderr, "\r\033[K");
    progress->is_shown = false;
}
