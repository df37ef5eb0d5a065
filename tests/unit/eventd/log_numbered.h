#ifndef SOLO_TESTS_UNIT_EVENTD_LOG_NUMBERED_H
#define SOLO_TESTS_UNIT_EVENTD_LOG_NUMBERED_H

#include "common/api/records/event_log.h"
#include "eventd/appending.h"

/* The fixture's log filled with events app.x of acme, about thing/0 to thing/2 by turns, each with
 * a request_id of its own; and what its tables say of them. */

/* The i-th of some ids, the same in each call. */
struct uuid id_number(unsigned i);
/* Event number i under any id. */
struct append_outcome append_as(struct uuid id, unsigned i, const char *body, enum status expected);
struct append_outcome append_numbered(unsigned i, const char *body, enum status expected);
/* Those from `from` to `to` - 1, of a log that has nothing else. */
void append_some(unsigned from, unsigned to);
/* Of a log with the first 10: each is known, and so are the newest of everything. */
void expect_all_known(void);

/* Flips a bit of a row, behind everybody's back; twice makes it whole. */
void damage_row(unsigned table, struct span at);

/* As readers see it. */
uint64_t log_written(void);
uint64_t log_rows(unsigned table);
uint64_t log_head(enum head_kind kind, const char *text);

#endif
