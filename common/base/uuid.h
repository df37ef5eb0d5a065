#ifndef SOLO_COMMON_BASE_UUID_H
#define SOLO_COMMON_BASE_UUID_H

#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/problem.h"
#include "common/base/status.h"

/* UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds since 1970, then random bits. */
enum { UUID_BYTES = 16, UUID_TEXT_BYTES = 37 };

struct uuid {
    uint8_t bytes[UUID_BYTES];
};

struct uuid uuid_draw(void);
uint64_t uuid_milliseconds(const struct uuid *uuid);
/* When it was drawn. */
char *uuid_time_text(char text[TIME_TEXT_BYTES], const struct uuid *uuid);
char *uuid_text(char text[UUID_TEXT_BYTES], const struct uuid *uuid);

/* invalid_argument unless it is the usual text form of a version 7 UUID. */
enum status uuid_parse(const char *text, struct uuid *uuid);

/* Of a request: drawn at most 24 hours ago and at most an hour ahead, by our clock. The refusal
 * (invalid_argument, of the field request_id) tells both times: one of two clocks may be wrong. */
enum status uuid_check_age(const struct uuid *id, uint64_t now_ms, struct problem *problem);

#endif
