#ifndef SOLO_BENCH_SERVER_H
#define SOLO_BENCH_SERVER_H

#include <stdbool.h>

#include <sys/types.h>

/* Servers that are started for a measurement. Whoever starts one ends it. */

/* Until somebody listens at `path`; false when `pid` ended before. */
bool server_await(const char *path, pid_t pid);

/* Redis, with appendfsync always and its files in `dir`; 0 where it is not installed. */
pid_t server_start_redis(const char *dir, const char *const *environment, const char *path);

#endif
