/* The reader on any bytes: it stays inside them, and what the scanner accepts it walks to the end.
 */
#include <stdint.h>

#include "common/base/ensure.h"
#include "common/wire/frame_scanner.h"
#include "common/wire/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch(struct span bytes)
{
    static volatile uint8_t sum;
    for (size_t i = 0; i < bytes.size; i++)
        sum = (uint8_t)(sum + bytes.data[i]);
}

static enum status walk(struct reader *reader, unsigned depth)
{
    uint32_t count;
    uint64_t number;
    int64_t signed_number;
    double real;
    bool boolean;
    struct span bytes;
    if (depth > FRAME_DEPTH_MAX)
        return STATUS_INVALID_ARGUMENT;
    switch (reader_peek(reader)) {
    case WIRE_NIL:
        return reader_nil(reader);
    case WIRE_BOOL:
        return reader_bool(reader, &boolean);
    case WIRE_INTEGER:
        if (reader_u64(reader, &number) == STATUS_OK)
            return STATUS_OK;
        return reader_i64(reader, &signed_number);
    case WIRE_FLOAT:
        return reader_f64(reader, &real);
    case WIRE_STR:
        TRY(reader_str(reader, &bytes));
        touch(bytes);
        return STATUS_OK;
    case WIRE_BIN:
        TRY(reader_bin(reader, &bytes));
        touch(bytes);
        return STATUS_OK;
    case WIRE_ARRAY:
        TRY(reader_array(reader, &count));
        for (uint32_t i = 0; i < count; i++)
            TRY(walk(reader, depth + 1));
        return STATUS_OK;
    case WIRE_MAP:
        TRY(reader_map(reader, &count));
        for (uint32_t i = 0; i < count; i++) {
            TRY(walk(reader, depth + 1));
            TRY(walk(reader, depth + 1));
        }
        return STATUS_OK;
    case WIRE_NONE:
        return STATUS_INVALID_ARGUMENT;
    }
    return STATUS_INVALID_ARGUMENT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *rule;
    struct span all = span_of(data, size);
    bool is_sound = frame_check(all, FRAME_BYTES_MAX, &rule) == STATUS_OK;
    struct reader reader = reader_of(all);
    enum status status = walk(&reader, 0);
    if (is_sound) {
        ensure(status == STATUS_OK);
        ensure(reader.rest.size == 0);
    }
    ensure(reader.rest.data + reader.rest.size == data + size);

    struct reader whole = reader_of(all);
    struct span object;
    if (reader_any(&whole, &object) == STATUS_OK)
        ensure(object.size + whole.rest.size == size);
    else
        ensure(whole.rest.size == size);

    struct reader value;
    char text[8];
    if (map_find(all, "a", &value) == STATUS_OK)
        touch(value.rest);
    (void)map_u64(all, "a", 0);
    (void)map_bool(all, "a", false);
    ensure(strlen(map_text(all, "a", text, sizeof text)) < sizeof text);
    return 0;
}
