/* Each kind: good, of the wrong type, out of bounds; and the map around them. */
#include <signal.h>
#include <stdlib.h>

#include "common/base/auto.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/wire/fields.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"

struct all_kinds {
    bool flag;
    uint64_t natural;
    bool second_flag;
    int64_t whole;
    const char *text;
    const char *name;
    struct span bytes;
    bool third_flag;
    struct hash hash;
    struct str_list words;
    struct span map;
    struct span list;
    bool last_flag;
};

static const struct field all_kinds_fields[] = {
    { "flag", FIELD_bool, false, 0, "" },        { "natural", FIELD_u64, false, 100, "" },
    { "second_flag", FIELD_bool, false, 0, "" }, { "whole", FIELD_i64, false, 50, "" },
    { "text", FIELD_str, false, 5, "" },         { "name", FIELD_name, false, 0, "" },
    { "bytes", FIELD_bytes, false, 4, "" },      { "third_flag", FIELD_bool, false, 0, "" },
    { "hash", FIELD_hash, false, 0, "" },        { "words", FIELD_str_list, false, 3, "" },
    { "map", FIELD_map, false, 8, "" },          { "list", FIELD_list, false, 8, "" },
    { "last_flag", FIELD_bool, false, 0, "" },
};
static const struct field_table all_kinds = {
    "all_kinds", all_kinds_fields, COUNT_OF(all_kinds_fields), sizeof(struct all_kinds), false,
};

struct needed {
    const char *text;
    const char *name;
    uint64_t number;
};
static const struct field needed_fields[] = {
    { "text", FIELD_str, true, 0, "" },
    { "name", FIELD_name, true, 0, "" },
    { "number", FIELD_u64, true, 0, "" },
};
static const struct field_table needed = { "needed", needed_fields, 3, sizeof(struct needed),
                                           .is_open = false };
static const struct field_table needed_open = { "needed", needed_fields, 3, sizeof(struct needed),
                                                .is_open = true };

struct fixture {
    struct buffer map;
    struct arena arena;
    struct problem problem;
    struct all_kinds out;
};

static struct fixture *fixture_new(void)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->map.limit = 100000;
    fixture->arena.limit = 100000;
    return fixture;
}

static void fixture_free(struct fixture **fixture)
{
    buffer_close(&(*fixture)->map);
    arena_close(&(*fixture)->arena);
    free(*fixture);
}

/* A map of one pair, whose value the caller writes next. */
static struct buffer *one(struct fixture *fixture, const char *key)
{
    buffer_clear(&fixture->map);
    write_map(&fixture->map, 1);
    write_str(&fixture->map, key);
    return &fixture->map;
}

static enum status decode(struct fixture *fixture)
{
    fixture->problem = (struct problem){ 0 };
    fixture->out = (struct all_kinds){ 0 };
    arena_reset(&fixture->arena);
    return fields_decode(&all_kinds, buffer_span(&fixture->map), &fixture->arena, &fixture->out,
                         &fixture->problem);
}

static void expect_refused(struct fixture *fixture, const char *field, const char *rule)
{
    static const struct all_kinds untouched;
    cr_expect_eq(decode(fixture), STATUS_INVALID_ARGUMENT, "%s %s", field, rule);
    cr_expect_str_eq(fixture->problem.field, field);
    cr_expect_str_eq(fixture->problem.message, rule);
    cr_expect_eq(memcmp(&fixture->out, &untouched, sizeof untouched), 0, "%s was written", field);
}

#define FIXTURE AUTO(fixture_free) struct fixture *fixture = fixture_new()

Test(fields, an_empty_map_gives_empty_texts)
{
    FIXTURE;
    write_map(&fixture->map, 0);
    cr_assert_eq(decode(fixture), STATUS_OK);
    cr_expect_str_eq(fixture->out.text, "");
    cr_expect_str_eq(fixture->out.name, "");
    cr_expect_null(fixture->out.map.data);
    cr_expect_eq(fixture->out.words.count, 0);
}

