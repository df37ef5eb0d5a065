/* A file is read in blocks; what looks like the beginning of a record is read once more as a whole,
 * because it may lie across blocks. A file of LMDB has the same record many times, on pages that
 * were copied and left: only one of them is kept. */
#include "recoveryd/record_scan.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum {
    BLOCK_BYTES = 1024 * 1024,
    UNREADABLE_STEP = 4096,
    MAGIC_BYTES = 8,
    AT_LENGTH = 12,
    AT_ID = 40,
    AT_PREVIOUS = 96, /* of the same tenant, type and subject */
    AT_PREVIOUS_COUNT = 3,
};

/* --- a list without doubles --- */

static int compare(const void *a_, const void *b_)
{
    const struct scanned *a = a_, *b = b_;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return memcmp(a->hash.bytes, b->hash.bytes, HASH_BYTES);
}

/* Of doubles the one in the earliest file is kept. */
static int compare_files(const void *a, const void *b)
{
    int order = compare(a, b);
    uint32_t one = ((const struct scanned *)a)->file, other = ((const struct scanned *)b)->file;
    return order != 0 ? order : one < other ? -1 : one > other;
}

static void drop_doubles(struct record_scan *scan)
{
    size_t kept = 0;
    if (scan->count == 0)
        return;
    qsort(scan->records, scan->count, sizeof *scan->records, compare_files);
    for (size_t i = 0; i < scan->count; i++)
        if (kept == 0 || compare(&scan->records[kept - 1], &scan->records[i]) != 0)
            scan->records[kept++] = scan->records[i];
    scan->count = kept;
}

static enum status add(struct record_scan *scan, const struct scanned *found)
{
    if (scan->count == scan->capacity && scan->count > 0)
        drop_doubles(scan);
    if (scan->count >= scan->capacity / 2 + scan->capacity / 4) {
        size_t capacity = scan->capacity == 0 ? 1024 : 2 * scan->capacity;
        void *grown = realloc(scan->records, capacity * sizeof *scan->records);
        if (grown == NULL)
            return log_failure(STATUS_RESOURCE_EXHAUSTED, "scan for events", "reason", "no memory");
        scan->records = grown;
        scan->capacity = capacity;
    }
    scan->records[scan->count++] = *found;
    return STATUS_OK;
}

/* --- one record --- */

