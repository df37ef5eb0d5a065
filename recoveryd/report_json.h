#ifndef SOLO_RECOVERYD_REPORT_JSON_H
#define SOLO_RECOVERYD_REPORT_JSON_H

#include "common/base/buffer.h"
#include "recoveryd/report.h"

/* For programs: one document with every entry. */
void report_write_json(const struct report *report, struct buffer *text);
void verification_write_json(const struct verification *verification, struct buffer *text);

#endif
