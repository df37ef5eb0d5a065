/* A bucket of bytes; see the header. */
#include "tenantd/log_rate.h"

#include "common/base/clock.h"

void log_rate_init(struct log_rate *rate, const struct log_rate_settings *settings, uint64_t now_ns)
{
    *rate = (struct log_rate){ .settings = *settings,
                               .left = settings->burst_bytes,
                               .filled_ns = now_ns };
}

void log_rate_fill(struct log_rate *rate, uint64_t now_ns)
{
    const struct log_rate_settings *settings = &rate->settings;
    uint64_t passed_ns = now_ns > rate->filled_ns ? now_ns - rate->filled_ns : 0;
    unsigned __int128 back = (unsigned __int128)passed_ns * settings->bytes_per_s / NS_PER_S;
    if (back == 0)
        return; /* too short for a byte: it counts next time */
    rate->filled_ns = now_ns;
    uint64_t room = settings->burst_bytes - rate->left;
    rate->left += back < room ? (uint64_t)back : room;
}

bool log_rate_take(struct log_rate *rate, uint64_t bytes)
{
    if (rate->settings.bytes_per_s == 0)
        return true;
    if (rate->left < bytes)
        return false;
    rate->left -= bytes;
    return true;
}

bool log_rate_is_open(const struct log_rate *rate)
{
    const struct log_rate_settings *settings = &rate->settings;
    uint64_t enough = settings->bytes_per_s < settings->burst_bytes ? settings->bytes_per_s
                                                                    : settings->burst_bytes;
    return rate->left >= enough;
}
