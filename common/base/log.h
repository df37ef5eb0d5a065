#ifndef SOLO_COMMON_BASE_LOG_H
#define SOLO_COMMON_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

/* Diagnostics for people, one line each, as key=value on stderr. Never a secret, never a token.
 * The variable part is pairs of strings, key then value; the macros end the list:
 *
 *     log_info("store opened", "dir", dir, "events", NUMBER(count));
 *     return log_failure(status_from_errno(errno), "open", "path", path, "reason",
 * strerror(errno));
 */
enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/* Once, at start: the name each line carries, and the least level that is written. */
void log_setup(const char *program, enum log_level level);
/* For a process whose own pid means nothing to the reader: what each line says instead. */
void log_set_pid(uint64_t pid);
void log_set_level(enum log_level level);
enum status log_level_parse(const char *text, enum log_level *level);
const char *log_level_name(enum log_level level); /* "warning" */

void log_write(enum log_level level, const char *what, ...);
enum status log_write_failure(enum status status, const char *what, ...);

#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__, (const char *)0)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__, (const char *)0)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__, (const char *)0)
#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__, (const char *)0)

/* What is logged, for who keeps more than a line: the text is what happened and its pairs, as a
 * line shows them. */
enum { LOG_PAIRS_MAX = 24 };
struct log_record {
    enum log_level level;
    const char *program;
    const char *text;
    const char *status; /* NULL: none */
    size_t pair_count;
    struct {
        const char *key, *value;
    } pairs[LOG_PAIRS_MAX];
};
/* Records go there instead of to stderr, but for those that it does not take (false). */
void log_set_keeper(bool (*keeper)(const struct log_record *record));
/* Whether stderr is a stream of systemd's journal (JOURNAL_STREAM). A line then begins with its
 * priority, <6> for example, by which the journal files it. */
bool log_is_for_journal(void);
/* Of syslog: 7 debug, 6 info, 4 warning, 3 error. */
int log_priority(enum log_level level);

/* While a sink is set, failures are given to it, with the value of their "reason" ("" for none),
 * instead of being written: for who tells in his own words what was found. NULL ends that. */
void log_divert_failures(void (*sink)(const char *what, const char *reason));

/* Logs at level error with the status, and returns the status. */
#define log_failure(status, ...) log_write_failure(status, __VA_ARGS__, (const char *)0)

/* What was logged so last, and its reason; "" for nothing. For the last words of a program that
 * ends for it. */
const char *log_last_failure(void);

/* A number as text that lives until the end of the enclosing block. */
char *number_text(char buffer[24], int64_t value);
#define NUMBER(value) number_text((char[24]){ 0 }, (int64_t)(value))

#endif
