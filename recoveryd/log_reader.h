#ifndef SOLO_RECOVERYD_LOG_READER_H
#define SOLO_RECOVERYD_LOG_READER_H

#include "common/base/hash.h"
#include "common/daemon/settings.h"
#include "recoveryd/options.h"

/* The half of `recoveryd log` that reads, a child: LMDB may die of a damaged page, and then the
 * other half starts a new one, which passes over the event that was being read. Where both are is
 * in memory that they share. */

/* Its first argument; its standard input is the shared memory. */
#define LOG_READER_ARGUMENT "--log-reader"

enum { LOG_CRASHES_MAX = 64, DAMAGE_BYTES_MAX = 200 };

/* What `reading` is while the end of the log is looked for. */
#define LOG_READER_AT_END UINT64_MAX

struct log_position {
    uint64_t next;  /* event; those before it have been printed */
    uint64_t first; /* with -n and without --after: found by walking back; 0 until then */
    uint64_t left;  /* to print */
    struct hash previous;
    bool has_previous; /* the event before `next` is whole, and this is its hash */
    /* Damaged events in a row, to be told together; range_first 0: none. */
    uint64_t range_first, range_last;
    char damage[DAMAGE_BYTES_MAX];
    uint64_t damaged_count;
};

struct log_progress {
    struct log_position position;
    volatile uint64_t reading; /* event; 0: none, what breaks down is more than an event */
    struct {
        uint64_t event;
        int signal_number;
    } crashes[LOG_CRASHES_MAX];
    unsigned crash_count;
};

/* Prints what is whole to standard output and names damaged ranges on standard error. Exit code:
 * data_loss when there were any. */
int log_reader_run(const struct settings *settings, const struct options *options);

#endif
