/* recoveryd is a child like the daemons, but it ends by itself, and whatever its exit code is, Solo
 * becomes ready: a service that cannot start must not keep the others from being managed. */
#include "solod/recovery.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"

enum { EXIT_NOT_STARTED = 127, EXIT_SIGNAL = 128 };

static void on_ended(void *context, const struct child_exit *exit)
{
    struct recovery *recovery = context;
    char text[CHILD_EXIT_TEXT_BYTES];
    recovery->has_ended = true;
    recovery->exit_code = exit->by_signal ? EXIT_SIGNAL + exit->number : exit->number;
    log_write(recovery->exit_code == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "recovery ended", "how",
              child_exit_text(text, exit), "took_ms",
              NUMBER((clock_boottime_ns() - recovery->began_ns) / 1000000), (const char *)0);
    recovery->changed(recovery->context);
}

void recovery_begin(struct recovery *recovery, struct daemons *daemons,
                    void (*changed)(void *context), void *context)
{
    recovery->was_begun = true;
    recovery->exit_code = -1;
    recovery->began_ns = clock_boottime_ns();
    recovery->changed = changed;
    recovery->context = context;
    recovery->loop = daemons->loop;
    if (!daemons->settings->recovery_enabled) {
        log_info("recovery is switched off; nothing is started");
        recovery->has_ended = true;
        return;
    }
    char path[4096];
    char *arguments[] = { "recoveryd",
                          "--data",
                          (char *)daemons->settings->data_dir,
                          "--run",
                          (char *)daemons->settings->run_dir,
                          "--progress",
                          "plain",
                          NULL };
    const struct child_options options = {
        .program = path,
        .arguments = arguments,
        .name = "recoveryd",
        .listener = -1,
        .key_fd = -1, /* it is an operator, not a daemon */
        .notify = daemons->notify.address,
    };
    if (program_beside(path, "recoveryd") != STATUS_OK ||
        child_start(&recovery->child, recovery->loop, &options, on_ended, recovery) != STATUS_OK) {
        recovery->has_ended = true;
        recovery->exit_code = EXIT_NOT_STARTED;
    }
}

void recovery_stop(struct recovery *recovery)
{
    child_signal(&recovery->child, SIGTERM);
}

void recovery_kill(struct recovery *recovery)
{
    child_signal(&recovery->child, SIGKILL);
}

void recovery_close(struct recovery *recovery)
{
    if (recovery->loop != NULL)
        child_close(&recovery->child, recovery->loop);
}
