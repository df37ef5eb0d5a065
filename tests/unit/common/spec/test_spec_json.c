#include "tests/support/criterion.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/spec/spec_json.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

static void assert_same(const char *json, const char *expected)
{
    AUTO(buffer_close) struct buffer map = { .limit = 4096 };
    AUTO(buffer_close) struct buffer text = { .limit = 4096 };
    struct problem problem = { 0 };
    cr_assert_eq(spec_from_json(span_of_text(json), &map, &problem), STATUS_OK, "%s",
                 problem.message);
    cr_assert_eq(json_from_wire(buffer_span(&map), &text), STATUS_OK);
    buffer_append(&text, "", 1);
    cr_assert_str_eq((char *)text.data, expected);
}

Test(spec_json, values_of_every_kind_survive)
{
    assert_same("{\"a\": [1, -2, 1.5, true, false, null, \"\", {}, []]}",
                "{\"a\": [1, -2, 1.5, true, false, null, \"\", {}, []]}");
    assert_same("{\"a\": [5.0, -0.0, 1e300]}", "{\"a\": [5.0, -0.0, 1.0000000000000001e+300]}");
    assert_same("{}", "{}");
    assert_same(" {\n\"k\":9223372036854775807}\n", "{\"k\": 9223372036854775807}");
    assert_same("{\"k\":\"\\u00e4 \\ud83d\\ude00\"}", "{\"k\": \"\xc3\xa4 \xf0\x9f\x98\x80\"}");
}

Test(spec_json, control_characters_are_escaped)
{
    assert_same("{\"k\":\"\\u001b[31m\\n\\t\\\"\\\\ \\u007f\\u0085\\u00a0\"}",
                "{\"k\": \"\\u001b[31m\\n\\u0009\\\"\\\\ \\u007f\\u0085\xc2\xa0\"}");
}

static const struct {
    const char *json;
    const char *message; /* a part of it */
} refused[] = {
    { "", "line 1, column 1" },
    { "{\"a\": 1,\n  \"b\" 2}", "line 2, column" },
    { "{\"a\": 1, \"a\": 2}", "line 1, column 12: the key \"a\" is there already" },
    { "{\"env\": {\"A_NAME_OF_MORE_THAN_TWENTY_LETTERS\": \"1\",\n"
      " \"A_NAME_OF_MORE_THAN_TWENTY_LETTERS\": \"2\"}}",
      "line 2, column 37: the key \"A_NAME_OF_MORE_THAN_TWENTY_LETTERS\" is there" },
    { "{\"a\\\"b\": 1, \"a\\\"b\": 2}", "the key \"a\\\"b\" is there already" },
    { "{\"\": 1, \"\": 2}", "the key \"\" is there already" },
    { "{\"a\": \"x\\u0000y\"}", "NUL" },
    { "{\"a\": 99999999999999999999}", "too big integer" },
    { "[1]", "must be a JSON object" },
    { "\"text\"", "expected near" },
    { "{} {}", "end of file expected" },
    { "{\"a\": \"\xff\"}", "unable to decode byte 0xff" },
    { "{\"a\":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}", "nested deeper than 16" },
};

Test(spec_json, refusals_say_where_and_why)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        AUTO(buffer_close) struct buffer map = { .limit = 4096 };
        struct problem problem = { 0 };
        enum status status = spec_from_json(span_of_text(refused[i].json), &map, &problem);
        cr_expect_eq(status, STATUS_INVALID_ARGUMENT, "%s", refused[i].json);
        cr_expect_not_null(strstr(problem.message, refused[i].message), "%s: %s", refused[i].json,
                           problem.message);
    }
}

Test(spec_json, a_spec_past_its_bound_is_refused)
{
    AUTO(buffer_close) struct buffer map = { .limit = 8 };
    struct problem problem = { 0 };
    cr_assert_eq(spec_from_json(span_of_text("{\"key\": \"a long value\"}"), &map, &problem),
                 STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(problem.message, "at most 8 bytes"));
}

struct taken {
    char places[256];
    size_t count, fail_at;
};

static enum status take(void *context, struct span map, const char *place, struct problem *problem)
{
    struct taken *taken = context;
    char name[32];
    size_t used = strlen(taken->places);
    snprintf(taken->places + used, sizeof taken->places - used, "%s=%s;", place,
             map_text(map, "name", name, sizeof name));
    if (++taken->count == taken->fail_at)
        return problem_set(problem, STATUS_ABORTED, place, "enough");
    return STATUS_OK;
}

