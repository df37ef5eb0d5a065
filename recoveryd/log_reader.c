/* The log is read in slices; what a slice holds is printed only after it is certain that the file
 * has not changed under a reader without locks. Each event is looked up by its number, so that a
 * page that is lost costs the events on it and no others. After a failure the snapshot is taken
 * anew: LMDB lets nobody read on in the old one. */
#include "recoveryd/log_reader.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "recoveryd/event_store.h"
#include "recoveryd/log_format.h"

enum {
    SLICE_EVENTS = 1000,
    SLICE_BYTES = 4 * 1024 * 1024,
    SLICE_BYTES_MAX = SLICE_BYTES + 8 * EVENT_RECORD_BYTES_MAX,
    COMPLAINTS_BYTES_MAX = (SLICE_EVENTS + 1) * (DAMAGE_BYTES_MAX + 80),
    READ_ATTEMPTS_MAX = 10,
};

struct log_reader {
    const struct settings *settings;
    const struct options *options;
    struct log_progress *progress;
    struct db_txn txn;
    struct arena arena;
    struct buffer text, complaints;
};

static void log_reader_close(struct log_reader *reader)
{
    db_end(&reader->txn);
    arena_close(&reader->arena);
    buffer_close(&reader->text);
    buffer_close(&reader->complaints);
    munmap(reader->progress, sizeof *reader->progress);
}

/* --- one event --- */

/* What is wrong with the event that is being read; "" while nothing is. */
static char damage[DAMAGE_BYTES_MAX];
static volatile sig_atomic_t has_bus_error;
static long page_bytes;
static struct log_progress *shared;

static void note_damage(const char *what, const char *reason)
{
    if (damage[0] == '\0')
        snprintf(damage, sizeof damage, "%s", reason[0] == '\0' ? what : reason);
}

/* A page of the map that the file does not have, or the disk does not give, is read as zeros: which
 * is a damaged page, and LMDB says so. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    uintptr_t page = (uintptr_t)info->si_addr & ~((uintptr_t)page_bytes - 1);
    has_bus_error = 1;
    if (shared->reading == 0 || info->si_code != BUS_ADRERR ||
        mmap((void *)page, (size_t)page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
             -1, 0) == MAP_FAILED)
        signal(number, SIG_DFL);
}

/* Whether reading this event has ended a reader before. */
static bool is_known_crash(const struct log_progress *progress, uint64_t id)
{
    for (unsigned i = 0; i < progress->crash_count; i++)
        if (progress->crashes[i].event == id) {
            snprintf(damage, sizeof damage, "reading it ends the reader: %s",
                     strsignal(progress->crashes[i].signal_number));
            return true;
        }
    return false;
}

/* Failures go to note_damage from here to leave_event. */
static void enter_event(struct log_reader *reader, uint64_t id)
{
    damage[0] = '\0';
    has_bus_error = 0;
    log_divert_failures(note_damage);
    reader->progress->reading = id;
}

static enum status leave_event(struct log_reader *reader, enum status status)
{
    reader->progress->reading = 0;
    log_divert_failures(NULL);
    if (has_bus_error)
        snprintf(damage, sizeof damage, "the file ends before it, or the disk does not give it");
    if (status == STATUS_OK)
        return STATUS_OK;
    struct db *db = reader->txn.db;
    db_end(&reader->txn);
    TRY(db_begin_read(db, &reader->txn));
    return STATUS_DATA_LOSS;
}

/* data_loss: it is not whole, and `damage` says why. */
static enum status read_event(struct log_reader *reader, uint64_t id, struct event *event)
{
    arena_reset(&reader->arena);
    if (is_known_crash(reader->progress, id))
        return STATUS_DATA_LOSS;
    enter_event(reader, id);
    enum status status = event_log_read(&reader->txn, id, &reader->arena, event);
    if (status == STATUS_NOT_FOUND)
        note_damage("", "it is missing");
    return leave_event(reader, status);
}

