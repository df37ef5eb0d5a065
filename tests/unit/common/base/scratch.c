/* The scratch folder of a test. Removed with nftw and not with directory_remove, which is under
 * test. */
#include "tests/unit/common/base/scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/criterion.h"

static const char pattern[] = "/tmp/solo-base-XXXXXX";
static char folder[sizeof pattern];

void scratch_make(void)
{
    memcpy(folder, pattern, sizeof pattern);
    cr_assert_not_null(mkdtemp(folder));
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void scratch_remove(void)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_path(const char *name)
{
    static char paths[4][4096];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}
