#ifndef SOLO_TENANTD_CAPTURE_H
#define SOLO_TENANTD_CAPTURE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/span.h"
#include "common/base/status.h"
#include "tenantd/log_file.h"

/* What a service prints, from its two pipes to its log file. An idle service costs two descriptors
 * and this struct: bytes are read into one buffer that all services share, and only an unfinished
 * line is kept. When nothing has come for a second that is written as a piece (CRI's P), so that a
 * prompt can be read. A service that prints faster than CAPTURE_BYTES_PER_TICK has to wait for its
 * pipe: nothing is lost, and it cannot keep the supervisor or the disk busy alone. */
enum {
    CAPTURE_READ_BYTES = 32 * 1024,
    CAPTURE_TICK_MS = 100,
    CAPTURE_BYTES_PER_TICK = 1024 * 1024,
    CAPTURE_PARTIAL_TICKS = 10,
};

/* Shared by all services of a supervisor. */
struct capture_hub {
    struct ev_loop *loop;
    int directory;              /* of the tenant's log files; not owned */
    struct ev_timer tick;       /* runs while one of these lists has somebody */
    struct capture *waiting;    /* those that have used up their tick */
    struct capture *unfinished; /* those with an unfinished line */
    uint8_t read_buffer[CAPTURE_READ_BYTES];
    uint8_t write_buffer[LOG_BATCH_BYTES];
};

struct capture_stream {
    struct ev_io on_readable; /* its fd is -1 when there is no pipe */
    const char *name;
    uint8_t *partial; /* an unfinished line, below LOG_LINE_BYTES_MAX; NULL for none */
    uint32_t partial_size;
    bool is_open_line; /* what was written last was a piece: the line goes on */
};

struct capture {
    struct capture_hub *hub;
    const char *service; /* not owned */
    struct log_settings settings;
    struct capture_stream streams[2];
    struct capture *next_waiting, *next_unfinished;
    uint32_t bytes_this_tick;
    uint32_t unfinished_ticks; /* for which nothing came */
    bool is_waiting, is_unfinished;
    bool is_disk_failing; /* logged when it began */
    uint8_t *tail;        /* the last EXIT_OUTPUT_BYTES_MAX bytes, oldest first; NULL for none */
    uint32_t tail_size;
};

void capture_hub_open(struct capture_hub *hub, struct ev_loop *loop, int directory);
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

/* The tail as text for people: valid UTF-8 without control characters other than newline and tab.
 */
char *capture_tail_text(const struct capture *capture, char text[EXIT_OUTPUT_BYTES_MAX + 1]);

#endif
