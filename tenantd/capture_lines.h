#ifndef SOLO_TENANTD_CAPTURE_LINES_H
#define SOLO_TENANTD_CAPTURE_LINES_H

#include "tenantd/capture.h"

/* From bytes to the lines of a log: what is cut, what waits for its end, what is dropped for its
 * rate, what the disk did not take. */

void capture_put(struct capture *capture, struct capture_stream *stream, struct span data);
/* What is left of lines goes out as pieces. */
void capture_put_unfinished(struct capture *capture);
/* Nothing follows: what is left is the last line. */
void capture_put_end(struct capture *capture, struct capture_stream *stream);

/* Whether something was dropped or lost that the log does not tell yet. */
bool capture_is_missing(const struct capture *capture);
/* Says so, and writes again; what could not be said is still missing. */
void capture_tell_missing(struct capture *capture);

#endif
