/* What people read, and the times that they write. */
#include "soloctl/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/name.h"

/* Bytes of the character at `at` that may be shown as they are; 0 when its first byte must not. */
static size_t printable_bytes(const uint8_t *at, size_t left, bool keeps_tabs)
{
    if (at[0] == '\t')
        return keeps_tabs ? 1 : 0;
    if (at[0] < 0x80)
        return at[0] < ' ' || at[0] == 0x7f ? 0 : 1;
    size_t size = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (size > left || !utf8_is_valid(span_of(at, size)))
        return 0;
    bool is_c1 = at[0] == 0xc2 && at[1] < 0xa0;
    return is_c1 ? 0 : size;
}

void text_print_span(FILE *out, struct span text, bool keeps_tabs)
{
    for (size_t i = 0; i < text.size;) {
        size_t size = printable_bytes(text.data + i, text.size - i, keeps_tabs);
        if (size == 0)
            fprintf(out, "\\x%02x", text.data[i++]);
        else
            fwrite(text.data + i, 1, size, out);
        i += size;
    }
}

void text_print(FILE *out, const char *text)
{
    text_print_span(out, span_of_text(text), false);
}

char *age_text(char text[AGE_BYTES], uint64_t since_ns, uint64_t now_ns)
{
    uint64_t seconds = now_ns > since_ns ? (now_ns - since_ns) / 1000000000u : 0;
    if (since_ns == 0)
        snprintf(text, AGE_BYTES, "-");
    else if (seconds < 120)
        snprintf(text, AGE_BYTES, "%" PRIu64 "s", seconds);
    else if (seconds < 120 * 60)
        snprintf(text, AGE_BYTES, "%" PRIu64 "m", seconds / 60);
    else if (seconds < 48 * 3600)
        snprintf(text, AGE_BYTES, "%" PRIu64 "h", seconds / 3600);
    else
        snprintf(text, AGE_BYTES, "%" PRIu64 "d", seconds / 86400);
    return text;
}

/* "Z", or how far a clock there is ahead of UTC: "+01:00". */
static bool zone_parse(const char *text, time_t *ahead_s)
{
    unsigned hours, minutes;
    char sign;
    int size = 0;
    *ahead_s = 0;
    if (strcmp(text, "Z") == 0)
        return true;
    if (strlen(text) != strlen("+01:00") ||
        sscanf(text, "%c%2u:%2u%n", &sign, &hours, &minutes, &size) != 3 || text[size] != '\0' ||
        (sign != '+' && sign != '-') || hours > 23 || minutes > 59)
        return false;
    *ahead_s = (time_t)(hours * 3600 + minutes * 60) * (sign == '+' ? 1 : -1);
    return true;
}

static enum status time_parse_utc(const char *text, uint64_t *wall_ns)
{
    struct tm utc = { 0 };
    const char *rest = strptime(text, "%Y-%m-%d", &utc);
    if (rest == NULL || utc.tm_year < 70)
        return STATUS_INVALID_ARGUMENT;
    uint64_t fraction_ns = 0;
    time_t ahead_s = 0;
    if (*rest != '\0') {
        rest = strptime(rest, "T%H:%M:%S", &utc);
        if (rest == NULL)
            return STATUS_INVALID_ARGUMENT;
        if (*rest == '.') {
            uint64_t unit = 100000000;
            for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
                fraction_ns += (uint64_t)(*rest - '0') * unit;
        }
        if (!zone_parse(rest, &ahead_s))
            return STATUS_INVALID_ARGUMENT;
    }
    time_t seconds = timegm(&utc) - ahead_s;
    if (seconds < 0)
        return STATUS_INVALID_ARGUMENT;
    *wall_ns = (uint64_t)seconds * 1000000000u + fraction_ns;
    return STATUS_OK;
}

enum status time_parse(const char *text, uint64_t now_ns, uint64_t *wall_ns)
{
    uint64_t ago_ms;
    if (text[0] == '@') {
        size_t digits = strspn(text + 1, "0123456789");
        if (digits == 0 || digits > 10 || text[1 + digits] != '\0')
            return STATUS_INVALID_ARGUMENT;
        *wall_ns = strtoull(text + 1, NULL, 10) * 1000000000u;
        return STATUS_OK;
    }
    if (duration_parse(text, &ago_ms) != STATUS_OK)
        return time_parse_utc(text, wall_ns);
    *wall_ns = ago_ms * 1000000u < now_ns ? now_ns - ago_ms * 1000000u : 0;
    return STATUS_OK;
}
