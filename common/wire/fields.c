/* One walk over the kinds gives every member's place; then each key of the map is looked up in the
 * table and its value checked and put there. A draft is filled first and copied at the end, so that
 * the caller's struct is complete or untouched. */
#include "common/wire/fields.h"

#include <stdalign.h>
#include <stdio.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

_Static_assert(FIELDS_STRUCT_BYTES_MAX >= FIELDS_MAX * HASH_BYTES,
               "a struct of the widest kind fits");

static const struct {
    const char *name;
    size_t size, alignment;
} kinds[] = {
    [FIELD_bool] = { "bool", sizeof(bool), alignof(bool) },
    [FIELD_u64] = { "u64", sizeof(uint64_t), alignof(uint64_t) },
    [FIELD_i64] = { "i64", sizeof(int64_t), alignof(int64_t) },
    [FIELD_str] = { "str", sizeof(const char *), alignof(const char *) },
    [FIELD_name] = { "name", sizeof(const char *), alignof(const char *) },
    [FIELD_secret] = { "secret", sizeof(const char *), alignof(const char *) },
    [FIELD_bytes] = { "bytes", sizeof(struct span), alignof(struct span) },
    [FIELD_hash] = { "hash", sizeof(struct hash), alignof(struct hash) },
    [FIELD_str_list] = { "str_list", sizeof(struct str_list), alignof(struct str_list) },
    [FIELD_map] = { "map", sizeof(struct span), alignof(struct span) },
    [FIELD_list] = { "list", sizeof(struct span), alignof(struct span) },
};

const char *field_kind_name(enum field_kind kind)
{
    ensure((size_t)kind < COUNT_OF(kinds));
    return kinds[kind].name;
}

struct places {
    uint16_t offsets[FIELDS_MAX];
};

static size_t aligned(size_t size, size_t alignment)
{
    return (size + alignment - 1) & ~(alignment - 1);
}

static void places_of(const struct field_table *table, struct places *places)
{
    ensure(table->count <= FIELDS_MAX);
    ensure(table->struct_bytes <= FIELDS_STRUCT_BYTES_MAX);
    size_t end = 0, greatest = 1;
    for (size_t i = 0; i < table->count; i++) {
        enum field_kind kind = table->fields[i].kind;
        end = aligned(end, kinds[kind].alignment);
        places->offsets[i] = (uint16_t)end;
        end += kinds[kind].size;
        if (kinds[kind].alignment > greatest)
            greatest = kinds[kind].alignment;
    }
    ensure(aligned(end, greatest) == table->struct_bytes);
}

/* ---- decoding ---- */

struct decoder {
    const struct field *field;
    struct reader *reader;
    struct arena *arena;
    struct problem *problem;
};

static enum status wrong_type(const struct decoder *decoder, const char *wanted)
{
    return problem_set(decoder->problem, STATUS_INVALID_ARGUMENT, decoder->field->name,
                       "must be %s", wanted);
}

static enum status out_of_bound(const struct decoder *decoder, const char *what)
{
    return problem_set(decoder->problem, STATUS_INVALID_ARGUMENT, decoder->field->name, "%s %llu",
                       what, (unsigned long long)decoder->field->bound);
}

static bool is_over(const struct decoder *decoder, uint64_t value)
{
    return decoder->field->bound != 0 && value > decoder->field->bound;
}

static enum status no_memory(const struct decoder *decoder)
{
    return problem_set(decoder->problem, STATUS_RESOURCE_EXHAUSTED, decoder->field->name,
                       "is more than one request may hold");
}

static enum status decode_text(const struct decoder *decoder, const char **out)
{
    struct span text;
    if (reader_str(decoder->reader, &text) != STATUS_OK)
        return wrong_type(decoder, "text");
    if (is_over(decoder, text.size))
        return out_of_bound(decoder, "is longer in bytes than");
    if (!utf8_is_valid(text))
        return wrong_type(decoder, "UTF-8 without NUL");
    const char *copy = text.size == 0 ? "" : arena_text(decoder->arena, text);
    if (copy == NULL)
        return no_memory(decoder);
    *out = copy;
    return STATUS_OK;
}

