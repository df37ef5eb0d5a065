#ifndef SOLO_RECOVERYD_REPORT_TEXT_H
#define SOLO_RECOVERYD_REPORT_TEXT_H

#include "common/base/buffer.h"
#include "recoveryd/report.h"

/* For people: one line per action, sorted by urgency, the reason and the event that proves it.
 * Services that are as they should be take one line together, unless `shows_all`. */
void report_write_text(const struct report *report, bool shows_all, struct buffer *text);
void verification_write_text(const struct verification *verification, struct buffer *text);

#endif
