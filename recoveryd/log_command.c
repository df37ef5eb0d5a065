/* The half that starts the readers. One is enough for a whole log; each event that ends one is
 * passed over by the next. */
#include "recoveryd/log_command.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "recoveryd/log_reader.h"

extern char **environ;

static enum status share(int *fd, struct log_progress **progress)
{
    *fd = memfd_create("solo-log-progress", MFD_CLOEXEC);
    if (*fd < 0 || ftruncate(*fd, sizeof **progress) < 0)
        return log_failure(status_from_errno(errno), "make shared memory", "reason",
                           strerror(errno));
    void *memory = mmap(NULL, sizeof **progress, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (memory == MAP_FAILED)
        return log_failure(status_from_errno(errno), "map shared memory", "reason",
                           strerror(errno));
    *progress = memory;
    return STATUS_OK;
}

/* argv once more, with LOG_READER_ARGUMENT in front. */
static enum status start_reader(int argc, char **argv, int progress_fd, pid_t *pid)
{
    char **arguments = calloc((size_t)argc + 2, sizeof *arguments);
    if (arguments == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    arguments[0] = argv[0];
    arguments[1] = (char *)(uintptr_t)LOG_READER_ARGUMENT;
    memcpy(arguments + 2, argv + 1, ((size_t)argc - 1) * sizeof *arguments);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, progress_fd, STDIN_FILENO);
    int error = posix_spawn(pid, "/proc/self/exe", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    free(arguments);
    return error == 0 ? STATUS_OK
                      : log_failure(status_from_errno(error), "start the reader of the log",
                                    "reason", strerror(error));
}

static enum status wait_for(pid_t pid, int *result)
{
    while (waitpid(pid, result, 0) < 0)
        if (errno != EINTR)
            return log_failure(STATUS_INTERNAL, "wait for the reader of the log", "reason",
                               strerror(errno));
    return STATUS_OK;
}

/* OK: another reader may go on. */
static enum status judge_signal(struct log_progress *progress, int number)
{
    switch (number) {
    case SIGPIPE: /* who read our output has had enough */
        return STATUS_CANCELLED;
    case SIGKILL:
    case SIGTERM:
    case SIGINT:
    case SIGHUP:
    case SIGQUIT: /* somebody ended it: that says nothing about the store */
        return log_failure(STATUS_UNAVAILABLE, "read the log", "reason", "the reader was killed",
                           "signal", strsignal(number));
    default:
        break;
    }
    if (progress->reading == 0) {
        fprintf(stderr, "recoveryd: the event store cannot be opened, it is damaged: %s\n",
                strsignal(number));
        return STATUS_DATA_LOSS;
    }
    if (progress->crash_count == LOG_CRASHES_MAX) {
        fprintf(stderr,
                "recoveryd: events from %" PRIu64 " on were not read: %d of them have ended the "
                "reader already\n",
                progress->position.next, LOG_CRASHES_MAX);
        return STATUS_DATA_LOSS;
    }
    progress->crashes[progress->crash_count].event = progress->reading;
    progress->crashes[progress->crash_count++].signal_number = number;
    progress->reading = 0;
    return STATUS_OK;
}

static enum status read_log(int argc, char **argv, const struct options *options, int *code)
{
    AUTO(fd_close) int fd = -1;
    struct log_progress *progress = NULL;
    TRY(share(&fd, &progress));
    progress->position = (struct log_position){
        .next = options->after + 1,
        .left = options->has_count ? options->count : UINT64_MAX,
    };
    for (;;) {
        pid_t pid;
        int result;
        TRY(start_reader(argc, argv, fd, &pid));
        TRY(wait_for(pid, &result));
        if (WIFEXITED(result)) {
            *code = WEXITSTATUS(result);
            return STATUS_OK;
        }
        TRY(judge_signal(progress, WTERMSIG(result)));
    }
}

int log_command(int argc, char **argv, const struct options *options)
{
    int code = 0;
    if (options->after == UINT64_MAX)
        return 0;
    enum status status = read_log(argc, argv, options, &code);
    return status == STATUS_OK ? code : status_exit_code(status);
}
