/* The scanner beside msgpack-c: what it accepts msgpack-c unpacks, with the same length; fed in
 * pieces it says the same as in one; and what it refuses or finds incomplete is never a whole
 * object that msgpack-c would take within the same bounds. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <msgpack/unpack.h>

#include "common/base/ensure.h"
#include "common/wire/frame_scanner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Depth, and whether anything inside is an ext: the two things that we refuse and msgpack-c takes.
 */
static bool is_beyond(const msgpack_object *object, unsigned depth)
{
    if (object->type == MSGPACK_OBJECT_EXT)
        return true;
    if (object->type == MSGPACK_OBJECT_ARRAY) {
        if (depth == FRAME_DEPTH_MAX)
            return true;
        for (uint32_t i = 0; i < object->via.array.size; i++)
            if (is_beyond(&object->via.array.ptr[i], depth + 1))
                return true;
    }
    if (object->type == MSGPACK_OBJECT_MAP) {
        if (depth == FRAME_DEPTH_MAX)
            return true;
        for (uint32_t i = 0; i < object->via.map.size; i++)
            if (is_beyond(&object->via.map.ptr[i].key, depth + 1) ||
                is_beyond(&object->via.map.ptr[i].val, depth + 1))
                return true;
    }
    return false;
}

static enum status scan_in_pieces(const uint8_t *data, size_t size, bool *is_complete,
                                  size_t *position)
{
    struct frame_scanner scanner = { 0 };
    const char *rule;
    *is_complete = false;
    for (size_t have = 0; have <= size; have++) {
        enum status status =
            frame_scan(&scanner, span_of(data, have), FRAME_BYTES_MAX, is_complete, &rule);
        if (status != STATUS_OK)
            return status;
        if (*is_complete)
            break;
    }
    *position = scanner.position;
    return STATUS_OK;
}

/* msgpack-c reserves memory for what a container announces, so it may only see what was scanned or
 * what is too short to announce much. */
static bool announces_little(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((data[i] >= 0xdc && data[i] <= 0xdf) || (data[i] >= 0xc6 && data[i] <= 0xc9))
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_scanner scanner = { 0 };
    bool is_complete, is_complete_in_pieces;
    const char *rule = NULL;
    size_t position = 0;
    if (size > 4096)
        return 0;
    enum status status =
        frame_scan(&scanner, span_of(data, size), FRAME_BYTES_MAX, &is_complete, &rule);
    ensure(scanner.position <= size);
    ensure(status == STATUS_OK || rule != NULL);
    ensure(scan_in_pieces(data, size, &is_complete_in_pieces, &position) == status);
    if (status == STATUS_OK)
        ensure(is_complete == is_complete_in_pieces);

    bool is_accepted = status == STATUS_OK && is_complete;
    if (is_accepted) {
        ensure(position == scanner.position);
        /* An object fits into exactly its bytes, and into none fewer. */
        ensure(frame_check(span_of(data, position), position, &rule) == STATUS_OK);
        ensure(frame_check(span_of(data, position), position - 1, &rule) != STATUS_OK);
    }
    if (!is_accepted && !announces_little(data, size))
        return 0;

    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t offset = 0;
    msgpack_unpack_return result =
        msgpack_unpack_next(&unpacked, (const char *)data, size, &offset);
    bool is_whole = result == MSGPACK_UNPACK_SUCCESS || result == MSGPACK_UNPACK_EXTRA_BYTES;
    if (is_accepted) {
        ensure(is_whole);
        ensure(offset == scanner.position);
        ensure(!is_beyond(&unpacked.data, 0));
    } else if (is_whole) {
        ensure(is_beyond(&unpacked.data, 0));
    }
    msgpack_unpacked_destroy(&unpacked);
    return 0;
}
