/* recoveryd is a child like the daemons, but it ends by itself, and whatever its exit code is, Solo
 * becomes ready: a service that cannot start must not keep the others from being managed. One that
 * a signal ended has not told what is left, so it is run again, which takes up where it stopped. */
#include "solod/recovery.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"

enum { EXIT_NOT_STARTED = 127, EXIT_SIGNAL = 128, RUNS_MAX = 3 };

static void start(struct recovery *recovery);

static void on_ended(void *context, const struct child_exit *exit)
{
    struct recovery *recovery = context;
    char text[CHILD_EXIT_TEXT_BYTES];
    int exit_code = exit->by_signal ? EXIT_SIGNAL + exit->number : exit->number;
    log_write(exit_code == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "recovery ended", "how",
              child_exit_text(text, exit), "took_ms",
              NUMBER((clock_boottime_ns() - recovery->began_ns) / 1000000), (const char *)0);
    if (exit->by_signal && recovery->run_count < RUNS_MAX && !recovery->is_stopping) {
        start(recovery);
    } else {
        recovery->has_ended = true;
        recovery->exit_code = exit_code;
        if (exit->by_signal) /* how far it was is no last word */
            recovery->status[0] = '\0';
    }
    recovery->changed(recovery->context);
}

static void start(struct recovery *recovery)
{
    const struct settings *settings = recovery->daemons->settings;
    char path[4096];
    char *arguments[] = { "recoveryd",
                          "--data",
                          (char *)settings->data_dir,
                          "--run",
                          (char *)settings->run_dir,
                          "--progress",
                          "plain",
                          NULL };
    const struct child_options options = {
        .program = path,
        .arguments = arguments,
        .name = "recoveryd",
        .listener = -1,
        .key_fd =
            recovery->daemons->instance->key_fd, /* with operator = token its uid gives no rights */
        .notify = recovery->daemons->notify.address,
        .settings = settings,
    };
    recovery->run_count++;
    recovery->status[0] = '\0';
    recovery->began_ns = clock_boottime_ns();
    if (program_beside(path, "recoveryd") != STATUS_OK ||
        child_start(&recovery->child, recovery->daemons->loop, &options, on_ended, recovery) !=
            STATUS_OK) {
        recovery->has_ended = true;
        recovery->exit_code = EXIT_NOT_STARTED;
    }
}

void recovery_begin(struct recovery *recovery, struct daemons *daemons,
                    void (*changed)(void *context), void *context)
{
    recovery->was_begun = true;
    recovery->exit_code = -1;
    recovery->changed = changed;
    recovery->context = context;
    recovery->daemons = daemons;
    if (daemons->settings->recovery_enabled) {
        start(recovery);
        return;
    }
    log_info("recovery is switched off; nothing is started");
    recovery->has_ended = true;
}

void recovery_stop(struct recovery *recovery)
{
    recovery->is_stopping = true;
    child_signal(&recovery->child, SIGTERM);
}

void recovery_close(struct recovery *recovery)
{
    if (recovery->daemons != NULL)
        child_close(&recovery->child, recovery->daemons->loop);
}
