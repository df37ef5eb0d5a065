/* JSON and msgpack, there and back, for tests. */
#include "tests/support/wire_json.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

static void write_text_or_bytes(const json_t *value, struct buffer *buffer)
{
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    uint8_t bytes[256];
    if (strncmp(text, "hex:", 4) == 0 && (size - 4) / 2 <= sizeof bytes &&
        hex_parse(text + 4, bytes, (size - 4) / 2))
        write_bin(buffer, span_of(bytes, (size - 4) / 2));
    else
        write_text(buffer, span_of(text, size));
}

void json_to_wire(const json_t *value, struct buffer *buffer)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: {
        write_map(buffer, json_object_size(value));
        const char *key;
        json_t *member;
        json_object_foreach((json_t *)value, key, member)
        {
            write_str(buffer, key);
            json_to_wire(member, buffer);
        }
        break;
    }
    case JSON_ARRAY: {
        write_array(buffer, json_array_size(value));
        size_t i;
        json_t *item;
        json_array_foreach(value, i, item) json_to_wire(item, buffer);
        break;
    }
    case JSON_STRING:
        write_text_or_bytes(value, buffer);
        break;
    case JSON_INTEGER:
        write_i64(buffer, json_integer_value(value));
        break;
    case JSON_REAL:
        write_f64(buffer, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        write_bool(buffer, json_is_true(value));
        break;
    case JSON_NULL:
        write_nil(buffer);
        break;
    }
}

static json_t *json_of_bytes(struct span bytes)
{
    char *text = malloc(5 + 2 * bytes.size);
    if (text == NULL)
        abort();
    memcpy(text, "hex:", 4);
    hex_text(text + 4, bytes.data, bytes.size);
    json_t *value = json_string(text);
    free(text);
    return value;
}

static json_t *json_of_reader(struct reader *reader);

static json_t *json_of_map(struct reader *reader)
{
    uint32_t count;
    if (reader_map(reader, &count) != STATUS_OK)
        return NULL;
    json_t *object = json_object();
    for (uint32_t i = 0; i < count; i++) {
        struct span key;
        json_t *value = NULL;
        if (reader_str(reader, &key) == STATUS_OK)
            value = json_of_reader(reader);
        if (value == NULL ||
            json_object_setn_new(object, (const char *)key.data, key.size, value) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *json_of_array(struct reader *reader)
{
    uint32_t count;
    if (reader_array(reader, &count) != STATUS_OK)
        return NULL;
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_t *value = json_of_reader(reader);
        if (value == NULL || json_array_append_new(array, value) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *json_of_reader(struct reader *reader)
{
    struct span text;
    int64_t integer;
    uint64_t natural;
    double real;
    bool truth;
    switch (reader_peek(reader)) {
    case WIRE_NIL:
        return reader_nil(reader) == STATUS_OK ? json_null() : NULL;
    case WIRE_BOOL:
        return reader_bool(reader, &truth) == STATUS_OK ? json_boolean(truth) : NULL;
    case WIRE_INTEGER:
        if (reader_i64(reader, &integer) == STATUS_OK)
            return json_integer(integer);
        /* Above INT64_MAX: JSON of jansson has no such number, and no test needs it exactly. */
        return reader_u64(reader, &natural) == STATUS_OK ? json_integer(INT64_MAX) : NULL;
    case WIRE_FLOAT:
        return reader_f64(reader, &real) == STATUS_OK ? json_real(real) : NULL;
    case WIRE_STR:
        if (reader_str(reader, &text) != STATUS_OK)
            return NULL;
        return json_stringn((const char *)text.data, text.size);
    case WIRE_BIN:
        return reader_bin(reader, &text) == STATUS_OK ? json_of_bytes(text) : NULL;
    case WIRE_ARRAY:
        return json_of_array(reader);
    case WIRE_MAP:
        return json_of_map(reader);
    case WIRE_NONE:
        break;
    }
    return NULL;
}

json_t *json_of_wire(struct span object)
{
    struct reader reader = reader_of(object);
    json_t *value = json_of_reader(&reader);
    if (value != NULL && reader.rest.size != 0) {
        json_decref(value);
        return NULL;
    }
    return value;
}