static void assert_taken(const char *json, const char *expected)
{
    struct taken taken = { 0 };
    struct problem problem = { 0 };
    cr_assert_eq(specs_from_json(span_of_text(json), take, &taken, &problem), STATUS_OK, "%s",
                 problem.message);
    cr_assert_str_eq(taken.places, expected);
}

Test(spec_json, one_object_an_array_or_one_per_line)
{
    assert_taken("{\"name\": \"a\"}", "=a;");
    assert_taken("\n {\n\"name\": \"a\"\n}\n\n", "=a;");
    assert_taken("[{\"name\": \"a\"}, {\"name\": \"b\"}]", "[0]=a;[1]=b;");
    assert_taken("[]", "");
    assert_taken("{\"name\": \"a\"}\n{\"name\": \"b\"}\n\n{\"name\": \"c\"}\n",
                 "line 1=a;line 2=b;line 4=c;");
}

Test(spec_json, taking_stops_at_the_first_failure)
{
    struct taken taken = { .fail_at = 2 };
    struct problem problem = { 0 };
    cr_assert_eq(specs_from_json(span_of_text("[{},{},{}]"), take, &taken, &problem),
                 STATUS_ABORTED);
    cr_assert_eq(taken.count, 2);
    cr_assert_str_eq(problem.field, "[1]");
}

Test(spec_json, refusals_in_a_stream_name_the_line_of_the_whole_text)
{
    struct taken taken = { 0 };
    struct problem problem = { 0 };
    cr_assert_eq(specs_from_json(span_of_text("{}\n{}\n{\"a\" 1}"), take, &taken, &problem),
                 STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(problem.message, "line 3, column"), "%s", problem.message);
    cr_assert_eq(specs_from_json(span_of_text("[{}, 7]"), take, &taken, &problem),
                 STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "[1]");
    cr_assert_eq(specs_from_json(span_of_text(" \n"), take, &taken, &problem),
                 STATUS_INVALID_ARGUMENT);
    cr_assert_eq(specs_from_json(span_of_text("{}\n[{}]"), take, &taken, &problem),
                 STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "line 2");
}

static void assert_shown(const struct buffer *wire, const char *expected)
{
    AUTO(buffer_close) struct buffer text = { .limit = 4096 };
    cr_assert_eq(json_from_wire(buffer_span(wire), &text), STATUS_OK);
    buffer_append(&text, "", 1);
    cr_assert_str_eq((char *)text.data, expected);
}

Test(spec_json, what_json_does_not_know_is_shown_as_near_as_it_gets)
{
    AUTO(buffer_close) struct buffer wire = { .limit = 4096 };
    write_array(&wire, 5);
    write_bin(&wire, span_of("\x01\xab", 2));
    write_u64(&wire, UINT64_MAX);
    write_f64(&wire, (double)NAN);
    write_text(&wire, span_of("a\xff\xc3", 3));
    write_map(&wire, 1);
    write_u64(&wire, 7);
    write_bool(&wire, true);
    assert_shown(&wire,
                 "[\"01ab\", 18446744073709551615, null, \"a\\ufffd\\ufffd\", {\"7\": true}]");
}

Test(spec_json, bytes_that_are_no_object_are_refused)
{
    AUTO(buffer_close) struct buffer text = { .limit = 4096 };
    cr_assert_eq(json_from_wire(span_of("", 0), &text), STATUS_INVALID_ARGUMENT);
    cr_assert_eq(json_from_wire(span_of("\xc1", 1), &text), STATUS_INVALID_ARGUMENT);
    cr_assert_eq(json_from_wire(span_of("\x92\x01", 2), &text), STATUS_INVALID_ARGUMENT);
    cr_assert_eq(json_from_wire(span_of("\x01\x01", 2), &text), STATUS_INVALID_ARGUMENT);
    uint8_t deep[64];
    memset(deep, 0x91, sizeof deep);
    cr_assert_eq(json_from_wire(span_of(deep, sizeof deep), &text), STATUS_INVALID_ARGUMENT);
    AUTO(buffer_close) struct buffer small = { .limit = 2 };
    cr_assert_eq(json_from_wire(span_of("\xa3"
                                        "abc",
                                        4),
                                &small),
                 STATUS_RESOURCE_EXHAUSTED);
}
