#ifndef SOLO_SOLOD_CHILD_H
#define SOLO_SOLOD_CHILD_H

#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/daemon/settings.h"

/* One program of ours as a child process, from its start until it has been reaped. */
struct child_options {
    const char *program;             /* path */
    char *const *arguments;          /* argv, ended by NULL */
    const char *name;                /* of its listener */
    int listener;                    /* passed as LISTEN_FDS; -1: none */
    int key_fd;                      /* passed as SOLO_KEY_FD; -1: none */
    const char *notify;              /* NOTIFY_SOCKET */
    const struct settings *settings; /* exported */
};

struct child_exit {
    bool by_signal;
    int number; /* exit code or signal */
};

struct child {
    pid_t pid; /* 0: none */
    int pidfd;
    bool is_given_up; /* not even SIGKILL has ended it */
    struct ev_io on_exit;
    void (*ended)(void *context, const struct child_exit *exit);
    void *context;
};

/* Forks and executes; the child leads a session of its own and dies with us. `ended` runs from the
 * loop, once, after it was reaped; also when the program could not be executed (exit code 127). */
enum status child_start(struct child *child, struct ev_loop *loop,
                        const struct child_options *options,
                        void (*ended)(void *context, const struct child_exit *exit), void *context);

/* Nothing happens when it does not run. */
void child_signal(const struct child *child, int signal_number);

/* Says that it cannot be ended, and how the kernel describes it: a process that waits for a device
 * or a file server hears nothing. Nobody waits for it from now on. */
void child_give_up(struct child *child, const char *name);

/* For the end of solod: kills it and waits, but not for ever. */
void child_close(struct child *child, struct ev_loop *loop);

/* "exit code 3", "signal 9 (Killed)". */
enum { CHILD_EXIT_TEXT_BYTES = 64 };
char *child_exit_text(char text[CHILD_EXIT_TEXT_BYTES], const struct child_exit *exit);

#endif