static enum status decode_name(const struct decoder *decoder, bool (*is_name)(const char *),
                               const char *pattern, const char **out)
{
    struct span text;
    if (reader_str(decoder->reader, &text) != STATUS_OK)
        return wrong_type(decoder, "text");
    char name[NAME_BYTES_MAX + 1] = "";
    bool is_valid = text.size <= NAME_BYTES_MAX && memchr(text.data, '\0', text.size) == NULL;
    if (is_valid) {
        memcpy(name, text.data, text.size);
        is_valid = is_name(name) || (text.size == 0 && !decoder->field->is_required);
    }
    if (!is_valid)
        return problem_set(decoder->problem, STATUS_INVALID_ARGUMENT, decoder->field->name,
                           "must match %s", pattern);
    const char *copy = text.size == 0 ? "" : arena_text(decoder->arena, text);
    if (copy == NULL)
        return no_memory(decoder);
    *out = copy;
    return STATUS_OK;
}

static enum status decode_bytes(const struct decoder *decoder, struct span *out)
{
    struct span bytes;
    if (reader_bin(decoder->reader, &bytes) != STATUS_OK)
        return wrong_type(decoder, "binary");
    if (is_over(decoder, bytes.size))
        return out_of_bound(decoder, "is longer in bytes than");
    *out = bytes;
    return STATUS_OK;
}

static enum status decode_hash(const struct decoder *decoder, struct hash *out)
{
    struct span bytes;
    if (reader_bin(decoder->reader, &bytes) != STATUS_OK || bytes.size != sizeof out->bytes)
        return wrong_type(decoder, "32 bytes of binary");
    memcpy(out->bytes, bytes.data, sizeof out->bytes);
    return STATUS_OK;
}

static enum status decode_str_list(const struct decoder *decoder, struct str_list *out)
{
    uint32_t count;
    if (reader_array(decoder->reader, &count) != STATUS_OK)
        return wrong_type(decoder, "a list of text");
    if (is_over(decoder, count))
        return out_of_bound(decoder, "has more elements than");
    if (count > LIST_COUNT_MAX)
        return problem_set(decoder->problem, STATUS_INVALID_ARGUMENT, decoder->field->name,
                           "has more elements than %d", LIST_COUNT_MAX);
    const char **items = count == 0 ? NULL : arena_alloc(decoder->arena, count * sizeof *items);
    if (count > 0 && items == NULL)
        return no_memory(decoder);
    for (uint32_t i = 0; i < count; i++) {
        struct span text;
        if (reader_str(decoder->reader, &text) != STATUS_OK || !utf8_is_valid(text)) {
            char place[sizeof decoder->problem->field];
            snprintf(place, sizeof place, "%s[%u]", decoder->field->name, (unsigned)i);
            return problem_set(decoder->problem, STATUS_INVALID_ARGUMENT, place,
                               "must be text in UTF-8 without NUL");
        }
        items[i] = text.size == 0 ? "" : arena_text(decoder->arena, text);
        if (items[i] == NULL)
            return no_memory(decoder);
    }
    *out = (struct str_list){ items, count };
    return STATUS_OK;
}

static enum status decode_object(const struct decoder *decoder, enum wire_type type,
                                 struct span *out)
{
    struct span object;
    if (reader_peek(decoder->reader) != type || reader_any(decoder->reader, &object) != STATUS_OK)
        return wrong_type(decoder, type == WIRE_MAP ? "a map" : "a list");
    if (is_over(decoder, object.size))
        return out_of_bound(decoder, "is longer in bytes than");
    *out = object;
    return STATUS_OK;
}

static enum status decode_u64(const struct decoder *decoder, uint64_t *out)
{
    uint64_t value;
    if (reader_u64(decoder->reader, &value) != STATUS_OK)
        return wrong_type(decoder, "a number that is not negative");
    if (is_over(decoder, value))
        return out_of_bound(decoder, "is greater than");
    *out = value;
    return STATUS_OK;
}

