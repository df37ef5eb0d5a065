#ifndef SOLO_BENCH_MACHINE_H
#define SOLO_BENCH_MACHINE_H

#include <stddef.h>

/* What this machine can do at best: every figure of Solo stands beside one of these. */

/* Synced overwrites per second, two to a commit as LMDB does it: 4 KiB and fdatasync, then 120
 * bytes through an O_DSYNC descriptor. Counts pairs, in a file of real zeros in `dir`, for
 * `seconds`. */
double machine_synced_pairs(const char *dir, double seconds);

/* Mebibytes a second that the disk below `dir` takes of a file of so many, written in sequence and
 * synced at its end. */
double machine_sequential_mib(const char *dir, double mib);

/* LMDB by itself, in a new store of one table in `dir`: commits per second of one row of
 * `row_bytes` each, appended, with room written ahead so that the file does not grow. */
double machine_lmdb_commits(const char *dir, size_t row_bytes, double seconds);

/* A byte to another process over a Unix socket and back, per second: two wake-ups, as one client
 * and one server have for each request. */
double machine_round_trips(double seconds);

/* Seconds that a bare posix_spawn loop of this process needs to start `count` times `argv` (which
 * must stay); they are killed and reaped afterwards. */
double machine_spawn_seconds(const char *const *argv, size_t count);

/* Starts `argv` with its standard output going to `output`; its pid. */
int machine_spawn_writer(const char *const *argv, int output);

double machine_now(void); /* seconds, monotonic */

/* Processor time that a process has used so far, all its threads: what it costs, however loaded the
 * machine is. */
double machine_processor_seconds(int pid);

/* Time that the machine's processors have worked so far, for whomever. */
double machine_busy_seconds(void);

#endif
