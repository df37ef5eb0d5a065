/* Below TMPDIR. */
#include "tests/unit/tenantd/scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/criterion.h"

void scratch_open(struct scratch *scratch)
{
    const char *top = getenv("TMPDIR");
    snprintf(scratch->path, sizeof scratch->path, "%s/solo-tenantd-XXXXXX",
             top == NULL ? "/tmp" : top);
    cr_assert_not_null(mkdtemp(scratch->path));
    /* Services of another uid have to pass. */
    cr_assert_eq(chmod(scratch->path, 0711), 0);
    scratch->fd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(scratch->fd, 0);
}

void scratch_close(struct scratch *scratch)
{
    fd_close(&scratch->fd);
    directory_remove(scratch->path);
}

char *scratch_read(const struct scratch *scratch, const char *name)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = 64u << 20 };
    char path[PATH_MAX];
    cr_assert_eq(path_join(path, scratch->path, name), STATUS_OK);
    if (file_read(path, &buffer) != STATUS_OK)
        return NULL;
    return strndup(buffer.data == NULL ? "" : (const char *)buffer.data, buffer.size);
}

void scratch_free(char **text)
{
    free(*text);
}
