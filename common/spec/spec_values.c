/* Reading single values. Every refusal goes through problem_set with the place, the rule and, where
 * it cannot be a secret, the value. */
#include "common/spec/spec_values.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/limits.h"
#include "common/base/name.h"

enum { SHOWN_BYTES = 64 }; /* of a refused value */

char *place_join(char place[PLACE_BYTES], const char *outer, const char *key)
{
    snprintf(place, PLACE_BYTES, "%s%s%s", outer, outer[0] == '\0' ? "" : ".", key);
    return place;
}

char *place_index(char place[PLACE_BYTES], const char *outer, size_t index)
{
    snprintf(place, PLACE_BYTES, "%s[%zu]", outer, index);
    return place;
}

static const char *type_text(enum wire_type type)
{
    switch (type) {
    case WIRE_NIL:
        return "null";
    case WIRE_BOOL:
        return "true or false";
    case WIRE_INTEGER:
        return "a whole number";
    case WIRE_FLOAT:
        return "a number with a fraction";
    case WIRE_STR:
        return "text";
    case WIRE_BIN:
        return "bytes";
    case WIRE_ARRAY:
        return "a list";
    case WIRE_MAP:
        return "a map";
    case WIRE_NONE:
        break;
    }
    return "nothing readable";
}

enum status value_refuse_type(struct spec_values *values, const struct reader *reader,
                              const char *place, const char *wanted)
{
    return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place, "must be %s, not %s",
                       wanted, type_text(reader_peek(reader)));
}

static enum status refuse_memory(struct spec_values *values, const char *place)
{
    return problem_set(values->problem, STATUS_RESOURCE_EXHAUSTED, place, "out of memory");
}

/* One insertion, deletion, replacement or swap of neighbours apart. */
static bool is_one_typo_away(const char *a, const char *b)
{
    size_t a_size = strlen(a), b_size = strlen(b), same = 0;
    if (a_size > b_size)
        return is_one_typo_away(b, a);
    while (same < a_size && a[same] == b[same])
        same++;
    a += same;
    b += same;
    if (b_size == a_size + 1)
        return strcmp(a, b + 1) == 0;
    if (b_size != a_size || *a == '\0')
        return false;
    if (strcmp(a + 1, b + 1) == 0)
        return true;
    return a[0] == b[1] && a[1] == b[0] && strcmp(a + 2, b + 2) == 0;
}

static enum status refuse_key(struct spec_values *values, const char *outer, struct span name,
                              const struct spec_key *keys, size_t count)
{
    char shown[SHOWN_BYTES], place[PLACE_BYTES], hint[SHOWN_BYTES] = "";
    text_printable(shown, sizeof shown, name);
    for (size_t i = 0; i < count; i++)
        if (is_one_typo_away(keys[i].name, shown))
            snprintf(hint, sizeof hint, "; did you mean %s?", keys[i].name);
    return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place_join(place, outer, shown),
                       "unknown key \"%s\"%s", shown, hint);
}

enum status value_map(struct spec_values *values, struct reader *reader, const char *outer,
                      const struct spec_key *keys, size_t count, void *out)
{
    ensure(count <= SPEC_KEYS_MAX);
    uint32_t pairs, seen = 0;
    if (reader_map(reader, &pairs) != STATUS_OK)
        return value_refuse_type(values, reader, outer, "a map");
    for (; pairs > 0; pairs--) {
        struct span name;
        if (reader_str(reader, &name) != STATUS_OK)
            return value_refuse_type(values, reader, outer, "a map with text keys");
        size_t i = 0;
        while (i < count && !span_equal(name, span_of_text(keys[i].name)))
            i++;
        if (i == count)
            return refuse_key(values, outer, name, keys, count);
        char place[PLACE_BYTES];
        place_join(place, outer, keys[i].name);
        if ((seen & 1u << i) != 0)
            return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                               "the key stands twice");
        seen |= 1u << i;
        TRY(keys[i].read(values, reader, place, out));
    }
    return STATUS_OK;
}

enum status value_text_in_place(struct spec_values *values, struct reader *reader,
                                const char *place, size_t most, struct span *text)
{
    struct span found;
    if (reader_str(reader, &found) != STATUS_OK)
        return value_refuse_type(values, reader, place, "text");
    if (found.size > most)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must be at most %zu bytes, is %zu", most, found.size);
    if (!utf8_is_valid(found))
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must be UTF-8 text without NUL");
    values->text_bytes += found.size;
    *text = found;
    return STATUS_OK;
}

enum status value_text(struct spec_values *values, struct reader *reader, const char *place,
                       size_t most, const char **text)
{
    struct span found;
    TRY(value_text_in_place(values, reader, place, most, &found));
    char *copy = arena_text(values->arena, found);
    if (copy == NULL)
        return refuse_memory(values, place);
    *text = copy;
    return STATUS_OK;
}

