/* `eventd --close-log`, with the store to itself: the other one has ended. */
#include "solod/log_closer.h"

#include <stddef.h>

#include "common/base/log.h"
#include "common/base/run_folder.h"

static void on_ended(void *context, const struct child_exit *exit)
{
    struct log_closer *closer = context;
    char text[CHILD_EXIT_TEXT_BYTES];
    bool is_closed = !exit->by_signal && exit->number == 0;
    log_write(is_closed ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "another eventd was to close the log",
              "how", child_exit_text(text, exit), (const char *)0);
    closer->done(closer->context);
}

enum status log_closer_start(struct log_closer *closer, struct daemons *daemons, const char *killed,
                             void (*done)(void *context), void *context)
{
    const struct settings *settings = daemons->settings;
    char path[4096];
    char *arguments[] = { "eventd",
                          "--close-log",
                          (char *)killed,
                          "--data",
                          (char *)settings->data_dir,
                          "--run",
                          (char *)settings->run_dir,
                          NULL };
    const struct child_options options = {
        .program = path,
        .arguments = arguments,
        .name = "eventd",
        .listener = -1,
        .key_fd = -1,
        .settings = settings,
    };
    closer->daemons = daemons;
    closer->done = done;
    closer->context = context;
    TRY(run_id_forget(settings->run_dir)); /* by which it sees that the run is over */
    TRY(instance_check_data(daemons->instance, settings->data_dir));
    TRY(program_beside(path, "eventd"));
    return child_start(&closer->child, daemons->loop, &options, on_ended, closer);
}

void log_closer_close(struct log_closer *closer)
{
    if (closer->daemons != NULL && closer->daemons->loop != NULL)
        child_close(&closer->child, closer->daemons->loop);
}
