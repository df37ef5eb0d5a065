#ifndef SOLO_TESTS_SUPPORT_COMMAND_H
#define SOLO_TESTS_SUPPORT_COMMAND_H

#include <jansson.h>
#include <sys/types.h>

#include "common/base/buffer.h"

/* Running one program to its end, or starting one that stays: posix_spawn, never fork. */

/* What a finished command left. Belongs to the caller: AUTO(result_close) struct result result = {
 * 0 }; */
struct result {
    int exit_code; /* 128 + signal when a signal ended it; -1 when it had to be killed for time */
    struct buffer out, err; /* each ended by a NUL that is not counted */
    long took_ms;
};
void result_close(struct result *result);
const char *result_out(const struct result *result);
const char *result_err(const struct result *result);

/* Standard output as one JSON document; a test that gets something else ends here, with what it
 * got. */
json_t *result_json(const struct result *result);

struct command {
    const char *const *argv;        /* argv[0] is a path */
    const char *const *environment; /* complete, ended by NULL */
    struct span input;              /* what it reads from standard input */
    uid_t uid;             /* run as this user (and group) when we are root and it is not 0 */
    const char *directory; /* to run in; NULL: ours */
    int timeout_ms;        /* 0: 60 seconds */
};

/* Runs and waits. Closes what `result` held before. */
void command_run(const struct command *command, struct result *result);

/* Starts and returns its pid; standard output and error go to the end of the file `log`. */
pid_t command_start(const struct command *command, const char *log);

/* The same with `input` as its standard input and our standard output and error. */
pid_t command_start_with_input(const struct command *command, int input);

/* Its exit code, as in struct result, or -1 when it has not ended within `timeout_ms`. */
int command_wait(pid_t pid, int timeout_ms);

/* Ends the test process with a message: for what a test cannot go on without. */
_Noreturn void test_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
