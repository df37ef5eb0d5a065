#include "solod/child.h"

#include <signal.h>

#include "tests/support/criterion.h"

TestSuite(solod_child, .timeout = 60);

static void on_term(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
    cr_assert_fail("the signal was for the child");
}

static void on_ended(void *context, const struct child_exit *exit)
{
    *(struct child_exit *)context = *exit;
}

Test(solod_child, hears_a_signal_that_comes_before_its_program_runs)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
    struct ev_signal watcher;
    ev_signal_init(&watcher, on_term, SIGTERM);
    ev_signal_start(loop, &watcher);
    char *arguments[] = { "sleep", "50", NULL };
    const struct child_options options = {
        .program = "/bin/sleep",
        .arguments = arguments,
        .name = "sleep",
        .listener = -1,
        .key_fd = -1,
    };
    for (int i = 0; i < 20; i++) {
        struct child child = { .pidfd = -1 };
        struct child_exit end = { 0 };
        cr_assert_eq(child_start(&child, loop, &options, on_ended, &end), STATUS_OK);
        child_signal(&child, SIGTERM);
        while (child.pid != 0)
            ev_run(loop, EVRUN_ONCE);
        cr_assert(end.by_signal);
        cr_assert_eq(end.number, SIGTERM);
    }
    ev_signal_stop(loop, &watcher);
    ev_loop_destroy(loop);
}
