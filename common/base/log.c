/* One line per call, built in a fixed buffer and written with one write(2), so that lines of
 * several processes do not mix. A value is quoted when it has blanks, quotes or control characters.
 */
#include "common/base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/name.h"

enum { LINE_BYTES_MAX = 2048 };

static const char *program_name = "solo";
static uint64_t shown_pid; /* 0: our own */
static enum log_level least_level = LOG_LEVEL_INFO;
static bool is_for_journal;
static bool (*keeper)(const struct log_record *record);
static void (*failure_sink)(const char *what, const char *reason);
static char last_failure[256];
static const char *const level_names[] = { "debug", "info", "warning", "error" };

struct line {
    char text[LINE_BYTES_MAX];
    size_t size;
};

static void put(struct line *line, char c)
{
    if (line->size < sizeof line->text - 1)
        line->text[line->size++] = c;
}

static void put_text(struct line *line, const char *text)
{
    for (; *text != '\0'; text++)
        put(line, *text);
}

/* Control characters, those above 0x7f too, and what is no UTF-8: nobody who names a thing moves
 * the reader's cursor. */
static bool must_hide(const char *at, bool is_utf8)
{
    unsigned char first = (unsigned char)at[0];
    if (first < 0x80)
        return first < ' ' || first == 0x7f;
    return !is_utf8 || (first == 0xc2 && (unsigned char)at[1] < 0xa0);
}

static void put_value(struct line *line, const char *value)
{
    bool is_utf8 = utf8_is_valid(span_of_text(value));
    bool is_plain = *value != '\0';
    for (const char *p = value; *p != '\0'; p++)
        if (must_hide(p, is_utf8) || *p == ' ' || *p == '"' || *p == '=')
            is_plain = false;
    if (is_plain) {
        put_text(line, value);
        return;
    }
    put(line, '"');
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            put(line, '\\');
        bool is_hidden = must_hide(p, is_utf8);
        put(line, is_hidden ? '?' : *p);
        if (is_hidden && is_utf8 && (unsigned char)*p >= 0x80)
            p++; /* the second byte of a control character above 0x7f */
    }
    put(line, '"');
}

static void put_pair(struct line *line, const char *key, const char *value)
{
    put(line, ' ');
    put_text(line, key);
    put(line, '=');
    put_value(line, value == NULL ? "" : value);
}

static void record_fill(struct log_record *record, struct line *line, const char *what,
                        va_list pairs)
{
    put_text(line, what);
    if (record->status != NULL)
        put_pair(line, "status", record->status);
    for (const char *key; (key = va_arg(pairs, const char *)) != NULL;) {
        const char *value = va_arg(pairs, const char *);
        put_pair(line, key, value);
        if (record->pair_count == LOG_PAIRS_MAX)
            continue;
        record->pairs[record->pair_count].key = key;
        record->pairs[record->pair_count++].value = value == NULL ? "" : value;
    }
    line->text[line->size] = '\0';
    record->text = line->text;
}

/* As key=value, the time first. */
static void write_record(const struct log_record *record, const char *what)
{
    struct line line = { .size = 0 };
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char stamp[40];
    size_t length = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + length, sizeof stamp - length, ".%03ldZ", now.tv_nsec / 1000000);
    if (is_for_journal)
        put_text(&line, (const char[]){ '<', (char)('0' + log_priority(record->level)), '>', 0 });
    put_text(&line, stamp);
    put_pair(&line, "level", level_names[record->level]);
    put_pair(&line, "program", record->program);
    put_pair(&line, "pid", NUMBER(shown_pid != 0 ? shown_pid : (uint64_t)getpid()));
    put_pair(&line, "msg", what);
    if (record->status != NULL)
        put_pair(&line, "status", record->status);
    for (size_t i = 0; i < record->pair_count; i++)
        put_pair(&line, record->pairs[i].key, record->pairs[i].value);
    line.text[line.size++] = '\n';
    /* Diagnostics that cannot be written have nobody left to tell. */
    ssize_t written = write(STDERR_FILENO, line.text, line.size);
    (void)written;
}

static void log_record(enum log_level level, const char *what, const char *status, va_list pairs)
{
    struct line text = { .size = 0 };
    struct log_record record = { .level = level, .program = program_name, .status = status };
    record_fill(&record, &text, what, pairs);
    if (keeper == NULL || !keeper(&record))
        write_record(&record, what);
}

void log_set_keeper(bool (*taker)(const struct log_record *record))
{
    keeper = taker;
}

int log_priority(enum log_level level)
{
    static const int priorities[] = {
        [LOG_LEVEL_DEBUG] = 7, [LOG_LEVEL_INFO] = 6, [LOG_LEVEL_WARNING] = 4, [LOG_LEVEL_ERROR] = 3
    };
    return priorities[level];
}

bool log_is_for_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long device, inode;
    struct stat status;
    return stream != NULL && sscanf(stream, "%lu:%lu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void log_setup(const char *program, enum log_level level)
{
    program_name = program;
    least_level = level;
    is_for_journal = log_is_for_journal();
}

void log_set_pid(uint64_t pid)
{
    shown_pid = pid;
}

void log_set_level(enum log_level level)
{
    least_level = level;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

enum status log_level_parse(const char *text, enum log_level *level)
{
    for (int i = 0; i <= LOG_LEVEL_ERROR; i++)
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return STATUS_OK;
        }
    return STATUS_INVALID_ARGUMENT;
}

void log_write(enum log_level level, const char *what, ...)
{
    if (level < least_level)
        return;
    va_list pairs;
    va_start(pairs, what);
    log_record(level, what, NULL, pairs);
    va_end(pairs);
}

void log_divert_failures(void (*sink)(const char *what, const char *reason))
{
    failure_sink = sink;
}

/* Its reason, and the file or folder that it is about; "" without. */
static void pairs_read(va_list pairs, const char **reason, const char **path)
{
    *reason = *path = "";
    for (const char *key; (key = va_arg(pairs, const char *)) != NULL;) {
        const char *value = va_arg(pairs, const char *);
        if (strcmp(key, "reason") == 0 && value != NULL)
            *reason = value;
        else if ((strcmp(key, "path") == 0 || strcmp(key, "dir") == 0) && value != NULL)
            *path = value;
    }
}

const char *log_last_failure(void)
{
    return last_failure;
}

enum status log_write_failure(enum status status, const char *what, ...)
{
    va_list pairs;
    va_start(pairs, what);
    const char *reason, *path;
    pairs_read(pairs, &reason, &path);
    va_end(pairs);
    if (failure_sink != NULL) {
        failure_sink(what, reason);
        return status;
    }
    snprintf(last_failure, sizeof last_failure, "%s%s%s: %s", what, path[0] != '\0' ? " " : "",
             path, reason[0] != '\0' ? reason : status_text(status));
    va_start(pairs, what);
    log_record(LOG_LEVEL_ERROR, what, status_name(status), pairs);
    va_end(pairs);
    return status;
}

char *number_text(char buffer[24], int64_t value)
{
    snprintf(buffer, 24, "%" PRId64, value);
    return buffer;
}