/* Where the log begins. A cut that cannot be read is damage, and each number is then looked for. */
static uint64_t find_begin(struct log_reader *reader)
{
    uint64_t first = 1;
    log_divert_failures(note_damage);
    bool is_known = event_log_first(&reader->txn, &first) == STATUS_OK;
    log_divert_failures(NULL);
    return is_known ? first : 1;
}

/* Told once, when what was asked for is older. */
static void skip_archived(struct log_reader *reader, struct log_position *position, uint64_t first)
{
    if (position->next >= first)
        return;
    position->next = first;
    buffer_append_format(&reader->complaints,
                         "recoveryd: the log begins at event %" PRIu64
                         "; older ones were archived: `recoveryd log --archive FILE`\n",
                         first);
}

/* The greatest number there should be, by LMDB's count and by the last record. */
static enum status find_last(struct log_reader *reader, uint64_t *last)
{
    uint64_t count, newest = 0;
    TRY(table_count(&reader->txn, EVENTS_EVENTS, &count));
    *last = count;
    if (is_known_crash(reader->progress, LOG_READER_AT_END))
        return STATUS_OK;
    enter_event(reader, LOG_READER_AT_END);
    enum status status = leave_event(reader, event_log_last(&reader->txn, &newest));
    if (status == STATUS_OK && newest > count)
        *last = newest;
    return status == STATUS_DATA_LOSS ? STATUS_OK : status;
}

/* --- damaged ranges --- */

static void tell_range(struct log_reader *reader, struct log_position *position)
{
    if (position->range_first == 0)
        return;
    if (position->range_first == position->range_last)
        buffer_append_format(&reader->complaints, "recoveryd: event %" PRIu64 ": %s\n",
                             position->range_first, position->damage);
    else
        buffer_append_format(&reader->complaints,
                             "recoveryd: events %" PRIu64 " to %" PRIu64 ": %s\n",
                             position->range_first, position->range_last, position->damage);
    position->range_first = 0;
}

static void add_damaged(struct log_reader *reader, struct log_position *position, uint64_t id)
{
    if (position->range_first != 0 && strcmp(position->damage, damage) != 0)
        tell_range(reader, position);
    if (position->range_first == 0) {
        position->range_first = id;
        snprintf(position->damage, sizeof position->damage, "%s", damage);
    }
    position->range_last = id;
    position->damaged_count++;
}

/* --- slices --- */

static bool is_wanted(const struct options *options, const struct event *event)
{
    return (options->type == NULL || strcmp(options->type, event->type) == 0) &&
           (options->tenant == NULL || strcmp(options->tenant, event->tenant) == 0);
}

static enum status show(struct log_reader *reader, struct log_position *position,
                        const struct event *event)
{
    if (position->has_previous && !hash_equal(&event->previous_hash, &position->previous)) {
        snprintf(damage, sizeof damage, "it does not follow the event before it");
        add_damaged(reader, position, event->id);
    }
    tell_range(reader, position);
    position->has_previous = true;
    position->previous = event->hash;
    if (!is_wanted(reader->options, event))
        return STATUS_OK;
    position->left--;
    return reader->options->output == OUTPUT_JSONL ? log_show_json(event, &reader->text)
                                                   : log_show_text(event, &reader->text);
}

/* The number from which -n whole events that match remain. */
static enum status find_first(struct log_reader *reader, struct log_position *position,
                              uint64_t begin, uint64_t last)
{
    uint64_t found = 0, id = last + 1;
    while (id > begin && found < reader->options->count) {
        struct event event;
        enum status status = read_event(reader, --id, &event);
        if (status != STATUS_OK && status != STATUS_DATA_LOSS)
            return status;
        found += status == STATUS_OK && is_wanted(reader->options, &event) ? 1 : 0;
    }
    position->first = id;
    position->next = id > position->next ? id : position->next;
    return STATUS_OK;
}