static bool read_exactly(int fd, void *bytes, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, (uint8_t *)bytes + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* One is open at a time: there may be more of them than descriptors. */
static enum status open_file(struct record_scan *scan, unsigned file)
{
    if (scan->fd >= 0 && scan->opened == file)
        return STATUS_OK;
    fd_close(&scan->fd);
    scan->fd = open(scan->files[file].path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    scan->opened = file;
    return scan->fd >= 0 ? STATUS_OK
                         : log_failure(status_from_errno(errno), "scan for events", "path",
                                       scan->files[file].path, "reason", strerror(errno));
}

static bool read_record(struct record_scan *scan, int fd, uint64_t offset, uint32_t length)
{
    buffer_clear(&scan->record);
    uint8_t *bytes = buffer_reserve(&scan->record, length);
    if (bytes == NULL || !read_exactly(fd, bytes, length, offset))
        return false;
    scan->record.size = length;
    return true;
}

static void ignore_failure(const char *what, const char *reason)
{
    (void)what, (void)reason;
}

/* Before all of it is read: each of its numbers comes before its own. */
static bool is_plausible(const uint8_t header[EVENT_HEADER_BYTES])
{
    uint64_t numbers[AT_PREVIOUS_COUNT], id;
    memcpy(&id, header + AT_ID, sizeof id);
    memcpy(numbers, header + AT_PREVIOUS, sizeof numbers);
    for (size_t i = 0; i < AT_PREVIOUS_COUNT; i++)
        if (le64toh(numbers[i]) >= le64toh(id))
            return false;
    return true;
}

/* What lies at `offset` begins like a record. */
static enum status try_record(struct record_scan *scan, unsigned file, uint64_t offset)
{
    uint8_t header[EVENT_HEADER_BYTES];
    uint32_t length;
    struct event event;
    int fd = scan->fd;
    if (!read_exactly(fd, header, sizeof header, offset))
        return STATUS_OK;
    memcpy(&length, header + AT_LENGTH, sizeof length);
    length = le32toh(length);
    if (length < EVENT_HEADER_BYTES + HASH_BYTES || length > EVENT_RECORD_BYTES_MAX ||
        !is_plausible(header) || !read_record(scan, fd, offset, length))
        return STATUS_OK;
    log_divert_failures(ignore_failure);
    enum status status = event_decode_header(buffer_span(&scan->record), &event);
    log_divert_failures(NULL);
    if (status != STATUS_OK || event.id == 0)
        return STATUS_OK;
    struct scanned found = {
        .id = event.id,
        .hash = event.hash,
        .previous = event.previous_hash,
        .epoch = event.epoch,
        .offset = offset,
        .length = length,
        .file = file,
    };
    memcpy(found.log_id, event.log_id, sizeof found.log_id);
    scan->record_end = offset + length;
    if (!scan->files[file].has_records)
        memcpy(scan->files[file].log_id, event.log_id, sizeof event.log_id);
    scan->files[file].has_records = true;
    return add(scan, &found);
}

/* --- a file --- */

static enum status scan_block(struct record_scan *scan, unsigned file, const uint8_t *block,
                              size_t size, uint64_t offset)
{
    const uint8_t *at = block, *end = block + size;
    while ((at = memmem(at, (size_t)(end - at), EVENT_MAGIC, MAGIC_BYTES)) != NULL) {
        uint64_t place = offset + (uint64_t)(at - block);
        if (place >= scan->record_end)
            TRY(try_record(scan, file, place));
        at++;
    }
    return STATUS_OK;
}

static void free_block(uint8_t **block)
{
    free(*block);
}

static enum status add_file(struct record_scan *scan, const char *path)
{
    struct scanned_file *grown = scan->file_count == SCAN_FILES_MAX
                                     ? NULL
                                     : realloc(scan->files, (scan->file_count + 1) * sizeof *grown);
    if (grown != NULL)
        scan->files = grown;
    char *copy = grown == NULL ? NULL : strdup(path);
    if (copy == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "scan for events", "path", path);
    scan->files[scan->file_count++] = (struct scanned_file){ .path = copy };
    return STATUS_OK;
}

/* Of a file, or of a disk without a file system: nothing else comes to an end for sure. */
static enum status find_end(const struct record_scan *scan, const char *path, uint64_t *end)
{
    struct stat stat;
    off_t last = fstat(scan->fd, &stat) < 0 ? -1 : lseek(scan->fd, 0, SEEK_END);
    if (last < 0)
        return log_failure(status_from_errno(errno), "scan for events", "path", path, "reason",
                           strerror(errno));
    *end = (uint64_t)last;
    return S_ISREG(stat.st_mode) || S_ISBLK(stat.st_mode)
               ? STATUS_OK
               : log_failure(STATUS_INVALID_ARGUMENT, "scan for events", "path", path, "reason",
                             "it is no file");
}

enum status record_scan_file(struct record_scan *scan, const char *path)
{
    AUTO(free_block) uint8_t *block = malloc(BLOCK_BYTES);
    unsigned file = scan->file_count;
    if (block == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "scan for events", "path", path);
    TRY(add_file(scan, path));
    scan->record_end = 0;
    uint64_t end = 0;
    TRY(open_file(scan, file));
    TRY(find_end(scan, path, &end));
    for (uint64_t offset = 0; offset < end;) {
        ssize_t got = pread(scan->fd, block, BLOCK_BYTES, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            scan->unreadable_bytes += UNREADABLE_STEP;
            offset += UNREADABLE_STEP;
            continue;
        }
        if (got < MAGIC_BYTES)
            return STATUS_OK;
        TRY(scan_block(scan, file, block, (size_t)got, offset));
        offset += (uint64_t)got - (MAGIC_BYTES - 1);
    }
    return STATUS_OK;
}

/* --- the chain --- */

static bool is_witnessed(const struct record_scan *scan, const struct scanned *record)
{
    return record->id == scan->witness.id && hash_equal(&record->hash, &scan->witness.hash);
}

static bool is_own(const struct record_scan *scan, const struct scanned *record)
{
    return scan->has_own && record->file == 0;
}

/* The log of the event that the witness names, else the one that most of the records are of, found
 * by a vote, in which the log's own file has the say; the others' are dropped. */
static void choose_log(struct record_scan *scan)
{
    size_t lead = 0, kept = 0;
    bool is_known = false;
    bool is_own_vote = scan->has_own && scan->files[0].has_records;
    for (size_t i = 0; i < scan->count && !is_known; i++) {
        is_known = is_witnessed(scan, &scan->records[i]);
        if (is_known)
            memcpy(scan->log_id, scan->records[i].log_id, 16);
    }
    for (size_t i = 0; i < scan->count && !is_known; i++) {
        if (is_own_vote && !is_own(scan, &scan->records[i]))
            continue;
        bool is_for = memcmp(scan->records[i].log_id, scan->log_id, 16) == 0;
        if (lead == 0)
            memcpy(scan->log_id, scan->records[i].log_id, 16);
        lead += lead == 0 || is_for ? 1 : (size_t)-1;
    }
    for (size_t i = 0; i < scan->count; i++)
        if (memcmp(scan->records[i].log_id, scan->log_id, 16) == 0)
            scan->records[kept++] = scan->records[i];
    scan->count = kept;
}

/* The first record of this number, by halving. */
static size_t first_of(const struct record_scan *scan, uint64_t id)
{
    size_t low = 0, high = scan->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (scan->records[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Of several records that may follow, the one that the witness is for, else one whose story has
 * something of the log's own file (others may be of a branch that was given up), else the one whose
 * story was told last: what a later start of eventd appended in the place of something that never
 * was acknowledged. */
static bool is_better(const struct scanned *a, const struct scanned *b)
{
    if (a->standing != b->standing)
        return a->standing > b->standing;
    if (a->has_own != b->has_own)
        return a->has_own;
    return a->last_epoch > b->last_epoch ||
           (a->last_epoch == b->last_epoch && a->last_id > b->last_id);
}

static const struct scanned *follower(const struct record_scan *scan, uint64_t id,
                                      const struct hash *previous)
{
    const struct scanned *best = NULL;
    for (size_t i = first_of(scan, id); i < scan->count && scan->records[i].id == id; i++) {
        const struct scanned *record = &scan->records[i];
        if (hash_equal(&record->previous, previous) && (best == NULL || is_better(record, best)))
            best = record;
    }
    return best;
}

/* Behind the chain only what is of this log's own story counts: what another branch has there says
 * nothing of what was lost. Where no witness tells how far the log went, it may have gone as far as
 * they do. */
static void drop_strangers(struct record_scan *scan)
{
    size_t kept = 0;
    bool has_own = scan->has_own && scan->files[0].has_records;
    scan->last_id = scan->count == 0 ? 0 : scan->records[scan->count - 1].id;
    for (size_t i = 0; i < scan->count; i++) {
        const struct scanned *record = &scan->records[i];
        if (!has_own || record->id <= scan->chain_count || record->has_own ||
            record->standing == SCAN_WITNESSED)
            scan->records[kept++] = *record;
    }
    scan->count = kept;
    if (scan->witness.id != 0)
        scan->last_id = kept == 0 ? 0 : scan->records[kept - 1].id;
}

enum status record_scan_link(struct record_scan *scan)
{
    struct hash previous = { { 0 } };
    drop_doubles(scan);
    choose_log(scan);
    for (size_t i = scan->count; i-- > 0;) {
        struct scanned *record = &scan->records[i];
        const struct scanned *next = follower(scan, record->id + 1, &record->hash);
        record->last_epoch = next == NULL ? record->epoch : next->last_epoch;
        record->last_id = next == NULL ? record->id : next->last_id;
        record->standing = next == NULL ? SCAN_UNTOLD : next->standing;
        record->has_own = is_own(scan, record) || (next != NULL && next->has_own);
        if (record->id == scan->witness.id)
            record->standing = is_witnessed(scan, record) ? SCAN_WITNESSED : SCAN_CONTRADICTED;
    }
    scan->chain = calloc(scan->count + 1, sizeof *scan->chain);
    if (scan->chain == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "link events", "reason", "no memory");
    for (const struct scanned *next;
         (next = follower(scan, scan->chain_count + 1, &previous)) != NULL;) {
        scan->chain[scan->chain_count++] = (size_t)(next - scan->records);
        previous = next->hash;
    }
    drop_strangers(scan); /* they are sorted: no place in the chain moves */
    return STATUS_OK;
}

bool record_scan_is_contradicted(const struct record_scan *scan)
{
    uint64_t id = scan->witness.id;
    return id > 0 && id <= scan->chain_count &&
           !is_witnessed(scan, &scan->records[scan->chain[id - 1]]);
}

bool record_scan_is_foreign(const struct record_scan *scan, unsigned file)
{
    return scan->files[file].has_records &&
           memcmp(scan->files[file].log_id, scan->log_id, sizeof scan->log_id) != 0;
}

enum status record_scan_read(struct record_scan *scan, const struct scanned *scanned,
                             struct span *record)
{
    struct event event;
    TRY(open_file(scan, scanned->file));
    if (!read_record(scan, scan->fd, scanned->offset, scanned->length))
        return log_failure(STATUS_IO, "read a salvaged event", "event", NUMBER(scanned->id));
    TRY(event_decode_header(buffer_span(&scan->record), &event));
    if (!hash_equal(&event.hash, &scanned->hash))
        return log_failure(STATUS_ABORTED, "read a salvaged event", "event", NUMBER(scanned->id),
                           "reason", "the file changes while it is read");
    *record = buffer_span(&scan->record);
    return STATUS_OK;
}

void record_scan_close(struct record_scan *scan)
{
    for (unsigned i = 0; i < scan->file_count; i++)
        free(scan->files[i].path);
    free(scan->files);
    scan->files = NULL;
    scan->file_count = 0;
    fd_close(&scan->fd);
    free(scan->records);
    free(scan->chain);
    scan->records = NULL;
    scan->chain = NULL;
    scan->count = scan->capacity = scan->chain_count = 0;
    buffer_close(&scan->record);
}