enum status value_text_list(struct spec_values *values, struct reader *reader, const char *place,
                            struct str_list *list)
{
    uint32_t count;
    if (reader_array(reader, &count) != STATUS_OK)
        return value_refuse_type(values, reader, place, "a list of text");
    if (count > SPEC_LIST_MAX)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must have at most %d elements, has %" PRIu32, SPEC_LIST_MAX, count);
    const char **items = arena_alloc(values->arena, (count + 1) * sizeof *items);
    if (items == NULL)
        return refuse_memory(values, place);
    for (uint32_t i = 0; i < count; i++) {
        char element[PLACE_BYTES];
        TRY(value_text(values, reader, place_index(element, place, i), SPEC_TEXT_BYTES_MAX,
                       &items[i]));
    }
    *list = (struct str_list){ items, count };
    return STATUS_OK;
}

enum status value_count(struct spec_values *values, struct reader *reader, const char *place,
                        uint64_t least, uint64_t most, uint64_t *count)
{
    uint64_t found;
    if (reader_peek(reader) != WIRE_INTEGER)
        return value_refuse_type(values, reader, place, "a whole number");
    int64_t negative;
    if (reader_u64(reader, &found) != STATUS_OK) {
        if (reader_i64(reader, &negative) != STATUS_OK)
            return value_refuse_type(values, reader, place, "a whole number");
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must be from %" PRIu64 " to %" PRIu64 ", not %" PRId64, least, most,
                           negative);
    }
    if (found < least || found > most)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must be from %" PRIu64 " to %" PRIu64 ", not %" PRIu64, least, most,
                           found);
    *count = found;
    return STATUS_OK;
}

/* A text that `parse` turns into a number: what durations and sizes have in common. */
static enum status parse_text(struct spec_values *values, struct reader *reader, const char *place,
                              enum status (*parse)(const char *, uint64_t *), const char *wanted,
                              uint64_t *number)
{
    struct span found;
    if (reader_str(reader, &found) != STATUS_OK)
        return value_refuse_type(values, reader, place, wanted);
    char text[24] = "", shown[SHOWN_BYTES];
    if (found.size > 0 && found.size < sizeof text)
        memcpy(text, found.data, found.size);
    if (strlen(text) != found.size || parse(text, number) != STATUS_OK)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must be %s, not \"%s\"", wanted,
                           text_printable(shown, sizeof shown, found));
    return STATUS_OK;
}

enum status value_duration(struct spec_values *values, struct reader *reader, const char *place,
                           uint64_t least_ms, uint64_t most_ms, uint64_t *milliseconds)
{
    if (reader_peek(reader) == WIRE_INTEGER)
        return value_count(values, reader, place, least_ms, most_ms, milliseconds);
    uint64_t found = 0;
    TRY(parse_text(values, reader, place, duration_parse,
                   "a duration like \"250ms\", \"5s\" or \"2m\", or milliseconds", &found));
    char least[DURATION_TEXT_BYTES], most[DURATION_TEXT_BYTES], is[DURATION_TEXT_BYTES];
    if (found < least_ms || found > most_ms)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must be from %s to %s, not %s", duration_text(least, least_ms),
                           duration_text(most, most_ms), duration_text(is, found));
    *milliseconds = found;
    return STATUS_OK;
}

static enum status size_parse(const char *text, uint64_t *bytes)
{
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = { { "", 0 }, { "B", 0 }, { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 } };
    if (*text < '0' || *text > '9')
        return STATUS_INVALID_ARGUMENT;
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (strcmp(end, units[i].unit) == 0 && value <= UINT64_MAX >> units[i].shift) {
            *bytes = (uint64_t)value << units[i].shift;
            return STATUS_OK;
        }
    return STATUS_INVALID_ARGUMENT;
}

enum status value_size(struct spec_values *values, struct reader *reader, const char *place,
                       uint64_t least, uint64_t most, uint64_t *bytes)
{
    if (reader_peek(reader) == WIRE_INTEGER)
        return value_count(values, reader, place, least, most, bytes);
    uint64_t found = 0;
    TRY(parse_text(values, reader, place, size_parse,
                   "a size like \"64KiB\", \"10MiB\" or \"1GiB\", or bytes", &found));
    if (found < least || found > most)
        return problem_set(values->problem, STATUS_INVALID_ARGUMENT, place,
                           "must be from %" PRIu64 " to %" PRIu64 " bytes, not %" PRIu64, least,
                           most, found);
    *bytes = found;
    return STATUS_OK;
}
