#ifndef SOLO_TESTS_UNIT_TENANTD_SCRATCH_H
#define SOLO_TESTS_UNIT_TENANTD_SCRATCH_H

#include <limits.h>

#include "common/base/buffer.h"

/* A folder of its own for one test, removed at its end: AUTO(scratch_close) struct scratch scratch;
 * scratch_open(&scratch); */
struct scratch {
    char path[PATH_MAX];
    int fd;
};
void scratch_open(struct scratch *scratch);
void scratch_close(struct scratch *scratch);

/* A file of it as text that the caller frees; NULL when there is none. */
char *scratch_read(const struct scratch *scratch, const char *name);
/* AUTO(scratch_free) char *text = scratch_read(...) */
void scratch_free(char **text);

#endif
