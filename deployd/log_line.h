#ifndef SOLO_DEPLOYD_LOG_LINE_H
#define SOLO_DEPLOYD_LOG_LINE_H

#include "common/base/span.h"

/* One line of a service's output as tenantd wrote it (Kubernetes CRI):
 *     2026-11-21T20:58:17.123456789Z stdout F text */
struct log_line {
    uint64_t wall_ns;
    bool is_error;   /* stderr */
    bool is_partial; /* the line goes on in the next one of its stream */
    bool is_note;    /* not the service's: says what is missing before the next line */
    struct span text;
};

/* `line` is without its newline. False for what is no such line: a torn write, a foreign file. */
bool log_line_parse(struct span line, struct log_line *parsed);

#endif
