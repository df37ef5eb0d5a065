/* Clocks of the kernel, and times and durations as people write them. */
#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t clock_wall_ns(void)
{
    return now_ns(CLOCK_REALTIME);
}

uint64_t clock_boottime_ns(void)
{
    return now_ns(CLOCK_BOOTTIME);
}

double clock_boottime_s(void)
{
    return (double)clock_boottime_ns() / (double)NS_PER_S;
}

enum status clock_boot_id(char boot_id[BOOT_ID_BYTES])
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return log_failure(status_from_errno(errno), "open", "path", path, "reason",
                           strerror(errno));
    ssize_t size = read(fd, boot_id, BOOT_ID_BYTES - 1);
    close(fd);
    if (size != BOOT_ID_BYTES - 1)
        return log_failure(STATUS_IO, "read", "path", path, "reason", "short");
    boot_id[BOOT_ID_BYTES - 1] = '\0';
    return STATUS_OK;
}

char *time_text(char text[TIME_TEXT_BYTES], uint64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / 1000000000u);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t length = strftime(text, TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + length, TIME_TEXT_BYTES - length, ".%03uZ",
             (unsigned)(wall_ns / 1000000u % 1000u));
    return text;
}

static const struct {
    const char *unit;
    uint64_t milliseconds;
} units[] = {
    { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};

enum status duration_parse(const char *text, uint64_t *milliseconds)
{
    static const double longest_ms = 10 * 366 * 86400e3;
    if (*text < '0' || *text > '9')
        return STATUS_INVALID_ARGUMENT;
    size_t digits = strspn(text, "0123456789.");
    char *end;
    double value = strtod(text, &end);
    if (end != text + digits)
        return STATUS_INVALID_ARGUMENT;
    double scale = *end == '\0' ? 1000 : 0;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (strcmp(end, units[i].unit) == 0)
            scale = (double)units[i].milliseconds;
    if (scale == 0 || value * scale > longest_ms)
        return STATUS_INVALID_ARGUMENT;
    *milliseconds = (uint64_t)(value * scale + 0.5);
    return STATUS_OK;
}

char *duration_text(char text[DURATION_TEXT_BYTES], uint64_t milliseconds)
{
    size_t unit = 0;
    while (milliseconds % units[unit].milliseconds != 0)
        unit++;
    if (milliseconds == 0)
        unit = COUNT_OF(units) - 2;
    snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 "%s", milliseconds / units[unit].milliseconds,
             units[unit].unit);
    return text;
}