static void write_sample(struct buffer *buffer)
{
    static const uint8_t hash[HASH_BYTES] = { 1, 2, 3 };
    write_map(buffer, 13);
    write_str(buffer, "last_flag");
    write_bool(buffer, true);
    write_str(buffer, "flag");
    write_bool(buffer, true);
    write_str(buffer, "natural");
    write_u64(buffer, 100);
    write_str(buffer, "whole");
    write_i64(buffer, -50);
    write_str(buffer, "text");
    write_str(buffer, "gr\xc3\xbc\x7e");
    write_str(buffer, "name");
    write_str(buffer, "a-name");
    write_str(buffer, "bytes");
    write_bin(buffer, span_of("\x00\xff\x01\x02", 4));
    write_str(buffer, "hash");
    write_bin(buffer, span_of(hash, sizeof hash));
    write_str(buffer, "words");
    write_array(buffer, 2);
    write_str(buffer, "one");
    write_str(buffer, "");
    write_str(buffer, "map");
    write_map(buffer, 1);
    write_nil(buffer);
    write_nil(buffer);
    write_str(buffer, "list");
    write_array(buffer, 0);
    write_str(buffer, "second_flag");
    write_bool(buffer, true);
    write_str(buffer, "third_flag");
    write_bool(buffer, true);
}

Test(fields, reads_every_kind_in_any_order)
{
    FIXTURE;
    write_sample(&fixture->map);
    cr_assert_eq(decode(fixture), STATUS_OK, "%s: %s", fixture->problem.field,
                 fixture->problem.message);
    const struct all_kinds *out = &fixture->out;
    cr_expect(out->flag);
    cr_expect(out->second_flag);
    cr_expect(out->third_flag);
    cr_expect(out->last_flag);
    cr_expect_eq(out->natural, 100);
    cr_expect_eq(out->whole, -50);
    cr_expect_str_eq(out->text, "gr\xc3\xbc\x7e");
    cr_expect_str_eq(out->name, "a-name");
    cr_expect_eq(out->bytes.size, 4);
    cr_expect_eq(out->hash.bytes[2], 3);
    cr_assert_eq(out->words.count, 2);
    cr_expect_str_eq(out->words.items[0], "one");
    cr_expect_str_eq(out->words.items[1], "");
    cr_expect_eq(out->map.size, 3);
    cr_expect_eq(out->list.size, 1);
}

Test(fields, writes_what_it_reads_in_the_order_of_the_table)
{
    FIXTURE;
    write_sample(&fixture->map);
    cr_assert_eq(decode(fixture), STATUS_OK);
    AUTO(buffer_close) struct buffer written = { .limit = 1000 };
    fields_encode(&all_kinds, &fixture->out, &written);
    cr_expect_eq(written.data[0], 0x8d);
    cr_expect_eq(memcmp(written.data + 1,
                        "\xa4"
                        "flag\xc3\xa7natural\x64",
                        14),
                 0);
    buffer_clear(&fixture->map);
    write_object(&fixture->map, buffer_span(&written));
    cr_assert_eq(decode(fixture), STATUS_OK);
    AUTO(buffer_close) struct buffer again = { .limit = 1000 };
    fields_encode(&all_kinds, &fixture->out, &again);
    cr_expect(span_equal(buffer_span(&written), buffer_span(&again)));
}

Test(fields, leaves_optional_fields_out_when_they_are_zero)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = 1000 };
    const struct all_kinds zero = { 0 };
    fields_encode(&all_kinds, &zero, &buffer);
    cr_expect(span_equal(buffer_span(&buffer), span_of("\x80", 1)));
    buffer_clear(&buffer);
    const struct needed needed_zero = { 0 };
    fields_encode(&needed, &needed_zero, &buffer);
    cr_expect_eq(buffer.data[0], 0x83, "what is required is always written");
}

Test(fields, refuses_the_wrong_type_of_every_kind)
{
    static const struct {
        const char *field, *rule;
    } cases[] = {
        { "flag", "must be true or false" },
        { "natural", "must be a number that is not negative" },
        { "whole", "must be a number" },
        { "text", "must be text" },
        { "name", "must be text" },
        { "bytes", "must be binary" },
        { "hash", "must be 32 bytes of binary" },
        { "words", "must be a list of text" },
        { "map", "must be a map" },
        { "list", "must be a list" },
    };
    FIXTURE;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_nil(one(fixture, cases[i].field));
        expect_refused(fixture, cases[i].field, cases[i].rule);
        write_f64(one(fixture, cases[i].field), 1);
        expect_refused(fixture, cases[i].field, cases[i].rule);
    }
    write_i64(one(fixture, "natural"), -1);
    expect_refused(fixture, "natural", "must be a number that is not negative");
    write_array(one(fixture, "map"), 0);
    expect_refused(fixture, "map", "must be a map");
    write_bin(one(fixture, "text"), span_of("a", 1));
    expect_refused(fixture, "text", "must be text");
    write_str(one(fixture, "bytes"), "a");
    expect_refused(fixture, "bytes", "must be binary");
}

