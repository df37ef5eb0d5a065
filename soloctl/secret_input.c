/* Read with read(2), straight into the place where it is wiped. */
#include "soloctl/secret_input.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"

static enum status read_all(int fd, const char *name, struct secret_input *input,
                            struct problem *problem)
{
    input->size = 0;
    while (input->size < sizeof input->bytes) {
        ssize_t got = read(fd, input->bytes + input->size, sizeof input->bytes - input->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "%s: %s", name,
                               strerror(errno));
        if (got == 0)
            return STATUS_OK;
        input->size += (size_t)got;
        if (isatty(fd) && input->bytes[input->size - 1] == '\n')
            return STATUS_OK;
    }
    return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "%s: must be at most %d bytes", name,
                       SECRET_VALUE_BYTES_MAX);
}

static void cut_line_end(struct secret_input *input)
{
    while (input->size > 0 &&
           (input->bytes[input->size - 1] == '\n' || input->bytes[input->size - 1] == '\r'))
        input->bytes[--input->size] = '\0';
}

/* Signals wait, so that a Ctrl-C does not leave the terminal mute. */
static enum status ask(const char *prompt, struct secret_input *input, struct problem *problem)
{
    struct termios before, silent;
    sigset_t blocked, signals;
    bool has_terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGTSTP);
    sigprocmask(SIG_BLOCK, &blocked, &signals);
    fprintf(stderr, "%s: ", prompt);
    if (has_terminal) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    enum status status = read_all(STDIN_FILENO, "standard input", input, problem);
    if (has_terminal)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fprintf(stderr, "\n");
    sigprocmask(SIG_SETMASK, &signals, NULL);
    cut_line_end(input);
    return status;
}

/* What fails here is only a protection less. */
static void hide(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0);
}

enum status secret_input_read(struct secret_input *input, const char *path, const char *prompt,
                              struct problem *problem)
{
    hide();
    if (path == NULL || strcmp(path, "-") == 0)
        return isatty(STDIN_FILENO) ? ask(prompt, input, problem)
                                    : read_all(STDIN_FILENO, "standard input", input, problem);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "--file %s: %s", path,
                           strerror(errno));
    return read_all(fd, path, input, problem);
}

enum status secret_input_passphrase(struct secret_input *input, bool is_new,
                                    struct problem *problem)
{
    static struct secret_input again;
    hide();
    if (!isatty(STDIN_FILENO)) {
        TRY(read_all(STDIN_FILENO, "standard input", input, problem));
        cut_line_end(input);
    } else {
        TRY(ask(is_new ? "new passphrase of the vault" : "passphrase of the vault", input,
                problem));
    }
    if (is_new && isatty(STDIN_FILENO)) {
        enum status status = ask("once more", &again, problem);
        bool is_same =
            again.size == input->size && sodium_memcmp(again.bytes, input->bytes, input->size) == 0;
        secret_input_close(&again);
        TRY(status);
        if (!is_same)
            return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "the two are not the same");
    }
    return input->size > 0 && input->size <= VAULT_PASSPHRASE_BYTES_MAX
               ? STATUS_OK
               : problem_set(problem, STATUS_INVALID_ARGUMENT, "",
                             "a passphrase has from 1 to %d bytes", VAULT_PASSPHRASE_BYTES_MAX);
}

struct span secret_input_span(const struct secret_input *input)
{
    return span_of(input->bytes, input->size);
}

void secret_input_close(struct secret_input *input)
{
    sodium_memzero(input, sizeof *input);
}