static enum status decode_i64(const struct decoder *decoder, int64_t *out)
{
    int64_t value;
    if (reader_i64(decoder->reader, &value) != STATUS_OK)
        return wrong_type(decoder, "a number");
    if (is_over(decoder, value < 0 ? -(uint64_t)value : (uint64_t)value))
        return out_of_bound(decoder, "is farther from 0 than");
    *out = value;
    return STATUS_OK;
}

static enum status decode_value(const struct decoder *decoder, void *out)
{
    switch (decoder->field->kind) {
    case FIELD_bool:
        return reader_bool(decoder->reader, out) == STATUS_OK
                   ? STATUS_OK
                   : wrong_type(decoder, "true or false");
    case FIELD_u64:
        return decode_u64(decoder, out);
    case FIELD_i64:
        return decode_i64(decoder, out);
    case FIELD_str:
        return decode_text(decoder, out);
    case FIELD_name:
        return decode_name(decoder, name_is_valid, NAME_PATTERN, out);
    case FIELD_secret:
        return decode_name(decoder, secret_name_is_valid, SECRET_NAME_PATTERN, out);
    case FIELD_bytes:
        return decode_bytes(decoder, out);
    case FIELD_hash:
        return decode_hash(decoder, out);
    case FIELD_str_list:
        return decode_str_list(decoder, out);
    case FIELD_map:
        return decode_object(decoder, WIRE_MAP, out);
    case FIELD_list:
        return decode_object(decoder, WIRE_ARRAY, out);
    }
    ensure(!"a kind of the table");
    return STATUS_INTERNAL;
}

/* The position of a key; those in the table's order are found at the first look. */
static size_t find_field(const struct field_table *table, struct span key, size_t expected)
{
    for (size_t n = 0; n < table->count; n++) {
        size_t i = (expected + n) % table->count;
        const char *name = table->fields[i].name;
        if (span_equal(key, span_of_text(name)))
            return i;
    }
    return table->count;
}

/* A key that we do not know is shown back, but not its control characters. */
static enum status refuse_key(struct span key, const char *rule, struct problem *problem)
{
    char shown[64];
    size_t size = key.size < sizeof shown ? key.size : sizeof shown - 1;
    for (size_t i = 0; i < size; i++)
        shown[i] = key.data[i] < 0x20 || key.data[i] > 0x7e ? '?' : (char)key.data[i];
    shown[size] = '\0';
    return problem_set(problem, STATUS_INVALID_ARGUMENT, shown, "%s", rule);
}

static bool is_text(enum field_kind kind)
{
    return kind == FIELD_str || kind == FIELD_name || kind == FIELD_secret;
}

static void fill_absent(const struct field_table *table, const struct places *places, char *draft)
{
    for (size_t i = 0; i < table->count; i++) {
        if (is_text(table->fields[i].kind))
            memcpy(draft + places->offsets[i], &(const char *){ "" }, sizeof(const char *));
    }
}

enum status fields_decode(const struct field_table *table, struct span map, struct arena *arena,
                          void *out, struct problem *problem)
{
    struct places places;
    places_of(table, &places);
    alignas(max_align_t) char draft[FIELDS_STRUCT_BYTES_MAX];
    memset(draft, 0, table->struct_bytes);
    fill_absent(table, &places, draft);

    struct reader reader = reader_of(map);
    uint32_t pairs;
    if (reader_map(&reader, &pairs) != STATUS_OK)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "must be a map");
    uint64_t seen = 0;
    size_t expected = 0;
    for (uint32_t n = 0; n < pairs; n++) {
        struct span key;
        if (reader_str(&reader, &key) != STATUS_OK)
            return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "keys must be text");
        size_t i = find_field(table, key, expected);
        if (i == table->count && !table->is_open)
            return refuse_key(key, "unknown key", problem);
        if (i == table->count) {
            struct span passed_over;
            if (reader_any(&reader, &passed_over) != STATUS_OK)
                return refuse_key(key, "has no value", problem);
            continue;
        }
        if (seen & UINT64_C(1) << i)
            return refuse_key(key, "given twice", problem);
        seen |= UINT64_C(1) << i;
        expected = i + 1;
        const struct decoder decoder = { &table->fields[i], &reader, arena, problem };
        TRY(decode_value(&decoder, draft + places.offsets[i]));
    }
    if (reader.rest.size > 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "goes on after its end");
    for (size_t i = 0; i < table->count; i++)
        if (table->fields[i].is_required && !(seen & UINT64_C(1) << i))
            return problem_set(problem, STATUS_INVALID_ARGUMENT, table->fields[i].name,
                               "is required");
    if (table->struct_bytes > 0)
        memcpy(out, draft, table->struct_bytes);
    return STATUS_OK;
}

