/* Time first, then randomness, so that keys made of these sort by age. */
#include "common/base/uuid.h"

#include <string.h>

#include "common/base/hash.h"
#include "common/base/limits.h"

struct uuid uuid_draw(void)
{
    struct uuid uuid;
    random_fill(uuid.bytes, sizeof uuid.bytes);
    uint64_t milliseconds = clock_wall_ns() / 1000000u;
    for (int i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)(milliseconds >> (40 - 8 * i));
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x70);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

uint64_t uuid_milliseconds(const struct uuid *uuid)
{
    uint64_t milliseconds = 0;
    for (int i = 0; i < 6; i++)
        milliseconds = milliseconds << 8 | uuid->bytes[i];
    return milliseconds;
}

char *uuid_time_text(char text[TIME_TEXT_BYTES], const struct uuid *uuid)
{
    uint64_t milliseconds = uuid_milliseconds(uuid), most = UINT64_MAX / NS_PER_MS;
    return time_text(text, (milliseconds < most ? milliseconds : most) * NS_PER_MS);
}

char *uuid_text(char text[UUID_TEXT_BYTES], const struct uuid *uuid)
{
    char hex[2 * UUID_BYTES + 1];
    hex_text(hex, uuid->bytes, sizeof uuid->bytes);
    char *out = text;
    for (int i = 0; i < 2 * UUID_BYTES; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *out++ = '-';
        *out++ = hex[i];
    }
    *out = '\0';
    return text;
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

enum status uuid_parse(const char *text, struct uuid *uuid)
{
    struct uuid parsed;
    const char *at = text;
    for (int i = 0; i < UUID_BYTES; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *at++ != '-')
            return STATUS_INVALID_ARGUMENT;
        int high = digit_value(at[0]);
        int low = high < 0 ? -1 : digit_value(at[1]); /* behind an end there is nothing to read */
        if (low < 0)
            return STATUS_INVALID_ARGUMENT;
        parsed.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    if (*at != '\0' || parsed.bytes[6] >> 4 != 7 || parsed.bytes[8] >> 6 != 2)
        return STATUS_INVALID_ARGUMENT;
    *uuid = parsed;
    return STATUS_OK;
}

enum status uuid_check_age(const struct uuid *id, uint64_t now_ms, struct problem *problem)
{
    char drawn[TIME_TEXT_BYTES], now[TIME_TEXT_BYTES];
    uint64_t drawn_ms = uuid_milliseconds(id);
    bool is_old = drawn_ms + REQUESTS_KEPT_MS < now_ms;
    if (!is_old && drawn_ms <= now_ms + REQUESTS_AHEAD_MS_MAX)
        return STATUS_OK;
    return problem_set(problem, STATUS_INVALID_ARGUMENT, "request_id",
                       "was drawn at %s by the caller's clock, and here it is %s: it may be %s",
                       uuid_time_text(drawn, id), time_text(now, now_ms * NS_PER_MS),
                       is_old ? "24 hours old at most. Set the clock that is wrong; if none is, "
                                "whether it was carried out is not known any more: look, then ask "
                                "with a new one"
                              : "an hour ahead at most. Set the clock that is wrong");
}
