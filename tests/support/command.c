/* posix_spawn with pipes, a deadline and an exit code. Another user is reached through setpriv(1),
 * which becomes the program, so that the pid stays. */
#include "tests/support/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "tests/support/process.h"

enum { OUTPUT_BYTES_MAX = 256 * 1024 * 1024, ARGUMENTS_MAX = 512 };

_Noreturn void test_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("test cannot go on: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    fflush(NULL);
    abort();
}

void result_close(struct result *result)
{
    buffer_close(&result->out);
    buffer_close(&result->err);
}

static const char *text_of(const struct buffer *buffer)
{
    return buffer->data == NULL ? "" : (const char *)buffer->data;
}

const char *result_out(const struct result *result)
{
    return text_of(&result->out);
}

const char *result_err(const struct result *result)
{
    return text_of(&result->err);
}

json_t *result_json(const struct result *result)
{
    json_error_t error;
    json_t *value = json_loads(result_out(result), JSON_REJECT_DUPLICATES, &error);
    if (value == NULL)
        test_fail("not one JSON document (%s, line %d): \"%s\"; exit code %d, stderr: %s",
                  error.text, error.line, result_out(result), result->exit_code,
                  result_err(result));
    return value;
}

struct outlets {
    int in, out, err;
};

static pid_t spawn(const struct command *command, const struct outlets *outlets)
{
    const char *argv[ARGUMENTS_MAX];
    size_t count = 0;
    char reuid[32], regid[32];
    if (command->uid != 0 && geteuid() == 0) {
        snprintf(reuid, sizeof reuid, "--reuid=%u", command->uid);
        snprintf(regid, sizeof regid, "--regid=%u", command->uid);
        argv[count++] = "/usr/bin/setpriv";
        argv[count++] = reuid;
        argv[count++] = regid;
        argv[count++] = "--clear-groups";
    }
    for (size_t i = 0; command->argv[i] != NULL; i++) {
        if (count == ARGUMENTS_MAX - 1)
            test_fail("too many arguments");
        argv[count++] = command->argv[i];
    }
    argv[count] = NULL;

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, standard;
    sigemptyset(&none);
    sigfillset(&standard);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, outlets->in, 0);
    posix_spawn_file_actions_adddup2(&actions, outlets->out, 1);
    posix_spawn_file_actions_adddup2(&actions, outlets->err, 2);
    if (command->directory != NULL)
        posix_spawn_file_actions_addchdir_np(&actions, command->directory);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &standard);
    pid_t pid;
    int rc = posix_spawn(&pid, argv[0], &actions, &attributes, (char *const *)argv,
                         (char *const *)command->environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0)
        test_fail("cannot start %s: %s", argv[0], strerror(rc));
    return pid;
}

pid_t command_start(const struct command *command, const char *log)
{
    AUTO(fd_close) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    AUTO(fd_close) int out = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (null < 0 || out < 0)
        test_fail("cannot open %s: %s", log, strerror(errno));
    return spawn(command, &(struct outlets){ null, out, out });
}

pid_t command_start_with_input(const struct command *command, int input)
{
    return spawn(command, &(struct outlets){ input, STDOUT_FILENO, STDERR_FILENO });
}

int command_wait(pid_t pid, int timeout_ms)
{
    if (!process_wait_gone(pid, timeout_ms))
        return -1;
    int status;
    pid_t got;
    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    if (got != pid)
        test_fail("waitpid %d: %s", pid, strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Moves what there is; closes the pipe at its end. */
static void take_output(int *fd, struct buffer *buffer)
{
    uint8_t *room = buffer_reserve(buffer, 65536);
    if (room == NULL)
        test_fail("a command printed more than %d bytes", OUTPUT_BYTES_MAX);
    ssize_t size = read(*fd, room, 65535);
    if (size > 0)
        buffer->size += (size_t)size;
    else if (size == 0 || (errno != EINTR && errno != EAGAIN))
        fd_close(fd);
    room[size > 0 ? size : 0] = '\0';
}

static void give_input(int *fd, struct span *input)
{
    ssize_t size = input->size == 0 ? 0 : write(*fd, input->data, input->size);
    if (size > 0)
        *input = span_of(input->data + size, input->size - (size_t)size);
    if (input->size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
        fd_close(fd);
}

void command_run(const struct command *command, struct result *result)
{
    result_close(result);
    *result = (struct result){ .out = { .limit = OUTPUT_BYTES_MAX },
                               .err = { .limit = OUTPUT_BYTES_MAX } };
    int in[2], out[2], err[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        test_fail("pipe: %s", strerror(errno));
    uint64_t begin = clock_boottime_ns();
    pid_t pid = spawn(command, &(struct outlets){ in[0], out[1], err[1] });
    close(in[0]);
    close(out[1]);
    close(err[1]);
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    struct span input = command->input;
    if (input.size == 0)
        fd_close(&in[1]);
    /* A command that closes its input early must not end the test. */
    signal(SIGPIPE, SIG_IGN);
    int64_t timeout_ms = command->timeout_ms == 0 ? 60000 : command->timeout_ms;
    bool is_late = false;
    while (!is_late && (out[0] >= 0 || err[0] >= 0)) {
        int64_t left = timeout_ms - (int64_t)((clock_boottime_ns() - begin) / 1000000);
        struct pollfd waits[] = { { .fd = out[0], .events = POLLIN },
                                  { .fd = err[0], .events = POLLIN },
                                  { .fd = in[1], .events = POLLOUT } };
        int ready = left <= 0 ? 0 : poll(waits, COUNT_OF(waits), (int)left);
        is_late = ready == 0;
        if (ready <= 0)
            continue;
        if (waits[0].revents != 0)
            take_output(&out[0], &result->out);
        if (waits[1].revents != 0)
            take_output(&err[0], &result->err);
        if (waits[2].revents != 0)
            give_input(&in[1], &input);
    }
    int64_t left = timeout_ms - (int64_t)((clock_boottime_ns() - begin) / 1000000);
    result->exit_code = command_wait(pid, left > 0 ? (int)left : 0);
    if (result->exit_code < 0) {
        process_signal(pid, SIGKILL);
        command_wait(pid, -1);
        result->exit_code = -1;
    }
    fd_close(&in[1]);
    fd_close(&out[0]);
    fd_close(&err[0]);
    result->took_ms = (long)((clock_boottime_ns() - begin) / 1000000);
}
