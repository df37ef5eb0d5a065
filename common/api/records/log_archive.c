/* Written and read once from begin to end, in blocks; the digest of the file is that of what was
 * written, and is computed from what is read back. */
#include "common/api/records/log_archive.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/records/log_cut.h"
#include "common/api/records/log_state.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum {
    BLOCK_BYTES = 256 * 1024,
    MAGIC_BYTES = 8,
    RECORD_LENGTH = 12, /* its place in a record */
    HEAD_LOG = 8,
    HEAD_FIRST = 24,
    HEAD_BEFORE = 32,
    TAIL_LAST = 8,
    TAIL_RECORDS = 16,
    TAIL_STATE_BYTES = 24,
    TAIL_HASH = 32,
    TAIL_STATE = 64,
    TAIL_WALL = 96,
    TAIL_DIGEST = 104,
};
_Static_assert(HEAD_BEFORE + HASH_BYTES == LOG_ARCHIVE_HEAD_BYTES, "the head ends there");
_Static_assert(TAIL_DIGEST + HASH_BYTES == LOG_ARCHIVE_TAIL_BYTES, "the tail ends there");
static const char head_magic[] = "SoloArc1", tail_magic[] = "SoloArcE";

static void put_u64(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof value);
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

/* --- names --- */

char *log_archive_name(char name[LOG_ARCHIVE_NAME_BYTES], uint64_t first, uint64_t last,
                       const char *suffix)
{
    snprintf(name, LOG_ARCHIVE_NAME_BYTES, "events-%020" PRIu64 "-%020" PRIu64 "%s", first, last,
             suffix);
    return name;
}

bool log_archive_name_parse(const char *name, const char *suffix, uint64_t *first, uint64_t *last)
{
    char again[LOG_ARCHIVE_NAME_BYTES];
    return sscanf(name, "events-%20" SCNu64 "-%20" SCNu64, first, last) == 2 && *first > 0 &&
           *first <= *last && strcmp(name, log_archive_name(again, *first, *last, suffix)) == 0;
}

enum status log_archive_folder(char path[4096], const char *data_dir, const char *configured)
{
    if (strcmp(configured, "auto") == 0)
        return path_join(path, data_dir, "archive");
    if (configured[0] != '/')
        return log_failure(STATUS_INVALID_ARGUMENT, "find the archives of the log", "archive_dir",
                           configured, "reason", "must be an absolute path, or auto");
    return path_join(path, configured, "");
}

/* --- writing --- */

static enum status flush(struct log_archive_writer *writer)
{
    struct span pending = buffer_span(&writer->pending);
    hash_add(&writer->digest, pending);
    enum status status = fd_write_all(writer->fd, pending);
    buffer_clear(&writer->pending);
    return status == STATUS_OK
               ? STATUS_OK
               : log_failure(status, "write an archive of the log", "reason", strerror(errno));
}

static enum status give(struct log_archive_writer *writer, struct span bytes)
{
    if (writer->pending.size + bytes.size > writer->pending.limit)
        TRY(flush(writer));
    if (buffer_append(&writer->pending, bytes.data, bytes.size) != STATUS_OK)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "write an archive of the log");
    return STATUS_OK;
}

enum status log_archive_begin(struct log_archive_writer *writer, int fd, const uint8_t log_id[16],
                              uint64_t first, const struct hash *before)
{
    uint8_t head[LOG_ARCHIVE_HEAD_BYTES];
    *writer = (struct log_archive_writer){
        .fd = fd,
        .pending = { .limit = LOG_STATE_BYTES_MAX + BLOCK_BYTES },
    };
    hash_begin(&writer->digest);
    memcpy(head, head_magic, MAGIC_BYTES);
    memcpy(head + HEAD_LOG, log_id, 16);
    put_u64(head + HEAD_FIRST, first);
    memcpy(head + HEAD_BEFORE, before->bytes, HASH_BYTES);
    return give(writer, span_of(head, sizeof head));
}

enum status log_archive_add(struct log_archive_writer *writer, struct span record)
{
    TRY(give(writer, record));
    writer->record_bytes += record.size;
    return writer->pending.size >= BLOCK_BYTES ? flush(writer) : STATUS_OK;
}

