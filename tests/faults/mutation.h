#ifndef SOLO_TESTS_FAULTS_MUTATION_H
#define SOLO_TESTS_FAULTS_MUTATION_H

#include "common/base/buffer.h"
#include "tests/faults/random.h"

/* What disks, memory and hands do to a file of LMDB. */
enum mutation_kind {
    MUTATION_BITS,        /* one to eight bits */
    MUTATION_BYTES,       /* a run of random bytes */
    MUTATION_ZERO_PAGE,   /* a page of zeros */
    MUTATION_SWAP,        /* two pages exchanged */
    MUTATION_MISDIRECTED, /* a page written over another one */
    MUTATION_CUT,         /* the file ends earlier */
    MUTATION_LOST_WRITE,  /* a page as it was in an earlier copy */
    MUTATION_META,        /* bytes of the two meta pages */
    MUTATION_KINDS
};

const char *mutation_name(enum mutation_kind kind);
/* Changes `file`; `earlier` is an older copy of it. `text` says what was done. */
void mutate(struct buffer *file, struct span earlier, enum mutation_kind kind,
            struct random *random, char text[128]);

#endif