static enum status read_events(struct log_reader *reader, struct log_position *position,
                               bool *is_end)
{
    uint64_t last, begin = find_begin(reader);
    TRY(find_last(reader, &last));
    if (position->first == 0 && reader->options->has_count && !reader->options->has_after)
        TRY(find_first(reader, position, begin, last));
    skip_archived(reader, position, begin);
    for (int i = 0; i < SLICE_EVENTS && position->next <= last && position->left > 0 &&
                    reader->text.size <= SLICE_BYTES;
         i++, position->next++) {
        struct event event;
        enum status status = read_event(reader, position->next, &event);
        if (status == STATUS_OK)
            status = show(reader, position, &event);
        else if (status == STATUS_DATA_LOSS) {
            position->has_previous = false;
            add_damaged(reader, position, position->next);
            status = STATUS_OK;
        }
        TRY(status);
    }
    *is_end = position->next > last || position->left == 0;
    if (*is_end)
        tell_range(reader, position);
    return STATUS_OK;
}

static enum status read_slice(struct log_reader *reader, struct db *db,
                              struct log_position *position, bool *is_end)
{
    buffer_clear(&reader->text);
    buffer_clear(&reader->complaints);
    TRY(db_begin_read(db, &reader->txn));
    enum status status = read_events(reader, position, is_end);
    db_end(&reader->txn);
    return status;
}

/* OK and *is_end false when the store was changed and has to be opened again. */
static enum status print_store(struct log_reader *reader, bool *is_end)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    TRY(event_store_open_unprobed(&store, reader->settings->data_dir));
    for (*is_end = false; !*is_end;) {
        struct log_position position = reader->progress->position;
        bool is_settled;
        enum status status = read_slice(reader, &store.db, &position, is_end);
        TRY(event_store_is_settled(&store, &is_settled));
        if (!is_settled) {
            *is_end = false;
            return STATUS_OK;
        }
        TRY(status);
        if (reader->text.is_exhausted || reader->complaints.is_exhausted)
            return log_failure(STATUS_RESOURCE_EXHAUSTED, "print the log");
        TRY(fd_write_all(STDOUT_FILENO, buffer_span(&reader->text)));
        TRY(fd_write_all(STDERR_FILENO, buffer_span(&reader->complaints)));
        reader->progress->position = position;
    }
    return STATUS_OK;
}

static enum status print_log(struct log_reader *reader)
{
    bool is_end = false;
    for (int attempt = 0; attempt < READ_ATTEMPTS_MAX && !is_end; attempt++) {
        enum status status = print_store(reader, &is_end);
        if (status == STATUS_NOT_FOUND)
            return STATUS_OK;
        TRY(status);
    }
    if (!is_end)
        return log_failure(STATUS_ABORTED, "read the event store", "reason",
                           "it kept changing while no writer held it");
    uint64_t damaged = reader->progress->position.damaged_count;
    if (damaged == 0)
        return STATUS_OK;
    fprintf(stderr,
            "recoveryd: %" PRIu64 " event%s damaged or could not be read; the rest is whole\n",
            damaged, damaged == 1 ? " is" : "s are");
    return STATUS_DATA_LOSS;
}

int log_reader_run(const struct settings *settings, const struct options *options)
{
    static const int deadly[] = { SIGSEGV, SIGFPE, SIGABRT };
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, STDIN_FILENO, 0);
    if (shared == MAP_FAILED) {
        fputs("recoveryd: " LOG_READER_ARGUMENT " is for recoveryd itself\n", stderr);
        return status_exit_code(STATUS_USAGE);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }); /* none at all: see lifecycle.c */
    page_bytes = sysconf(_SC_PAGESIZE);
    /* Also where a sanitizer has handlers of its own: the signal is the answer. */
    for (size_t i = 0; i < COUNT_OF(deadly); i++)
        signal(deadly[i], SIG_DFL);
    sigaction(SIGBUS, &(struct sigaction){ .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO },
              NULL);
    AUTO(log_reader_close)
    struct log_reader reader = {
        .settings = settings,
        .options = options,
        .progress = shared,
        .arena = { .limit = EVENT_TEXTS_BYTES_MAX },
        .text = { .limit = SLICE_BYTES_MAX },
        .complaints = { .limit = COMPLAINTS_BYTES_MAX },
    };
    return status_exit_code(print_log(&reader));
}