enum status log_archive_end(struct log_archive_writer *writer, uint64_t last_wall_ns,
                            struct log_fold *fold)
{
    AUTO(buffer_close) struct buffer state = { .limit = LOG_STATE_BYTES_MAX };
    uint8_t tail[LOG_ARCHIVE_TAIL_BYTES];
    TRY(log_state_pack(fold, &state));
    TRY(give(writer, buffer_span(&state)));
    struct hash digest = hash_of(buffer_span(&state));
    memcpy(tail, tail_magic, MAGIC_BYTES);
    put_u64(tail + TAIL_LAST, fold->next - 1);
    put_u64(tail + TAIL_RECORDS, writer->record_bytes);
    put_u64(tail + TAIL_STATE_BYTES, state.size);
    memcpy(tail + TAIL_HASH, fold->previous.bytes, HASH_BYTES);
    memcpy(tail + TAIL_STATE, digest.bytes, HASH_BYTES);
    put_u64(tail + TAIL_WALL, last_wall_ns);
    TRY(give(writer, span_of(tail, TAIL_DIGEST)));
    TRY(flush(writer));
    digest = hash_end(&writer->digest);
    TRY(give(writer, span_of(digest.bytes, HASH_BYTES)));
    return flush(writer);
}

void log_archive_writer_close(struct log_archive_writer *writer)
{
    buffer_close(&writer->pending);
}

/* --- reading --- */

static enum status refuse(const struct log_archive *archive, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "read an archive of the log", "path", archive->path,
                       "event", NUMBER(archive->next), "reason", reason);
}

static enum status read_at(const struct log_archive *archive, uint64_t offset, void *bytes,
                           size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got =
            pread(archive->fd, (uint8_t *)bytes + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return log_failure(status_from_errno(errno), "read an archive of the log", "path",
                               archive->path, "reason", strerror(errno));
        if (got == 0)
            return refuse(archive, "it ends before its end");
        done += (size_t)got;
    }
    return STATUS_OK;
}

static enum status read_head(struct log_archive *archive)
{
    uint8_t head[LOG_ARCHIVE_HEAD_BYTES];
    struct stat file;
    if (fstat(archive->fd, &file) < 0)
        return log_failure(status_from_errno(errno), "read an archive of the log", "path",
                           archive->path, "reason", strerror(errno));
    archive->bytes = (uint64_t)file.st_size;
    if (archive->bytes < sizeof head)
        return refuse(archive, "it is too short to be one");
    TRY(read_at(archive, 0, head, sizeof head));
    archive->first = archive->next = get_u64(head + HEAD_FIRST);
    if (memcmp(head, head_magic, MAGIC_BYTES) != 0 || archive->first == 0)
        return refuse(archive, "it does not begin as one");
    memcpy(archive->log_id, head + HEAD_LOG, sizeof archive->log_id);
    memcpy(archive->before.bytes, head + HEAD_BEFORE, HASH_BYTES);
    archive->previous = archive->before;
    return STATUS_OK;
}

static enum status read_tail(struct log_archive *archive)
{
    uint8_t tail[LOG_ARCHIVE_TAIL_BYTES];
    uint64_t inside = archive->bytes - LOG_ARCHIVE_HEAD_BYTES;
    if (inside < sizeof tail)
        return refuse(archive, "it is cut off");
    inside -= sizeof tail;
    TRY(read_at(archive, archive->bytes - sizeof tail, tail, sizeof tail));
    if (memcmp(tail, tail_magic, MAGIC_BYTES) != 0)
        return refuse(archive, "it does not end as one: is it cut off?");
    archive->last = get_u64(tail + TAIL_LAST);
    archive->record_bytes = get_u64(tail + TAIL_RECORDS);
    archive->state_bytes = get_u64(tail + TAIL_STATE_BYTES);
    memcpy(archive->hash.bytes, tail + TAIL_HASH, HASH_BYTES);
    memcpy(archive->state.bytes, tail + TAIL_STATE, HASH_BYTES);
    archive->wall_ns = get_u64(tail + TAIL_WALL);
    memcpy(archive->digest.bytes, tail + TAIL_DIGEST, HASH_BYTES);
    return archive->first <= archive->last && archive->state_bytes <= LOG_STATE_BYTES_MAX &&
                   archive->record_bytes <= inside &&
                   inside - archive->record_bytes == archive->state_bytes
               ? STATUS_OK
               : refuse(archive, "what it says of itself does not fit");
}

static enum status read_ends(struct log_archive *archive, bool may_be_cut)
{
    TRY(read_head(archive));
    enum status status = read_tail(archive);
    if (status != STATUS_DATA_LOSS || !may_be_cut)
        return status;
    archive->is_cut = true;
    archive->last = UINT64_MAX;
    archive->record_bytes = archive->bytes - LOG_ARCHIVE_HEAD_BYTES;
    return STATUS_OK;
}

static enum status open_fd(struct log_archive *archive, int fd, const char *name, bool may_be_cut)
{
    *archive = (struct log_archive){
        .fd = fd,
        .block = { .limit = EVENT_RECORD_BYTES_MAX + BLOCK_BYTES },
    };
    snprintf(archive->path, sizeof archive->path, "%s", name);
    enum status status = read_ends(archive, may_be_cut);
    if (status != STATUS_OK)
        log_archive_close(archive);
    return status;
}

