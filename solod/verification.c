/* The check tells its result itself (system.verified), as one that an operator runs does; what is
 * learnt from its end is only that it could not. */
#include "solod/verification.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/wire/writer.h"

enum { EXIT_SIGNAL = 128 };

static void on_ended(void *context, const struct child_exit *exit)
{
    struct verification *verification = context;
    char text[CHILD_EXIT_TEXT_BYTES];
    if (verification->was_told)
        return;
    log_warning("the periodic verification did not say what it found", "how",
                child_exit_text(text, exit));
    const struct system_verified_request result = {
        .exit_code = (uint64_t)(exit->by_signal ? EXIT_SIGNAL + exit->number : exit->number),
    };
    verification_told(verification, &result);
}

static void start(struct verification *verification)
{
    struct daemons *daemons = verification->daemons;
    const struct settings *settings = daemons->settings;
    char path[4096];
    char *arguments[] = { "recoveryd",
                          "verify",
                          "--background",
                          "--data",
                          (char *)settings->data_dir,
                          "--run",
                          (char *)settings->run_dir,
                          NULL };
    const struct child_options options = {
        .program = path,
        .arguments = arguments,
        .name = "recoveryd",
        .listener = -1,
        .key_fd = daemons->instance->key_fd,
        .notify = daemons->notify.address,
        .settings = settings,
    };
    verification->was_told = false;
    if (program_beside(path, "recoveryd") == STATUS_OK) /* a failure was logged there */
        (void)child_start(&verification->child, daemons->loop, &options, on_ended, verification);
}

static void on_due(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct verification *verification = timer->data;
    if (verification->child.pid == 0) /* the last one may take its time */
        start(verification);
}

void verification_begin(struct verification *verification, struct daemons *daemons)
{
    double interval_s = (double)daemons->settings->verify_interval_ms / 1000;
    if (verification->was_begun || interval_s == 0)
        return;
    verification->was_begun = true;
    verification->daemons = daemons;
    ev_timer_init(&verification->timer, on_due, interval_s, interval_s);
    verification->timer.data = verification;
    ev_timer_start(daemons->loop, &verification->timer);
}

void verification_reload(struct verification *verification)
{
    if (!verification->was_begun)
        return;
    struct ev_timer *timer = &verification->timer;
    double interval_s = (double)verification->daemons->settings->verify_interval_ms / 1000;
    if (timer->repeat == interval_s)
        return;
    timer->repeat = interval_s;
    ev_timer_again(verification->daemons->loop, timer); /* which stops it when it is 0 */
}

void verification_told(struct verification *verification,
                       const struct system_verified_request *result)
{
    verification->was_told = true;
    verification->last.wall_ns = clock_wall_ns();
    verification->last.exit_code = result->exit_code;
    verification->last.checked = result->checked;
    verification->last.found = result->found;
    verification->last.took_ms = result->took_ms;
    verification->last.is_full = result->is_full;
}

void verification_close(struct verification *verification)
{
    if (!verification->was_begun)
        return;
    ev_timer_stop(verification->daemons->loop, &verification->timer);
    child_close(&verification->child, verification->daemons->loop);
}

void verification_write(const struct verification *verification, struct buffer *map)
{
    bool is_known = verification->last.wall_ns != 0;
    write_map(map, is_known ? 6 : 0);
    if (!is_known)
        return;
    write_key_u64(map, "at_ns", verification->last.wall_ns);
    write_key_u64(map, "exit_code", verification->last.exit_code);
    write_key_u64(map, "checked", verification->last.checked);
    write_key_u64(map, "found", verification->last.found);
    write_key_u64(map, "took_ms", verification->last.took_ms);
    write_key_bool(map, "full", verification->last.is_full);
}
