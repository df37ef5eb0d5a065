/* Files named on the command line; what is wrong with them is told, not logged. */
#include "soloctl/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"

enum status input_read(const char *flag, const char *path, struct buffer *content,
                       struct problem *problem)
{
    AUTO(fd_close)
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : 1;
    while (size > 0) {
        char chunk[65536];
        size = read(fd, chunk, sizeof chunk);
        if (size < 0 && errno == EINTR)
            size = 1;
        else if (size > 0 && buffer_append(content, chunk, (size_t)size) != STATUS_OK)
            return problem_set(problem, STATUS_INVALID_ARGUMENT, "",
                               "%s %s: must be at most %zu bytes", flag, path, content->limit);
    }
    if (size < 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "%s %s: %s", flag, path,
                           strerror(errno));
    return STATUS_OK;
}