enum status log_archive_open_fd(struct log_archive *archive, int fd, const char *name)
{
    return open_fd(archive, fd, name, false);
}

static enum status open_path(struct log_archive *archive, const char *path, bool may_be_cut)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    *archive = (struct log_archive){ .fd = -1 };
    return fd < 0 ? log_failure(status_from_errno(errno), "open an archive of the log", "path",
                                path, "reason", strerror(errno))
                  : open_fd(archive, fd, path, may_be_cut);
}

enum status log_archive_open(struct log_archive *archive, const char *path)
{
    return open_path(archive, path, false);
}

enum status log_archive_open_begun(struct log_archive *archive, const char *path)
{
    return open_path(archive, path, true);
}

void log_archive_close(struct log_archive *archive)
{
    if (archive->fd >= 0)
        close(archive->fd);
    archive->fd = -1;
    buffer_close(&archive->block);
}

/* At least `size` bytes of what follows in the block, if the records have as many. */
static enum status fill(struct log_archive *archive, size_t size)
{
    size_t held = archive->block.size - archive->at;
    uint64_t left = archive->record_bytes - archive->offset;
    if (held >= size || left == 0)
        return STATUS_OK;
    buffer_consume(&archive->block, archive->at);
    archive->at = 0;
    size_t wanted = size - held < BLOCK_BYTES ? BLOCK_BYTES : size - held;
    wanted = wanted < left ? wanted : (size_t)left;
    uint8_t *room = buffer_reserve(&archive->block, wanted);
    if (room == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "read an archive of the log");
    TRY(read_at(archive, LOG_ARCHIVE_HEAD_BYTES + archive->offset, room, wanted));
    archive->block.size += wanted;
    archive->offset += wanted;
    return STATUS_OK;
}

static enum status check_record(struct log_archive *archive, struct span record)
{
    struct event event;
    TRY(event_decode_header(record, &event));
    if (event.id != archive->next || event.id > archive->last)
        return refuse(archive, "another event lies at its place");
    if (memcmp(event.log_id, archive->log_id, sizeof event.log_id) != 0)
        return refuse(archive, "the event belongs to another log");
    if (!hash_equal(&event.previous_hash, &archive->previous))
        return refuse(archive, "it does not follow the event before it");
    archive->previous = event.hash;
    archive->next++;
    return STATUS_OK;
}

static enum status check_end(struct log_archive *archive)
{
    if (archive->is_cut)
        return refuse(archive, "it is cut off");
    if (archive->next != archive->last + 1)
        return refuse(archive, "it has fewer events than it says");
    return hash_equal(&archive->previous, &archive->hash)
               ? STATUS_NOT_FOUND
               : refuse(archive, "its last event is another one than it says");
}

enum status log_archive_next(struct log_archive *archive, struct span *record)
{
    uint32_t length;
    TRY(fill(archive, EVENT_HEADER_BYTES));
    size_t held = archive->block.size - archive->at;
    if (held == 0 && archive->offset == archive->record_bytes)
        return check_end(archive);
    if (held < EVENT_HEADER_BYTES)
        return refuse(archive, "a record is cut");
    memcpy(&length, archive->block.data + archive->at + RECORD_LENGTH, sizeof length);
    length = le32toh(length);
    if (length < EVENT_HEADER_BYTES + HASH_BYTES || length > EVENT_RECORD_BYTES_MAX)
        return refuse(archive, "a record has no length that can be");
    TRY(fill(archive, length));
    if (archive->block.size - archive->at < length)
        return refuse(archive, "a record is cut");
    *record = span_of(archive->block.data + archive->at, length);
    TRY(check_record(archive, *record));
    archive->at += length;
    return STATUS_OK;
}

static bool is_later(const struct log_archive *archive, struct span record, struct event *event)
{
    return event_decode_header(record, event) == STATUS_OK &&
           memcmp(event->log_id, archive->log_id, sizeof event->log_id) == 0 &&
           event->id >= archive->next && event->id <= archive->last;
}

/* At the next place where a record may begin; not_found: there is none. */
static enum status find_record(struct log_archive *archive, uint32_t *length)
{
    for (;;) {
        TRY(fill(archive, EVENT_HEADER_BYTES));
        size_t held = archive->block.size - archive->at;
        if (held < EVENT_HEADER_BYTES)
            return STATUS_NOT_FOUND;
        const uint8_t *from = archive->block.data + archive->at;
        const uint8_t *found = memmem(from, held, EVENT_MAGIC, MAGIC_BYTES);
        archive->at += found == NULL ? held - (MAGIC_BYTES - 1) : (size_t)(found - from);
        if (found == NULL)
            continue;
        TRY(fill(archive, EVENT_HEADER_BYTES));
        if (archive->block.size - archive->at < EVENT_HEADER_BYTES)
            return STATUS_NOT_FOUND;
        memcpy(length, archive->block.data + archive->at + RECORD_LENGTH, sizeof *length);
        *length = le32toh(*length);
        return STATUS_OK;
    }
}

