#ifndef SOLO_COMMON_DB_STORE_CHILD_H
#define SOLO_COMMON_DB_STORE_CHILD_H

#include <sys/types.h>

#include "common/base/status.h"

/* Children of a program that open a store in its stead: this program again, with other arguments,
 * because a damaged page may end whoever reads it. */

/* `arguments` ends with NULL and begins with the child's name; `dir` is told when it fails. */
enum status store_child_start(const char *const *arguments, const char *dir, pid_t *pid);
/* Waits for its end; *result is waitpid's. */
enum status store_child_wait(pid_t pid, const char *dir, int *result);
/* The same, but ends it by SIGKILL (which is the result then) when it takes longer. `pidfd` is
 * store_child_watch's. */
enum status store_child_wait_at_most(pid_t pid, int pidfd, const char *dir, unsigned seconds,
                                     int *result);
/* A descriptor that becomes readable when it ends; the child is ended when there can be none. */
enum status store_child_watch(pid_t pid, const char *dir, int *pidfd);

/* In the child: it ends with SIGXCPU after so many seconds of processor time. Pages that lead back
 * to each other are read for ever otherwise. */
void store_child_limit(unsigned seconds);
/* In the child: whoever wants the processor or the disk goes first. */
void store_child_step_back(void);

#endif
