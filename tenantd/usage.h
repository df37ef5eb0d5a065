#ifndef SOLO_TENANTD_USAGE_H
#define SOLO_TENANTD_USAGE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What services with limits use now, looked at every USAGE_INTERVAL_MS, a bounded number at a time.
 * By the cgroup where its controllers count, else by a look at the service's processes. */
enum {
    USAGE_INTERVAL_MS = 2000,
    USAGE_LOOKS_MAX = 64,  /* services a turn: the others have theirs in the next */
    USAGE_PIDS_MAX = 1024, /* of one service; what is beyond is not added up */
    USAGE_CALM_MS = 60 * 1000,
};

struct service;
struct supervisor;

/* Whether something bounded is nearly full. Told when it becomes so, and again only after it was
 * low (common/base/level.h) for USAGE_CALM_MS without a break: whatever swings about the mark, or
 * crashes there again and again, is told once a minute at most. */
struct usage_level {
    bool is_high;
    uint64_t low_since_ns; /* 0: it is not low */
};
/* True when it has just become high. `allowed` 0: not bounded. */
bool usage_level_look(struct usage_level *level, uint64_t used, uint64_t allowed, uint64_t now_ns);

struct usage_now {
    /* Of the whole service, or, where each process is bounded by itself, of the largest one. */
    uint64_t memory_bytes;
    uint64_t tasks, cpu_milli;
};

struct usage {
    struct usage_now now, told; /* told: as of the row that others have */
    bool is_told, was_told_high;
    uint64_t cpu_ns, looked_ns; /* of the last look, 0 for none */
    struct usage_level memory_level, tasks_level;
    bool is_watched;
    struct service *previous, *next; /* of those that are watched */
};

/* The watched, the one that waits longest first. */
struct usage_watch {
    struct ev_timer timer;
    struct service *first;
};
void usage_open(struct supervisor *supervisor);
void usage_close(struct supervisor *supervisor);

/* Its process has started, or has ended. Only what has limits is watched. */
void usage_begin(struct service *service);
void usage_end(struct service *service);

/* Whether memory or tasks are nearly full. */
bool usage_is_high(const struct usage *usage);

#endif
