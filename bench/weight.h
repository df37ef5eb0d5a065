#ifndef SOLO_BENCH_WEIGHT_H
#define SOLO_BENCH_WEIGHT_H

#include "tests/support/testbed.h"

/* What a Solo takes of the machine while it works. */

struct weight {
    double kib; /* private memory that was written, swapped out or not */
    long descriptors;
};
/* Whether a page of its program is private depends on who else runs that program: what it has
 * written itself does not. */
struct weight weight_of(pid_t pid);

/* Blocks of the log, and of everything else below the testbed's folder. */
void weight_of_disk(const struct testbed *bed, double *other_kib, double *log_kib);

#endif
