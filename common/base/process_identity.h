#ifndef SOLO_COMMON_BASE_PROCESS_IDENTITY_H
#define SOLO_COMMON_BASE_PROCESS_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Which process a pid is: numbers are used again, the time of the start tells one from the next,
 * and the mark in the environment says what it was started for. */

/* Where field `number` of a /proc/PID/stat begins, as proc(5) counts them; NULL when there are
 * fewer. For those after the second, which is the program's name and may hold anything. */
const char *process_stat_field(const char *stat, int number);

/* Whether this very process lives; a zombie does not. With `start_ticks` 0 any with the number. */
bool process_lives(uint64_t pid, uint64_t start_ticks);
/* Field 22 of its stat; 0 when it does not live. */
uint64_t process_ticks(uint64_t pid);

/* `proc_fd` is a descriptor of a /proc directory.
 * The mark in its environment: the value of SOLO_INSTANCE, if it begins with `prefix`. */
enum { PROCESS_MARK_BYTES = 200 };
enum mark_look { MARK_NONE, MARK_FOUND, MARK_EMPTY }; /* empty: no environment at all */
enum mark_look process_look(int proc_fd, pid_t pid, const char *prefix,
                            char mark[PROCESS_MARK_BYTES]);
bool process_mark(int proc_fd, pid_t pid, const char *prefix, char mark[PROCESS_MARK_BYTES]);
/* Another short variable of its environment. */
bool process_variable(int proc_fd, pid_t pid, const char *key, char value[PROCESS_MARK_BYTES]);

#endif
