#ifndef SOLO_TESTS_SUPPORT_PROCESS_H
#define SOLO_TESTS_SUPPORT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/buffer.h"

/* What /proc says about processes. A zombie counts as gone. */

bool process_is_alive(pid_t pid);

/* A file of /proc/PID ("cmdline", "environ", "status"), whole; false when it cannot be read. The
 * buffer is cleared first and ended by a NUL that is not counted. */
bool process_read(pid_t pid, const char *file, struct buffer *content);

/* The number behind "KEY:" in /proc/PID/FILE ("status", "smaps_rollup"); -1 when there is none. */
long process_number(pid_t pid, const char *file, const char *key);

/* Open descriptors; -1 when they cannot be counted. */
long process_descriptors(pid_t pid);

/* Field 22 of /proc/PID/stat: with the pid it names one process. 0 when it is gone. */
uint64_t process_start_ticks(pid_t pid);

/* Processes whose command line or environment contains `text`, ourselves excluded. Returns how many
 * there are; at most `count_max` pids are written. */
size_t process_find(const char *text, pid_t *pids, size_t count_max);

/* kill(2), for one process only: a pid of 0 or below, which would mean a whole group of processes,
 * the tests' own among them, ends the test. */
int process_signal(pid_t pid, int signal_number);

/* Waits without polling until the process is gone; false after `timeout_ms`. Works for any process,
 * not only for children. */
bool process_wait_gone(pid_t pid, int timeout_ms);

/* Waits until the process catches or ignores a signal: one that has only just been started is ended
 * by it. False when it is gone, or after `timeout_ms`. */
bool process_wait_handles(pid_t pid, int signal_number, int timeout_ms);

/* SIGKILL, by pid, to every process that process_find names (but `spared`), in rounds until two in
 * a row find none. Returns how many signals were sent. */
size_t process_kill_all(const char *text, pid_t spared);

#endif
