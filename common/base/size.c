/* Numbers of bytes for people. */
#include "common/base/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"

char *size_text(char text[SIZE_TEXT_BYTES], uint64_t bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    if (bytes < 1024) {
        snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 " byte%s", bytes, bytes == 1 ? "" : "s");
        return text;
    }
    size_t unit = 0;
    uint64_t whole = bytes / 1024, rest = bytes % 1024;
    for (; whole >= 1024 && unit + 1 < COUNT_OF(units); unit++) {
        rest = whole % 1024;
        whole /= 1024;
    }
    uint64_t tenth = rest * 10 / 1024;
    if (tenth == 0)
        snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 " %s", whole, units[unit]);
    else
        snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 " %s", whole, tenth, units[unit]);
    return text;
}

char *size_part_text(char text[SIZE_PART_TEXT_BYTES], uint64_t used, uint64_t allowed)
{
    char first[SIZE_TEXT_BYTES], second[SIZE_TEXT_BYTES];
    size_text(first, used);
    size_text(second, allowed);
    if (strcmp(strchr(first, ' '), strchr(second, ' ')) == 0)
        *strchr(first, ' ') = '\0';
    snprintf(text, SIZE_PART_TEXT_BYTES, "%s of %s", first, second);
    return text;
}
