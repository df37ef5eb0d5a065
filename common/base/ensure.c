/* The end of a process that has found a bug in itself. */
#include "common/base/ensure.h"

#include <stdlib.h>

#include "common/base/log.h"

_Noreturn void ensure_failed(const char *condition, const char *file, int line)
{
    log_error("assertion failed", "condition", condition, "file", file, "line", NUMBER(line));
    abort();
}
