#ifndef SOLO_TENANTD_CAPTURE_H
#define SOLO_TENANTD_CAPTURE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/span.h"
#include "common/base/status.h"
#include "tenantd/log_file.h"
#include "tenantd/log_rate.h"
#include "tenantd/output_tail.h"

/* What a service prints, from its two pipes to its log file. An idle service costs two descriptors
 * and this struct: bytes are read into one buffer that all services share, and only an unfinished
 * line is kept. When nothing has come for a second that is written as a piece (CRI's P), so that a
 * prompt can be read.
 *
 * Nobody is starved: of each pipe one buffer is read in a turn of the loop, and a service that
 * prints faster than CAPTURE_BYTES_PER_TICK has to wait for its pipe. What it may write is bounded
 * by its log_rate: whole lines above that are dropped, and a line in the log says how many. So does
 * one for what a full or broken disk did not take, as soon as it takes something again. */
enum {
    CAPTURE_READ_BYTES = 128 * 1024,
    CAPTURE_PIPE_BYTES =
        256 * 1024, /* of a pipe that was found nearly full; at first it is 64 KiB */
    CAPTURE_TICK_MS = 100,
    CAPTURE_BYTES_PER_TICK = 32 * 1024 * 1024,
    CAPTURE_PARTIAL_TICKS = 10,
    CAPTURE_RETRY_MS = 1000, /* between attempts to say what the disk did not take */
};

/* Shared by all services of a supervisor. */
struct capture_hub {
    struct ev_loop *loop;
    const struct folder *folder;   /* of the tenant's log files; not owned */
    struct log_rate_settings rate; /* of each service */
    struct ev_timer tick;          /* runs while one of these lists has somebody */
    struct capture *waiting;       /* those that have used up their tick */
    struct capture *unfinished;    /* those with an unfinished line */
    struct capture *missing;       /* those with lines that are missing and were not told yet */
    uint8_t read_buffer[CAPTURE_READ_BYTES];
    uint8_t write_buffer[LOG_BATCH_BYTES];
};

struct capture_stream {
    struct ev_io on_readable; /* its fd is -1 when there is no pipe */
    bool is_error;            /* stderr */
    uint8_t *partial;         /* an unfinished line, below LOG_LINE_BYTES_MAX; NULL for none */
    uint32_t partial_size;
    bool is_open_line;       /* what was written last was a piece: the line goes on */
    bool is_skipping;        /* what comes up to the next newline belongs to a dropped line */
    bool is_widened;         /* its pipe was asked to be CAPTURE_PIPE_BYTES */
    struct log_lost dropped; /* by its rate, and not told yet */
    struct log_lost lost;    /* by the disk, the same */
};

struct capture {
    struct capture_hub *hub;
    const char *service; /* not owned */
    struct log_settings settings;
    struct capture_stream streams[2];
    struct log_rate rate;
    struct capture *next_waiting, *next_unfinished, *next_missing;
    uint64_t dropped_since_ns, lost_since_ns; /* wall clock */
    uint64_t retry_ns;                        /* boot time: says then what was lost */
    int lost_error;                           /* the last reason */
    ev_tstamp tick_began;                     /* of its own CAPTURE_TICK_MS */
    uint32_t bytes_this_tick;
    uint32_t unfinished_ticks;                  /* for which nothing came */
    bool is_waiting, is_unfinished, is_missing; /* in the hub's list of them */
    bool is_dropping;     /* its bucket was empty and is not full enough again */
    bool is_disk_failing; /* logged when it began */
    bool is_log_whole;    /* its file ends with a whole line */
    struct output_tail tail;
};

/* No bound on the rate until `rate` is set. */
void capture_hub_open(struct capture_hub *hub, struct ev_loop *loop, const struct folder *folder);
void capture_hub_close(struct capture_hub *hub);

/* `service` must outlive the capture. */
void capture_init(struct capture *capture, struct capture_hub *hub, const char *service);

/* Makes the pipes of a new instance and forgets the last one's tail. `write_ends` are for the
 * child; the caller closes them. */
enum status capture_open(struct capture *capture, const struct log_settings *settings,
                         int write_ends[2]);

/* Reads what is in the pipes by now, bounded. */
void capture_drain(struct capture *capture);

/* Drains, writes unfinished lines, closes the pipes. The tail stays until the next open or free. */
void capture_close(struct capture *capture);
void capture_free(struct capture *capture);

#endif
