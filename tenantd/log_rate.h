#ifndef SOLO_TENANTD_LOG_RATE_H
#define SOLO_TENANTD_LOG_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* How much one service may write into its log, as a bucket: it holds `burst_bytes` at first, what
 * is written is taken out, `bytes_per_s` come back. Pure: times come in. */
struct log_rate_settings {
    uint64_t bytes_per_s; /* 0: no bound */
    uint64_t burst_bytes;
};

struct log_rate {
    struct log_rate_settings settings;
    uint64_t left; /* bytes in the bucket */
    uint64_t filled_ns;
};

/* Full. */
void log_rate_init(struct log_rate *rate, const struct log_rate_settings *settings,
                   uint64_t now_ns);
/* Puts in what has come back since the last time. */
void log_rate_fill(struct log_rate *rate, uint64_t now_ns);
/* False when there is less in it: then nothing is taken. */
bool log_rate_take(struct log_rate *rate, uint64_t bytes);
/* Whether writing should begin again after a refusal: what comes back in a second is there (or the
 * whole bucket, when that is less), so that it does not stop again at once. */
bool log_rate_is_open(const struct log_rate *rate);

#endif
