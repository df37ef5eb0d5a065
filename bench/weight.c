#include "bench/weight.h"

#include <ftw.h>
#include <string.h>

#include "tests/support/process.h"

static double other, log_alone;

struct weight weight_of(pid_t pid)
{
    return (struct weight){ (double)(process_number(pid, "smaps_rollup", "Private_Dirty") +
                                     process_number(pid, "smaps_rollup", "Swap")),
                            process_descriptors(pid) };
}

static int add_file(const char *path, const struct stat *stat, int type, struct FTW *place)
{
    (void)place;
    if (type == FTW_F)
        *(strstr(path, "/data/events/") != NULL ? &log_alone : &other) +=
            (double)stat->st_blocks / 2;
    return 0;
}

void weight_of_disk(const struct testbed *bed, double *other_kib, double *log_kib)
{
    other = log_alone = 0;
    nftw(bed->dir, add_file, 16, FTW_PHYS);
    *other_kib = other;
    *log_kib = log_alone;
}
