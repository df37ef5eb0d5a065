#ifndef SOLO_RECOVERYD_LOG_FORMAT_H
#define SOLO_RECOVERYD_LOG_FORMAT_H

#include "common/api/records/event_record.h"
#include "common/base/buffer.h"

/* Appends one event as a line: as an item of `jsonl`, or in columns with the beginning of its
 * payload. */
enum status log_show_json(const struct event *event, struct buffer *text);
enum status log_show_text(const struct event *event, struct buffer *text);

#endif
