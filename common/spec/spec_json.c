/* JSON in by way of jansson, JSON out by hand. Inward, values are packed as they are written: what
 * is allowed is decided by spec_decode alone, on the packed form. Outward, every control character
 * is escaped, also those above 0x7f, so that the text may be shown on a terminal. */
#include "common/spec/spec_json.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/spec/spec_values.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

/* Where a value stands in a text that holds several. */
struct json_position {
    size_t line, column; /* both from 1 */
};

enum { KEY_SHOWN_BYTES = 128 };

static void json_free(json_t **json)
{
    json_decref(*json);
}

/* The text that ends before `end` as the key does that jansson has just read; empty when none does.
 */
static struct span key_before(struct span text, size_t end)
{
    if (end > text.size || end < 2 || text.data[end - 1] != '"')
        return (struct span){ 0 };
    size_t last = end - 1; /* the closing quote */
    for (size_t first = last; first-- > 0;) {
        size_t escapes = 0;
        while (escapes < first && text.data[first - 1 - escapes] == '\\')
            escapes++;
        if (text.data[first] == '"' && escapes % 2 == 0)
            return span_of(text.data + first + 1, last - first - 1);
    }
    return (struct span){ 0 };
}

/* jansson's messages, put for the one who wrote the text, which begins at `start`. */
static enum status refuse_json(const json_error_t *error, struct span text,
                               struct json_position start, struct problem *problem)
{
    size_t line = start.line + (error->line > 0 ? (size_t)error->line - 1 : 0);
    size_t column = error->column > 0 ? (size_t)error->column : 1;
    if (error->line <= 1)
        column += start.column - 1;
    if (json_error_code(error) == json_error_duplicate_key) {
        char key[KEY_SHOWN_BYTES];
        text_printable(key, sizeof key, key_before(text, (size_t)error->position));
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "",
                           "line %zu, column %zu: the key \"%s\" is there already in this object",
                           line, column, key);
    }
    char shown[sizeof error->text];
    text_printable(shown, sizeof shown, span_of_text(error->text));
    const char *what = json_error_code(error) == json_error_null_character
                           ? "NUL (\\u0000) is not allowed in text"
                           : shown;
    return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "not JSON: line %zu, column %zu: %s",
                       line, column, what);
}

static enum status pack(const json_t *json, size_t depth, struct buffer *buffer,
                        struct problem *problem)
{
    if (depth > FRAME_DEPTH_MAX)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "",
                           "must not be nested deeper than %d", FRAME_DEPTH_MAX);
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        write_map(buffer, json_object_size(json));
        for (void *at = json_object_iter((json_t *)json); at != NULL;
             at = json_object_iter_next((json_t *)json, at)) {
            write_str(buffer, json_object_iter_key(at));
            TRY(pack(json_object_iter_value(at), depth + 1, buffer, problem));
        }
        break;
    case JSON_ARRAY:
        write_array(buffer, json_array_size(json));
        for (size_t i = 0; i < json_array_size(json); i++)
            TRY(pack(json_array_get(json, i), depth + 1, buffer, problem));
        break;
    case JSON_STRING:
        write_text(buffer, span_of(json_string_value(json), json_string_length(json)));
        break;
    case JSON_INTEGER:
        write_i64(buffer, json_integer_value(json));
        break;
    case JSON_REAL:
        write_f64(buffer, json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        write_bool(buffer, json_is_true(json));
        break;
    case JSON_NULL:
        write_nil(buffer);
        break;
    }
    return STATUS_OK;
}

static enum status pack_spec(const json_t *json, struct buffer *map, struct problem *problem)
{
    if (!json_is_object(json))
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "a spec must be a JSON object");
    TRY(pack(json, 1, map, problem));
    if (map->is_exhausted)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "",
                           "the spec must be at most %zu bytes", map->limit);
    return STATUS_OK;
}

enum status spec_from_json(struct span text, struct buffer *map, struct problem *problem)
{
    json_error_t error;
    AUTO(json_free)
    json_t *json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        return refuse_json(&error, text, (struct json_position){ 1, 1 }, problem);
    return pack_spec(json, map, problem);
}

enum status object_from_json(struct span text, struct buffer *map, struct problem *problem)
{
    json_error_t error;
    AUTO(json_free)
    json_t *json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        return refuse_json(&error, text, (struct json_position){ 1, 1 }, problem);
    if (!json_is_object(json))
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "must be a JSON object");
    TRY(pack(json, 1, map, problem));
    return map->is_exhausted ? problem_set(problem, STATUS_INVALID_ARGUMENT, "",
                                           "must be at most %zu bytes", map->limit)
                             : STATUS_OK;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* Moves past `size` bytes, and past blanks that follow. */
static void advance(struct span *rest, size_t size, struct json_position *position)
{
    size_t i = 0;
    for (; i < rest->size && (i < size || is_blank(rest->data[i])); i++) {
        bool is_line_end = rest->data[i] == '\n';
        position->line += is_line_end ? 1 : 0;
        position->column = is_line_end ? 1 : position->column + 1;
    }
    *rest = span_of(rest->data + i, rest->size - i);
}

typedef enum status (*take_spec)(void *context, struct span map, const char *place,
                                 struct problem *problem);

static enum status take_packed(const json_t *json, const char *place, take_spec take, void *context,
                               struct problem *problem)
{
    AUTO(buffer_close) struct buffer map = { .limit = SPEC_BYTES_MAX };
    enum status status = pack_spec(json, &map, problem);
    if (status != STATUS_OK) {
        problem_prefix(problem, place);
        return status;
    }
    return take(context, buffer_span(&map), place, problem);
}

