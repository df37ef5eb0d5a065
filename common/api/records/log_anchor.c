/* A place of the file: magic, number, anchor, hash of these. It is made durable by nobody: an older
 * anchor is as true as a newer one. */
#include "common/api/records/log_anchor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/table.h"

static const uint8_t magic[8] = "SoloAnc1";
enum {
    AT_SEQUENCE = 8,
    AT_ANCHOR = 16,
    AT_HASH = AT_ANCHOR + LOG_ANCHOR_BYTES,
    PLACE_USED_BYTES = AT_HASH + HASH_BYTES,
};
_Static_assert((int)PLACE_USED_BYTES <= (int)LOG_ANCHOR_PLACE_BYTES, "it fits");

void log_anchor_pack(const struct log_anchor *anchor, uint8_t bytes[LOG_ANCHOR_BYTES])
{
    struct table_number id = table_number(anchor->id);
    memcpy(bytes, anchor->branch, 16);
    memcpy(bytes + 16, id.bytes, 8);
    memcpy(bytes + 24, anchor->hash.bytes, HASH_BYTES);
}

bool log_anchor_unpack(struct span bytes, struct log_anchor *anchor)
{
    if (bytes.size != LOG_ANCHOR_BYTES)
        return false;
    memcpy(anchor->branch, bytes.data, 16);
    anchor->id = table_number_value(span_of(bytes.data + 16, 8));
    memcpy(anchor->hash.bytes, bytes.data + 24, HASH_BYTES);
    return true;
}

static bool take_place(const uint8_t place[PLACE_USED_BYTES], struct log_anchor *anchor,
                       uint64_t *sequence)
{
    struct hash hash = hash_of(span_of(place, AT_HASH));
    return memcmp(place, magic, sizeof magic) == 0 &&
           memcmp(hash.bytes, place + AT_HASH, HASH_BYTES) == 0 &&
           log_anchor_unpack(span_of(place + AT_ANCHOR, LOG_ANCHOR_BYTES), anchor) &&
           (*sequence = table_number_value(span_of(place + AT_SEQUENCE, 8))) > 0;
}

enum status log_anchor_file_read(const char *path, struct log_anchor *anchor, uint64_t *sequence)
{
    uint8_t place[PLACE_USED_BYTES];
    *anchor = (struct log_anchor){ 0 };
    *sequence = 0;
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return STATUS_OK;
    if (fd < 0)
        return log_failure(status_from_errno(errno), "read the log's anchor", "path", path,
                           "reason", strerror(errno));
    for (int i = 0; i < LOG_ANCHOR_PLACES; i++) {
        struct log_anchor found;
        uint64_t number;
        if (pread(fd, place, sizeof place, (off_t)i * LOG_ANCHOR_PLACE_BYTES) == sizeof place &&
            take_place(place, &found, &number) && number > *sequence) {
            *anchor = found;
            *sequence = number;
        }
    }
    return STATUS_OK;
}

enum status log_anchor_file_write(int fd, const struct log_anchor *anchor, uint64_t sequence)
{
    uint8_t place[LOG_ANCHOR_PLACE_BYTES] = { 0 };
    struct table_number number = table_number(sequence);
    memcpy(place, magic, sizeof magic);
    memcpy(place + AT_SEQUENCE, number.bytes, 8);
    log_anchor_pack(anchor, place + AT_ANCHOR);
    struct hash hash = hash_of(span_of(place, AT_HASH));
    memcpy(place + AT_HASH, hash.bytes, HASH_BYTES);
    off_t offset = (off_t)(sequence % LOG_ANCHOR_PLACES) * LOG_ANCHOR_PLACE_BYTES;
    ssize_t written;
    do
        written = pwrite(fd, place, sizeof place, offset);
    while (written < 0 && errno == EINTR);
    return written == sizeof place ? STATUS_OK : status_from_errno(written < 0 ? errno : ENOSPC);
}