Test(fields, refuses_what_is_out_of_bounds)
{
    FIXTURE;
    write_u64(one(fixture, "natural"), 101);
    expect_refused(fixture, "natural", "is greater than 100");
    write_i64(one(fixture, "whole"), 51);
    expect_refused(fixture, "whole", "is farther from 0 than 50");
    write_i64(one(fixture, "whole"), -51);
    expect_refused(fixture, "whole", "is farther from 0 than 50");
    write_i64(one(fixture, "whole"), INT64_MIN);
    expect_refused(fixture, "whole", "is farther from 0 than 50");
    write_str(one(fixture, "text"), "sixsix");
    expect_refused(fixture, "text", "is longer in bytes than 5");
    write_bin(one(fixture, "bytes"), span_of("12345", 5));
    expect_refused(fixture, "bytes", "is longer in bytes than 4");
    write_bin(one(fixture, "hash"), span_of("12345", 5));
    expect_refused(fixture, "hash", "must be 32 bytes of binary");
    write_array(one(fixture, "words"), 4);
    expect_refused(fixture, "words", "has more elements than 3");
    struct buffer *map = one(fixture, "map");
    write_map(map, 1);
    write_str(map, "1234567");
    write_nil(map);
    expect_refused(fixture, "map", "is longer in bytes than 8");
}

Test(fields, refuses_text_with_nul_or_broken_characters)
{
    FIXTURE;
    write_text(one(fixture, "text"), span_of("a\0b", 3));
    expect_refused(fixture, "text", "must be UTF-8 without NUL");
    write_text(one(fixture, "text"), span_of("\xc3\x28", 2));
    expect_refused(fixture, "text", "must be UTF-8 without NUL");
    struct buffer *words = one(fixture, "words");
    write_array(words, 2);
    write_str(words, "good");
    write_text(words, span_of("\0", 1));
    expect_refused(fixture, "words[1]", "must be text in UTF-8 without NUL");
    words = one(fixture, "words");
    write_array(words, 1);
    write_u64(words, 1);
    expect_refused(fixture, "words[0]", "must be text in UTF-8 without NUL");
}

Test(fields, refuses_names_outside_the_pattern)
{
    static const char too_long[] = "a23456789012345678901234567890123456789012345678901234567890"
                                   "1234";
    static const char *const names[] = { "Upper", "-dash", "sp ace", "a/b", "\xc3\xbc", too_long };
    FIXTURE;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        write_str(one(fixture, "name"), names[i]);
        expect_refused(fixture, "name", "must match [a-z0-9][a-z0-9._-]{0,62}");
    }
    write_text(one(fixture, "name"), span_of("a\0b", 3));
    expect_refused(fixture, "name", "must match [a-z0-9][a-z0-9._-]{0,62}");
    write_str(one(fixture, "name"), "");
    cr_expect_eq(decode(fixture), STATUS_OK, "an optional name may be empty");
}

Test(fields, refuses_unknown_and_duplicate_keys)
{
    FIXTURE;
    write_nil(one(fixture, "flagg"));
    expect_refused(fixture, "flagg", "unknown key");
    write_nil(one(fixture, "fla"));
    expect_refused(fixture, "fla", "unknown key");
    write_nil(one(fixture, "\x1b[31m"));
    expect_refused(fixture, "?[31m", "unknown key");
    buffer_clear(&fixture->map);
    write_map(&fixture->map, 1);
    write_text(&fixture->map, span_of("flag\0x", 6));
    write_bool(&fixture->map, true);
    expect_refused(fixture, "flag?x", "unknown key");
    buffer_clear(&fixture->map);
    write_map(&fixture->map, 2);
    write_str(&fixture->map, "flag");
    write_bool(&fixture->map, true);
    write_str(&fixture->map, "flag");
    write_bool(&fixture->map, true);
    expect_refused(fixture, "flag", "given twice");
    buffer_clear(&fixture->map);
    write_map(&fixture->map, 1);
    write_u64(&fixture->map, 1);
    write_bool(&fixture->map, true);
    expect_refused(fixture, "", "keys must be text");
}

Test(fields, refuses_what_is_no_map_and_what_follows_it)
{
    FIXTURE;
    write_array(&fixture->map, 0);
    expect_refused(fixture, "", "must be a map");
    buffer_clear(&fixture->map);
    write_map(&fixture->map, 0);
    write_nil(&fixture->map);
    expect_refused(fixture, "", "goes on after its end");
    buffer_clear(&fixture->map);
    cr_expect_eq(decode(fixture), STATUS_INVALID_ARGUMENT, "no bytes at all");
}