const char **fields_text(const struct field_table *table, void *decoded, const char *name)
{
    struct places places;
    places_of(table, &places);
    for (size_t i = 0; i < table->count; i++) {
        if (is_text(table->fields[i].kind) && strcmp(table->fields[i].name, name) == 0)
            return (const char **)((char *)decoded + places.offsets[i]);
    }
    return NULL;
}

/* ---- encoding ---- */

static bool is_zero(enum field_kind kind, const void *member)
{
    switch (kind) {
    case FIELD_bool:
        return !*(const bool *)member;
    case FIELD_u64:
    case FIELD_i64:
        return *(const uint64_t *)member == 0;
    case FIELD_str:
    case FIELD_name:
    case FIELD_secret: {
        const char *text = *(const char *const *)member;
        return text == NULL || *text == '\0';
    }
    case FIELD_bytes:
    case FIELD_map:
    case FIELD_list:
        return ((const struct span *)member)->size == 0;
    case FIELD_hash:
        return hash_is_zero(member);
    case FIELD_str_list:
        return ((const struct str_list *)member)->count == 0;
    }
    return false;
}

static bool is_written(const struct field *field, const void *member)
{
    bool must_be = field->is_required && field->kind != FIELD_map && field->kind != FIELD_list;
    return must_be || !is_zero(field->kind, member);
}

static void encode_value(enum field_kind kind, const void *member, struct buffer *buffer)
{
    switch (kind) {
    case FIELD_bool:
        write_bool(buffer, *(const bool *)member);
        break;
    case FIELD_u64:
        write_u64(buffer, *(const uint64_t *)member);
        break;
    case FIELD_i64:
        write_i64(buffer, *(const int64_t *)member);
        break;
    case FIELD_str:
    case FIELD_name:
    case FIELD_secret:
        write_str(buffer, *(const char *const *)member);
        break;
    case FIELD_bytes:
        write_bin(buffer, *(const struct span *)member);
        break;
    case FIELD_hash:
        write_bin(buffer, span_of(member, HASH_BYTES));
        break;
    case FIELD_str_list: {
        const struct str_list *list = member;
        write_array(buffer, list->count);
        for (size_t i = 0; i < list->count; i++)
            write_str(buffer, list->items[i]);
        break;
    }
    case FIELD_map:
    case FIELD_list:
        write_object(buffer, *(const struct span *)member);
        break;
    }
}

void fields_encode(const struct field_table *table, const void *in, struct buffer *buffer)
{
    struct places places;
    places_of(table, &places);
    const char *members = in;
    uint64_t written = 0;
    for (size_t i = 0; i < table->count; i++)
        if (is_written(&table->fields[i], members + places.offsets[i]))
            written |= UINT64_C(1) << i;
    write_map(buffer, (size_t)__builtin_popcountll(written));
    for (size_t i = 0; i < table->count; i++) {
        if (!(written & UINT64_C(1) << i))
            continue;
        const void *member = members + places.offsets[i];
        write_str(buffer, table->fields[i].name);
        encode_value(table->fields[i].kind, member, buffer);
    }
}
