/* Read from begin to end; for -n without --after once to count and once to print. */
#include "recoveryd/archive_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/log_archive.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "recoveryd/log_format.h"
#include "recoveryd/log_reader.h"

enum { TEXT_BYTES = 64 * 1024, TEXT_BYTES_MAX = TEXT_BYTES + 8 * EVENT_RECORD_BYTES_MAX };

/* One way through the archive. */
struct reading {
    const struct options *options;
    uint64_t skipped;   /* of those that match */
    uint64_t left;      /* to be printed */
    uint64_t matched;   /* so far */
    struct buffer text; /* not printed yet */
    struct arena arena;
    bool prints, has_met_damage;
};

static char damage[DAMAGE_BYTES_MAX];

static void note_damage(const char *what, const char *reason)
{
    if (damage[0] == '\0')
        snprintf(damage, sizeof damage, "%s", reason[0] == '\0' ? what : reason);
}

static bool is_wanted(const struct options *options, const struct event *event)
{
    return (!options->has_after || event->id > options->after) &&
           (options->type == NULL || strcmp(options->type, event->type) == 0) &&
           (options->tenant == NULL || strcmp(options->tenant, event->tenant) == 0);
}

static enum status print(struct reading *reading)
{
    if (reading->text.is_exhausted)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "print an archive");
    TRY(fd_write_all(STDOUT_FILENO, buffer_span(&reading->text)));
    buffer_clear(&reading->text);
    return STATUS_OK;
}

static enum status take(struct reading *reading, const struct event *event)
{
    if (!is_wanted(reading->options, event))
        return STATUS_OK;
    bool is_shown = reading->prints && reading->matched++ >= reading->skipped && reading->left > 0;
    reading->matched += !reading->prints;
    if (!is_shown)
        return STATUS_OK;
    reading->left--;
    TRY(reading->options->output == OUTPUT_JSONL ? log_show_json(event, &reading->text)
                                                 : log_show_text(event, &reading->text));
    return reading->text.size >= TEXT_BYTES ? print(reading) : STATUS_OK;
}

/* Of the events before `end`; 0: nobody knows where it would have ended. */
static void complain(struct reading *reading, uint64_t first, uint64_t end)
{
    reading->has_met_damage = true;
    if (reading->prints && end == 0)
        fprintf(stderr,
                "recoveryd: DAMAGED: the archive has no end; events from %" PRIu64
                " on are not in it: %s\n",
                first, damage);
    else if (reading->prints && first == end)
        fprintf(stderr, "recoveryd: the archive is damaged at its end: %s\n", damage);
    else if (reading->prints)
        fprintf(stderr, "recoveryd: events %" PRIu64 " to %" PRIu64 " are not shown: %s\n", first,
                end - 1, damage);
}

/* The next whole record; what is damaged before it is told and passed over. */
static enum status next(struct reading *reading, struct log_archive *archive, struct event *event)
{
    struct span record;
    uint64_t first = archive->next;
    damage[0] = '\0';
    log_divert_failures(note_damage);
    enum status status = log_archive_next(archive, &record), passed = STATUS_OK;
    if (status == STATUS_DATA_LOSS) {
        passed = log_archive_pass(archive);
        status = passed == STATUS_OK ? log_archive_next(archive, &record) : passed;
    }
    log_divert_failures(NULL);
    if (damage[0] != '\0')
        complain(reading, first,
                 passed == STATUS_OK ? archive->next - 1
                 : archive->is_cut   ? 0
                                     : archive->last + 1);
    TRY(status);
    arena_reset(&reading->arena);
    return event_decode(record, &reading->arena, event);
}

static enum status read_archive(struct reading *reading)
{
    AUTO(log_archive_close) struct log_archive archive = { .fd = -1 };
    struct event event;
    damage[0] = '\0';
    log_divert_failures(note_damage);
    enum status status = log_archive_open_begun(&archive, reading->options->archive);
    log_divert_failures(NULL);
    if (status != STATUS_OK)
        return log_failure(status, "read an archive of the log", "path", reading->options->archive,
                           "reason", damage);
    while ((status = next(reading, &archive, &event)) == STATUS_OK)
        TRY(take(reading, &event));
    TRY(print(reading));
    if (status == STATUS_NOT_FOUND && reading->has_met_damage)
        status = STATUS_DATA_LOSS;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static void reading_close(struct reading *reading)
{
    buffer_close(&reading->text);
    arena_close(&reading->arena);
}

static enum status show(const struct options *options)
{
    AUTO(reading_close)
    struct reading reading = {
        .options = options,
        .left = options->has_count ? options->count : UINT64_MAX,
        .text = { .limit = TEXT_BYTES_MAX },
        .arena = { .limit = EVENT_TEXTS_BYTES_MAX },
    };
    if (options->has_count && !options->has_after) {
        enum status status = read_archive(&reading);
        if (!reading.has_met_damage)
            TRY(status);
        reading.skipped = reading.matched > options->count ? reading.matched - options->count : 0;
        reading.matched = 0;
    }
    reading.prints = true;
    return read_archive(&reading);
}

int archive_log_command(const struct options *options)
{
    return status_exit_code(show(options));
}
