/* The one place of soloctl that holds the text of a token it has drawn. */
#include "soloctl/token_out.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"

static enum status refuse(struct problem *problem, const char *path, int error)
{
    return problem_set(problem, error == EEXIST ? STATUS_ALREADY_EXISTS : STATUS_INVALID_ARGUMENT,
                       "", "--out %s: %s", path,
                       error == EEXIST ? "is there already; name another file" : strerror(error));
}

/* The name too is on disk. */
static enum status sync_folder(const char *path, struct problem *problem)
{
    char text[PATH_MAX];
    snprintf(text, sizeof text, "%s", path);
    AUTO(fd_close) int fd = open(dirname(text), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? STATUS_OK : refuse(problem, path, errno);
}

static enum status write_file(struct token_out *out, struct problem *problem)
{
    char line[TOKEN_TEXT_BYTES + 1];
    AUTO(fd_close)
    int fd = open(out->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return refuse(problem, out->path, errno);
    out->is_made = true;
    int size = snprintf(line, sizeof line, "%s\n", out->text);
    enum status status = fd_write_all(fd, span_of(line, (size_t)size));
    sodium_memzero(line, sizeof line);
    if (status != STATUS_OK || fsync(fd) != 0)
        return refuse(problem, out->path, errno);
    return sync_folder(out->path, problem);
}

/* *is_there stays false when there is no file. */
static enum status read_file(struct token_out *out, bool *is_there, struct problem *problem)
{
    AUTO(fd_close) int fd = open(out->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat file;
    if (fd < 0 && errno == ENOENT)
        return STATUS_OK;
    if (fd < 0 || fstat(fd, &file) < 0)
        return refuse(problem, out->path, errno);
    if (!S_ISREG(file.st_mode) || (file.st_mode & 077) != 0)
        return problem_set(problem, STATUS_PERMISSION_DENIED, "",
                           "--out %s: others can read it; run `chmod 600 %s` first", out->path,
                           out->path);
    ssize_t size = read(fd, out->text, TOKEN_TEXT_SIZE);
    out->text[TOKEN_TEXT_SIZE] = '\0';
    if (size != TOKEN_TEXT_SIZE || !token_text_is_valid(span_of_text(out->text)))
        return problem_set(problem, STATUS_ALREADY_EXISTS, "",
                           "--out %s: is there already and holds no token", out->path);
    *is_there = true;
    return STATUS_OK;
}

enum status token_out_open(struct token_out *out, const char *path, bool is_repeated,
                           struct problem *problem)
{
    *out = (struct token_out){ .path = path };
    bool is_there = false;
    if (path != NULL && is_repeated)
        TRY(read_file(out, &is_there, problem));
    if (!is_there)
        token_text_draw(out->text);
    if (path == NULL || is_there)
        return STATUS_OK;
    enum status status = write_file(out, problem);
    if (status != STATUS_OK)
        token_out_discard(out);
    return status;
}

void token_out_discard(struct token_out *out)
{
    if (out->is_made)
        unlink(out->path);
    out->is_made = false;
}

void token_out_close(struct token_out *out)
{
    sodium_memzero(out->text, sizeof out->text);
}