enum status specs_from_json(struct span text, take_spec take, void *context,
                            struct problem *problem)
{
    struct json_position position = { 1, 1 };
    struct span rest = text;
    advance(&rest, 0, &position);
    if (rest.size == 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "there is no spec in it");
    for (bool is_first = true; rest.size > 0; is_first = false) {
        struct json_position start = position;
        json_error_t error;
        AUTO(json_free)
        json_t *json = json_loadb((const char *)rest.data, rest.size,
                                  JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &error);
        if (json == NULL)
            return refuse_json(&error, rest, start, problem);
        advance(&rest, (size_t)error.position, &position);
        bool is_only = is_first && rest.size == 0;
        char place[PLACE_BYTES] = "";
        if (json_is_array(json) && is_only) {
            for (size_t i = 0; i < json_array_size(json); i++)
                TRY(take_packed(json_array_get(json, i), place_index(place, "", i), take, context,
                                problem));
            continue;
        }
        if (!is_only)
            snprintf(place, sizeof place, "line %zu", start.line);
        TRY(take_packed(json, place, take, context, problem));
    }
    return STATUS_OK;
}

/* The length of the UTF-8 sequence that begins here, 0 when none does. */
static size_t sequence_bytes(const uint8_t *at, size_t left)
{
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (size > left || (at[0] != 0 && !utf8_is_valid(span_of(at, size))))
        return 0;
    return size;
}

static void show_text(struct span value, struct buffer *text)
{
    buffer_append_text(text, "\"");
    for (size_t i = 0, size; i < value.size; i += size) {
        const uint8_t *at = value.data + i;
        size = sequence_bytes(at, value.size - i);
        if (size == 0) {
            buffer_append_text(text, "\\ufffd");
            size = 1;
        } else if (at[0] == '"' || at[0] == '\\') {
            buffer_append_format(text, "\\%c", at[0]);
        } else if (at[0] == '\n') {
            buffer_append_text(text, "\\n");
        } else if (at[0] < 0x20 || at[0] == 0x7f) {
            buffer_append_format(text, "\\u%04x", at[0]);
        } else if (at[0] == 0xc2 && at[1] < 0xa0) {
            buffer_append_format(text, "\\u%04x", at[1]);
        } else {
            buffer_append(text, at, size);
        }
    }
    buffer_append_text(text, "\"");
}

static enum status show(struct reader *reader, size_t depth, struct buffer *text);

/* JSON knows text keys only; others are shown as the text of their JSON. */
static enum status show_key(struct reader *reader, size_t depth, struct buffer *text)
{
    struct span key;
    if (reader_str(reader, &key) == STATUS_OK) {
        show_text(key, text);
        return STATUS_OK;
    }
    AUTO(buffer_close) struct buffer inner = { .limit = FRAME_BYTES_MAX };
    TRY(show(reader, depth, &inner));
    show_text(buffer_span(&inner), text);
    return STATUS_OK;
}

static enum status show_number(struct reader *reader, struct buffer *text)
{
    uint64_t natural;
    int64_t integer;
    double real;
    if (reader_u64(reader, &natural) == STATUS_OK)
        return buffer_append_format(text, "%" PRIu64, natural);
    if (reader_i64(reader, &integer) == STATUS_OK)
        return buffer_append_format(text, "%" PRId64, integer);
    TRY(reader_f64(reader, &real));
    if (!isfinite(real))
        return buffer_append_text(text, "null");
    /* A number with a fraction stays one when it is read again. */
    char digits[40];
    snprintf(digits, sizeof digits, "%.17g", real);
    return buffer_append_format(text, "%s%s", digits, strpbrk(digits, ".e") == NULL ? ".0" : "");
}

static enum status show(struct reader *reader, size_t depth, struct buffer *text)
{
    if (depth > FRAME_DEPTH_MAX)
        return STATUS_INVALID_ARGUMENT;
    struct span bytes;
    uint32_t count;
    bool flag;
    switch (reader_peek(reader)) {
    case WIRE_NIL:
        TRY(reader_nil(reader));
        buffer_append_text(text, "null");
        break;
    case WIRE_BOOL:
        TRY(reader_bool(reader, &flag));
        buffer_append_text(text, flag ? "true" : "false");
        break;
    case WIRE_INTEGER:
    case WIRE_FLOAT:
        return show_number(reader, text);
    case WIRE_STR:
        TRY(reader_str(reader, &bytes));
        show_text(bytes, text);
        break;
    case WIRE_BIN:
        TRY(reader_bin(reader, &bytes));
        buffer_append_text(text, "\"");
        for (size_t i = 0; i < bytes.size; i++)
            buffer_append_format(text, "%02x", bytes.data[i]);
        buffer_append_text(text, "\"");
        break;
    case WIRE_ARRAY:
        TRY(reader_array(reader, &count));
        buffer_append_text(text, "[");
        for (uint32_t i = 0; i < count; i++) {
            buffer_append_text(text, i == 0 ? "" : ", ");
            TRY(show(reader, depth + 1, text));
        }
        buffer_append_text(text, "]");
        break;
    case WIRE_MAP:
        TRY(reader_map(reader, &count));
        buffer_append_text(text, "{");
        for (uint32_t i = 0; i < count; i++) {
            buffer_append_text(text, i == 0 ? "" : ", ");
            TRY(show_key(reader, depth + 1, text));
            buffer_append_text(text, ": ");
            TRY(show(reader, depth + 1, text));
        }
        buffer_append_text(text, "}");
        break;
    case WIRE_NONE:
        return STATUS_INVALID_ARGUMENT;
    }
    return STATUS_OK;
}

enum status json_from_wire(struct span object, struct buffer *text)
{
    struct reader reader = reader_of(object);
    TRY(show(&reader, 1, text));
    if (reader.rest.size > 0)
        return STATUS_INVALID_ARGUMENT;
    return text->is_exhausted ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}