Test(fields, names_the_required_field_that_is_missing)
{
    FIXTURE;
    struct needed out = { 0 };
    struct buffer *map = &fixture->map;
    write_map(map, 2);
    write_str(map, "text");
    write_str(map, "");
    write_str(map, "name");
    write_str(map, "n");
    cr_expect_eq(fields_decode(&needed, buffer_span(map), &fixture->arena, &out, &fixture->problem),
                 STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(fixture->problem.field, "number");
    cr_expect_str_eq(fixture->problem.message, "is required");
    cr_expect_null(out.text);
    write_str(map, "number");
    write_u64(map, 0);
    map->data[0] = 0x83;
    cr_expect_eq(fields_decode(&needed, buffer_span(map), &fixture->arena, &out, &fixture->problem),
                 STATUS_OK, "a required text may be empty, a number zero");
    buffer_clear(map);
    write_map(map, 1);
    write_str(map, "name");
    write_str(map, "");
    cr_expect_eq(fields_decode(&needed, buffer_span(map), &fixture->arena, &out, &fixture->problem),
                 STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(fixture->problem.field, "name", "a required name may not be empty");
}

Test(fields, says_when_the_arena_is_full)
{
    FIXTURE;
    fixture->arena.limit = 0;
    write_str(one(fixture, "text"), "abc");
    cr_expect_eq(decode(fixture), STATUS_RESOURCE_EXHAUSTED);
    cr_expect_str_eq(fixture->problem.field, "text");
}

Test(fields, a_table_without_fields_takes_an_empty_map)
{
    FIXTURE;
    static const struct field none[] = { { NULL, FIELD_bool, false, 0, NULL } };
    static const struct field_table empty = { "empty", none, 0, 0, false };
    cr_expect_eq(
        fields_decode(&empty, span_of("\x80", 1), &fixture->arena, NULL, &fixture->problem),
        STATUS_OK);
    write_nil(one(fixture, "x"));
    cr_expect_eq(
        fields_decode(&empty, buffer_span(&fixture->map), &fixture->arena, NULL, &fixture->problem),
        STATUS_INVALID_ARGUMENT);
}

Test(fields, a_table_that_does_not_fit_its_struct_ends_the_process, .signal = SIGABRT)
{
    static const struct field_table wrong = {
        "wrong", all_kinds_fields, COUNT_OF(all_kinds_fields), sizeof(struct all_kinds) + 8, false,
    };
    AUTO(buffer_close) struct buffer buffer = { .limit = 1000 };
    const struct all_kinds zero[2] = { 0 };
    fields_encode(&wrong, &zero[0], &buffer);
}

Test(fields, knows_the_name_of_each_kind)
{
    cr_expect_str_eq(field_kind_name(FIELD_bool), "bool");
    cr_expect_str_eq(field_kind_name(FIELD_str_list), "str_list");
    cr_expect_str_eq(field_kind_name(FIELD_list), "list");
}

Test(fields, passes_over_what_it_does_not_know_in_open_tables_only)
{
    FIXTURE;
    struct needed out = { 0 };
    struct buffer *map = &fixture->map;
    write_map(map, 4);
    write_str(map, "newer");
    write_map(map, 1);
    write_str(map, "a");
    write_nil(map);
    write_str(map, "text");
    write_str(map, "t");
    write_str(map, "number");
    write_u64(map, 5);
    write_str(map, "name");
    write_str(map, "n");
    cr_expect_eq(fields_decode(&needed, buffer_span(map), &fixture->arena, &out, &fixture->problem),
                 STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(fixture->problem.field, "newer");
    cr_assert_eq(
        fields_decode(&needed_open, buffer_span(map), &fixture->arena, &out, &fixture->problem),
        STATUS_OK);
    cr_expect_str_eq(out.text, "t");
    cr_expect_eq(out.number, 5);
    map->data[0] = 0x81; /* what it needs must be there, and nothing may follow */
    cr_expect_eq(
        fields_decode(&needed_open, buffer_span(map), &fixture->arena, &out, &fixture->problem),
        STATUS_INVALID_ARGUMENT);
    map->data[0] = 0x85; /* a key whose value is missing */
    write_str(map, "last");
    cr_expect_eq(
        fields_decode(&needed_open, buffer_span(map), &fixture->arena, &out, &fixture->problem),
        STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(fixture->problem.field, "last");
}
