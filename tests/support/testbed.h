#ifndef SOLO_TESTS_SUPPORT_TESTBED_H
#define SOLO_TESTS_SUPPORT_TESTBED_H

#include <jansson.h>
#include <sys/types.h>

#include "common/base/auto.h"
#include "common/base/problem.h"
#include "tests/support/caller.h"
#include "tests/support/command.h"

/* A Solo of its own in a scratch folder, made of the real programs. Everything that belongs to it
 * carries the folder in its command line or environment: that is how it is found and ended, by pid
 * only. What cannot be set up ends the test process with a message; the guard then cleans up. */
enum testbed_flag {
    /* As root: run everything as uid and gid 65534. Otherwise nothing changes. */
    TESTBED_AS_USER = 1 << 0,
};

enum { TESTBED_VARIABLES_MAX = 384 };

struct testbed {
    char dir[256];      /* TMPDIR/solo-test-XXXXXX */
    char data[288];     /* DIR/data */
    char run[288];      /* DIR/run */
    char programs[288]; /* copies of tests/support/programs, executable by everybody */
    char bin[4096];     /* where solod and the others are; SOLO_BIN_DIR overrides */
    char log[288];      /* what solod and the daemons said */
    uid_t uid;          /* 0: ours */
    pid_t solod;        /* 0 when it was not started, or has been waited for */
    pid_t guard;
    int guard_input;
    char *variables[TESTBED_VARIABLES_MAX];
    size_t variable_count;
};

void testbed_open(struct testbed *bed, unsigned flags);
/* Stops what runs (which must end with exit code 0), then fails the test when a process is left or
 * a program complained (sanitizers, assertions), and removes the folder. Safe on a zeroed one. */
void testbed_close(struct testbed *bed);
/* Ends and removes everything without judging: for benchmarks, and after a test that broke things
 * on purpose. */
void testbed_discard(struct testbed *bed);

/* For everything started from now on. */
void testbed_set(struct testbed *bed, const char *name, const char *value);

/* Starts solod without waiting; more arguments may follow, ended by NULL. */
void testbed_launch(struct testbed *bed, ...) __attribute__((sentinel));
/* Waits for system.wait to answer; false when time is up or solod has ended. */
bool testbed_wait_ready(struct testbed *bed, int timeout_ms);
/* Both; a test that cannot start Solo ends here, with its log. */
void testbed_start(struct testbed *bed);
/* SIGTERM to solod; its exit code, with solod's log on stderr unless that is 0. */
int testbed_stop(struct testbed *bed);
/* kill -9 of solod, which takes its daemons along: returns when they are gone. Supervisors and
 * services live on. */
void testbed_kill_solod(struct testbed *bed);
/* kill -9 of solod, daemons, supervisors and services; returns when all are gone. */
void testbed_kill_everything(struct testbed *bed);

/* The pid of a daemon that solod started ("eventd", "deployd"). One that is being restarted is
 * waited for, up to 10 s; then 0: it does not run. */
pid_t testbed_daemon(struct testbed *bed, const char *name);
/* Returns when solod has seen that `old` is gone, of whom it speaks until then: the next one's pid.
 */
pid_t testbed_await_new_daemon(struct testbed *bed, const char *name, pid_t old);
/* A tenant's supervisor, 0 for none. */
pid_t testbed_supervisor(struct testbed *bed, const char *tenant);
/* Returns when deployd has seen that `old` is gone, whose services are said to run until then: the
 * next supervisor's pid. */
pid_t testbed_await_new_supervisor(struct testbed *bed, const char *tenant, pid_t old);
/* Every process of this Solo, the guard excluded. */
size_t testbed_processes(const struct testbed *bed, pid_t *pids, size_t count_max);
/* Whether there is none any more. The helper by which LeakSanitizer looks at a process dies with
 * that one, a moment after it: it is given the moment. */
bool testbed_is_empty(const struct testbed *bed);

/* "RUN/NAME.sock" */
char *testbed_socket(const struct testbed *bed, const char *name, char path[4096]);
/* A program for a spec's argv: "DIR/programs/NAME". */
char *testbed_program(const struct testbed *bed, const char *name, char path[4096]);

/* One call on a connection of its own, as the operator. `params` is stolen. See caller_call. */
enum status testbed_call(const struct testbed *bed, const char *daemon, const char *method,
                         json_t *params, json_t **result, struct problem *problem);
/* The same when it must succeed: returns the answer, which the caller owns. */
json_t *testbed_ask(const struct testbed *bed, const char *daemon, const char *method,
                    json_t *params);

/* Runs a program with these arguments, ended by NULL. soloctl gets --run first, recoveryd --data
 * and
 * --run last. */
void testbed_soloctl(const struct testbed *bed, struct result *result, ...)
    __attribute__((sentinel));
void testbed_soloctl_input(const struct testbed *bed, struct result *result, const char *input, ...)
    __attribute__((sentinel));
void testbed_recoveryd(const struct testbed *bed, struct result *result, ...)
    __attribute__((sentinel));
/* The environment of everything that is started, ended by NULL. */
const char *const *testbed_environment(const struct testbed *bed);

/* The end of what the programs have logged, to standard error. */
void testbed_show_log(const struct testbed *bed);
/* How often `text` stands in what the programs have logged so far. */
size_t testbed_log_count(const struct testbed *bed, const char *text);

#endif
