/* Fixed columns: 29 digits and signs of time ending in 'Z' (nanoseconds always nine), stream, flag.
 */
#include "deployd/log_line.h"

#include <time.h>

static bool number(const uint8_t *text, size_t size, unsigned *value)
{
    *value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

enum {
    TIME_BYTES = 30,
    STREAM_BYTES = 6,
    PREFIX_BYTES = TIME_BYTES + 1 + STREAM_BYTES + 1 + 1 + 1
};

static bool time_parse(const uint8_t *text, uint64_t *wall_ns)
{
    unsigned year, month, day, hour, minute, second, fraction;
    static const struct {
        unsigned place;
        char sign;
    } signs[] = { { 4, '-' },  { 7, '-' },  { 10, 'T' }, { 13, ':' },
                  { 16, ':' }, { 19, '.' }, { 29, 'Z' } };
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (text[signs[i].place] != signs[i].sign)
            return false;
    if (!number(text, 4, &year) || !number(text + 5, 2, &month) || !number(text + 8, 2, &day) ||
        !number(text + 11, 2, &hour) || !number(text + 14, 2, &minute) ||
        !number(text + 17, 2, &second) || !number(text + 20, 9, &fraction))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    struct tm utc = { .tm_year = (int)year - 1900,
                      .tm_mon = (int)month - 1,
                      .tm_mday = (int)day,
                      .tm_hour = (int)hour,
                      .tm_min = (int)minute,
                      .tm_sec = (int)second };
    time_t seconds = timegm(&utc);
    if (seconds < 0)
        return false;
    *wall_ns = (uint64_t)seconds * 1000000000u + fraction;
    return true;
}

bool log_line_parse(struct span line, struct log_line *parsed)
{
    struct log_line made;
    if (line.size < PREFIX_BYTES || !time_parse(line.data, &made.wall_ns))
        return false;
    const uint8_t *stream = line.data + TIME_BYTES + 1;
    made.is_error = memcmp(stream, "stderr", STREAM_BYTES) == 0;
    if (!made.is_error && memcmp(stream, "stdout", STREAM_BYTES) != 0)
        return false;
    char flag = (char)stream[STREAM_BYTES + 1];
    if (line.data[TIME_BYTES] != ' ' || stream[STREAM_BYTES] != ' ' ||
        stream[STREAM_BYTES + 2] != ' ' || (flag != 'F' && flag != 'P'))
        return false;
    made.is_partial = flag == 'P';
    made.is_note = false;
    made.text = span_of(line.data + PREFIX_BYTES, line.size - PREFIX_BYTES);
    *parsed = made;
    return true;
}
