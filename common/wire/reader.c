/* Each function looks at one head and moves the cursor only when all of the object is there. */
#include "common/wire/reader.h"

#include "common/wire/token.h"

static enum status take(struct reader *reader, enum wire_type type, struct token *token)
{
    if (token_parse(reader->rest, token) != TOKEN_WHOLE || token->type != type ||
        token->body_bytes > reader->rest.size - token->head_bytes)
        return STATUS_INVALID_ARGUMENT;
    return STATUS_OK;
}

static void advance(struct reader *reader, size_t size)
{
    reader->rest.data += size;
    reader->rest.size -= size;
}

enum wire_type reader_peek(const struct reader *reader)
{
    struct token token;
    return token_parse(reader->rest, &token) == TOKEN_WHOLE ? token.type : WIRE_NONE;
}

enum status reader_nil(struct reader *reader)
{
    struct token token;
    TRY(take(reader, WIRE_NIL, &token));
    advance(reader, token.head_bytes);
    return STATUS_OK;
}

enum status reader_bool(struct reader *reader, bool *value)
{
    struct token token;
    TRY(take(reader, WIRE_BOOL, &token));
    advance(reader, token.head_bytes);
    *value = token.bits != 0;
    return STATUS_OK;
}

enum status reader_u64(struct reader *reader, uint64_t *value)
{
    struct token token;
    TRY(take(reader, WIRE_INTEGER, &token));
    if (token.is_negative)
        return STATUS_INVALID_ARGUMENT;
    advance(reader, token.head_bytes);
    *value = token.bits;
    return STATUS_OK;
}

enum status reader_i64(struct reader *reader, int64_t *value)
{
    struct token token;
    TRY(take(reader, WIRE_INTEGER, &token));
    if (!token.is_negative && token.bits > INT64_MAX)
        return STATUS_INVALID_ARGUMENT;
    advance(reader, token.head_bytes);
    *value = (int64_t)token.bits;
    return STATUS_OK;
}

enum status reader_f64(struct reader *reader, double *value)
{
    struct token token;
    TRY(take(reader, WIRE_FLOAT, &token));
    if (token.head_bytes == 1 + sizeof(float)) {
        uint32_t bits = (uint32_t)token.bits;
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        *value = (double)narrow;
    } else {
        memcpy(value, &token.bits, sizeof *value);
    }
    advance(reader, token.head_bytes);
    return STATUS_OK;
}

static enum status take_bytes(struct reader *reader, enum wire_type type, struct span *bytes)
{
    struct token token;
    TRY(take(reader, type, &token));
    *bytes = span_of(reader->rest.data + token.head_bytes, (size_t)token.body_bytes);
    advance(reader, token.head_bytes + (size_t)token.body_bytes);
    return STATUS_OK;
}

enum status reader_str(struct reader *reader, struct span *text)
{
    return take_bytes(reader, WIRE_STR, text);
}

enum status reader_bin(struct reader *reader, struct span *bytes)
{
    return take_bytes(reader, WIRE_BIN, bytes);
}

enum status reader_array(struct reader *reader, uint32_t *count)
{
    struct token token;
    TRY(take(reader, WIRE_ARRAY, &token));
    advance(reader, token.head_bytes);
    *count = (uint32_t)token.elements;
    return STATUS_OK;
}

enum status reader_map(struct reader *reader, uint32_t *count)
{
    struct token token;
    TRY(take(reader, WIRE_MAP, &token));
    advance(reader, token.head_bytes);
    *count = (uint32_t)(token.elements / 2);
    return STATUS_OK;
}

/* Counts what is still to come instead of remembering where each container ends: bytes that the
 * scanner has accepted need no second check, and others still cannot lead out of them. */
enum status reader_any(struct reader *reader, struct span *object)
{
    struct reader after = *reader;
    for (uint64_t missing = 1; missing > 0; missing--) {
        struct token token;
        if (token_parse(after.rest, &token) != TOKEN_WHOLE ||
            token.body_bytes > after.rest.size - token.head_bytes)
            return STATUS_INVALID_ARGUMENT;
        advance(&after, token.head_bytes + (size_t)token.body_bytes);
        missing += token.elements;
    }
    *object = span_of(reader->rest.data, reader->rest.size - after.rest.size);
    *reader = after;
    return STATUS_OK;
}

enum status map_find(struct span map, const char *key, struct reader *value)
{
    struct reader reader = reader_of(map);
    struct span wanted = span_of_text(key);
    uint32_t count;
    TRY(reader_map(&reader, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct span name = { 0 }, object;
        if (reader_str(&reader, &name) != STATUS_OK)
            TRY(reader_any(&reader, &object));
        bool is_wanted = name.data != NULL && span_equal(name, wanted);
        TRY(reader_any(&reader, &object));
        if (is_wanted) {
            *value = reader_of(object);
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

uint64_t map_u64(struct span map, const char *key, uint64_t otherwise)
{
    struct reader reader;
    uint64_t value;
    if (map_find(map, key, &reader) != STATUS_OK || reader_u64(&reader, &value) != STATUS_OK)
        return otherwise;
    return value;
}

bool map_bool(struct span map, const char *key, bool otherwise)
{
    struct reader reader;
    bool value;
    if (map_find(map, key, &reader) != STATUS_OK || reader_bool(&reader, &value) != STATUS_OK)
        return otherwise;
    return value;
}

char *map_text(struct span map, const char *key, char *text, size_t size)
{
    struct reader reader;
    struct span value;
    text[0] = '\0';
    if (map_find(map, key, &reader) != STATUS_OK || reader_str(&reader, &value) != STATUS_OK)
        return text;
    size_t length = value.size < size ? value.size : size - 1;
    /* A cut must not leave half of a character. */
    if (length < value.size)
        while (length > 0 && (value.data[length] & 0xc0) == 0x80)
            length--;
    memcpy(text, value.data, length);
    text[length] = '\0';
    return text;
}
