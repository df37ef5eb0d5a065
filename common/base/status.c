/* The table of codes, read three ways. */
#include "common/base/status.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
    int exit_code;
} codes[STATUS_COUNT] = {
#define STATUS(code, name, exit_code, text) [STATUS_##code] = { name, text, exit_code },
#include "common/base/status.def"
#undef STATUS
};

const char *status_name(enum status status)
{
    return codes[status].name;
}

const char *status_text(enum status status)
{
    return codes[status].text;
}

int status_exit_code(enum status status)
{
    return codes[status].exit_code;
}

enum status status_from_name(const char *name)
{
    for (int i = 0; i < STATUS_COUNT; i++)
        if (strcmp(codes[i].name, name) == 0)
            return (enum status)i;
    return STATUS_UNKNOWN;
}

enum status status_from_errno(int error)
{
    switch (error) {
    case 0:
        return STATUS_OK;
    case ENOENT:
    case ESRCH:
    case ENOTDIR:
        return STATUS_NOT_FOUND;
    case EEXIST:
        return STATUS_ALREADY_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return STATUS_PERMISSION_DENIED;
    case EINVAL:
    case ENAMETOOLONG:
    case E2BIG:
        return STATUS_INVALID_ARGUMENT;
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return STATUS_RESOURCE_EXHAUSTED;
    case EAGAIN:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
        return STATUS_UNAVAILABLE;
    case ETIMEDOUT:
        return STATUS_DEADLINE_EXCEEDED;
    case EIO:
        return STATUS_IO;
    default:
        return STATUS_INTERNAL;
    }
}