enum status log_archive_pass(struct log_archive *archive)
{
    uint32_t length;
    if (archive->at < archive->block.size) /* else all was read, and the end is what is damaged */
        archive->at++;
    for (;; archive->at++) {
        struct event event;
        TRY(find_record(archive, &length));
        if (length < EVENT_HEADER_BYTES + HASH_BYTES || length > EVENT_RECORD_BYTES_MAX)
            continue;
        TRY(fill(archive, length));
        if (archive->block.size - archive->at < length ||
            !is_later(archive, span_of(archive->block.data + archive->at, length), &event))
            continue;
        archive->next = event.id;
        archive->previous = event.previous_hash;
        return STATUS_OK;
    }
}

enum status log_archive_read_state(struct log_archive *archive, struct buffer *state)
{
    buffer_clear(state);
    uint8_t *room = buffer_reserve(state, archive->state_bytes + 1);
    if (room == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "read an archive of the log");
    TRY(read_at(archive, LOG_ARCHIVE_HEAD_BYTES + archive->record_bytes, room,
                archive->state_bytes));
    state->size = archive->state_bytes;
    struct hash digest = hash_of(buffer_span(state));
    return hash_equal(&digest, &archive->state)
               ? STATUS_OK
               : refuse(archive, "its state does not match the digest");
}

/* --- verifying --- */

static enum status verify_digest(struct log_archive *archive)
{
    AUTO(buffer_close) struct buffer block = { .limit = BLOCK_BYTES };
    struct hash_state state;
    uint8_t *bytes = buffer_reserve(&block, BLOCK_BYTES);
    uint64_t end = archive->bytes - HASH_BYTES;
    if (bytes == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "read an archive of the log");
    hash_begin(&state);
    for (uint64_t offset = 0; offset < end;) {
        size_t size = end - offset < BLOCK_BYTES ? (size_t)(end - offset) : BLOCK_BYTES;
        TRY(read_at(archive, offset, bytes, size));
        hash_add(&state, span_of(bytes, size));
        offset += size;
    }
    struct hash digest = hash_end(&state);
    return hash_equal(&digest, &archive->digest) ? STATUS_OK
                                                 : refuse(archive, "its digest does not match");
}

static enum status fold_record(struct log_fold *fold, struct span record)
{
    struct event event;
    arena_reset(&fold->arena);
    TRY(event_decode(record, &fold->arena, &event));
    return log_fold_take(fold, &event);
}

static enum status compare_state(struct log_archive *archive, struct log_fold *fold)
{
    AUTO(buffer_close) struct buffer folded = { .limit = LOG_STATE_BYTES_MAX };
    TRY(log_state_pack(fold, &folded));
    struct hash digest = hash_of(buffer_span(&folded));
    return hash_equal(&digest, &archive->state)
               ? STATUS_OK
               : refuse(archive, "its state is not what the events come to");
}

enum status log_archive_verify(struct log_archive *archive, struct log_fold *fold)
{
    AUTO(buffer_close) struct buffer state = { .limit = LOG_STATE_BYTES_MAX + 1 };
    enum status status;
    struct span record;
    TRY(verify_digest(archive));
    while ((status = log_archive_next(archive, &record)) == STATUS_OK)
        if (fold != NULL)
            TRY(fold_record(fold, record));
    if (status != STATUS_NOT_FOUND)
        return status;
    TRY(log_archive_read_state(archive, &state));
    return fold == NULL ? STATUS_OK : compare_state(archive, fold);
}

void log_archive_describe(const struct log_archive *archive, struct log_checkpoint *checkpoint)
{
    memcpy(checkpoint->store, archive->log_id, sizeof checkpoint->store);
    checkpoint->first = archive->first;
    checkpoint->last = archive->last;
    checkpoint->before = archive->before;
    checkpoint->hash = archive->hash;
    checkpoint->wall_ns = archive->wall_ns;
    checkpoint->state = archive->state;
    checkpoint->bytes = archive->bytes;
    checkpoint->archive = archive->digest;
}

enum status log_archive_fits(const struct log_archive *archive,
                             const struct log_checkpoint *checkpoint)
{
    struct log_checkpoint described = *checkpoint;
    log_archive_describe(archive, &described);
    return memcmp(&described, checkpoint, sizeof described) == 0
               ? STATUS_OK
               : refuse(archive, "its checkpoint is about another file");
}
