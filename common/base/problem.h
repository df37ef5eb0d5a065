#ifndef SOLO_COMMON_BASE_PROBLEM_H
#define SOLO_COMMON_BASE_PROBLEM_H

#include <stdint.h>

#include "common/base/status.h"

/* Why something was refused, for the one who asked: the place of the value, the rule it broke, and
 * when it may be worth asking again. Travels as the error map of a reply. */
struct problem {
    enum status code;
    char field[96]; /* "env.PATH", "argv[3]"; empty when no single field is to blame */
    /* What failed, on what, why, what to do next: one line. What may follow it on further lines is
     * what the caller's own program printed last, which no log keeps. */
    char message[1024];
    uint64_t retry_after_ms;
};

/* Fills `problem` (which may be NULL) and returns `code`, so that a refusal is one line:
 * return problem_set(problem, STATUS_INVALID_ARGUMENT, "name", "must match %s", NAME_PATTERN); */
enum status problem_set(struct problem *problem, enum status code, const char *field,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The first line of the message: what may be logged. `line` is as big as the message. */
char *problem_first_line(const struct problem *problem, char *line);

/* Puts `prefix` and a dot before the field, for a part that was validated on its own. */
void problem_prefix(struct problem *problem, const char *prefix);

#endif
