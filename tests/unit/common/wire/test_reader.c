/* Each getter on its own type, on another, and on bytes that end too early. */
#include <math.h>

#include "common/base/auto.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"

#define READER(text) reader_of(span_of(text, sizeof text - 1))

Test(reader, reads_numbers_at_their_limits)
{
    static const struct {
        const char *bytes;
        size_t size;
        int64_t value;
    } cases[] = {
        { "\x00", 1, 0 },
        { "\x7f", 1, 127 },
        { "\xe0", 1, -32 },
        { "\xff", 1, -1 },
        { "\xcc\xff", 2, 255 },
        { "\xcd\xff\xff", 3, 65535 },
        { "\xce\xff\xff\xff\xff", 5, 4294967295 },
        { "\xd0\x80", 2, -128 },
        { "\xd0\x7f", 2, 127 },
        { "\xd1\x80\x00", 3, -32768 },
        { "\xd2\x80\x00\x00\x00", 5, INT32_MIN },
        { "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, INT64_MIN },
        { "\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MAX },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct reader reader = reader_of(span_of(cases[i].bytes, cases[i].size));
        int64_t value = 0;
        cr_expect_eq(reader_peek(&reader), WIRE_INTEGER);
        cr_expect_eq(reader_i64(&reader, &value), STATUS_OK);
        cr_expect_eq(value, cases[i].value, "case %zu", i);
        cr_expect_eq(reader.rest.size, 0);

        struct reader again = reader_of(span_of(cases[i].bytes, cases[i].size));
        uint64_t natural = 0;
        enum status status = reader_u64(&again, &natural);
        cr_expect_eq(status, cases[i].value < 0 ? STATUS_INVALID_ARGUMENT : STATUS_OK);
        cr_expect_eq(again.rest.size, cases[i].value < 0 ? cases[i].size : 0);
    }
    struct reader great = READER("\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    int64_t value;
    uint64_t natural;
    cr_expect_eq(reader_i64(&great, &value), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(reader_u64(&great, &natural), STATUS_OK);
    cr_expect_eq(natural, UINT64_MAX);
}

Test(reader, reads_floats_of_both_widths)
{
    struct reader narrow = READER("\xca\x3f\x80\x00\x00"),
                  wide = READER("\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"), integer = READER("\x01");
    double value;
    cr_expect_eq(reader_f64(&narrow, &value), STATUS_OK);
    cr_expect(fabs(value - 1) < 1e-9);
    cr_expect_eq(reader_f64(&wide, &value), STATUS_OK);
    cr_expect(fabs(value - 1.5) < 1e-9);
    cr_expect_eq(reader_f64(&integer, &value), STATUS_INVALID_ARGUMENT);
}

Test(reader, consumes_nothing_of_another_type)
{
    struct reader reader = READER("\xa1x");
    bool boolean;
    uint64_t number;
    uint32_t count;
    struct span bytes;
    cr_expect_eq(reader_nil(&reader), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(reader_bool(&reader, &boolean), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(reader_u64(&reader, &number), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(reader_bin(&reader, &bytes), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(reader_array(&reader, &count), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(reader_map(&reader, &count), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(reader.rest.size, 2);
    cr_expect_eq(reader_str(&reader, &bytes), STATUS_OK);
    cr_expect(span_equal(bytes, span_of("x", 1)));
    cr_expect_eq(reader_peek(&reader), WIRE_NONE);
}

Test(reader, says_what_comes_next)
{
    static const struct {
        char byte;
        enum wire_type type;
    } cases[] = {
        { (char)0xc0, WIRE_NIL },     { (char)0xc2, WIRE_BOOL },  { 0x01, WIRE_INTEGER },
        { (char)0xa0, WIRE_STR },     { (char)0x90, WIRE_ARRAY }, { (char)0x80, WIRE_MAP },
        { (char)0xc1, WIRE_NONE },    { (char)0xd4, WIRE_NONE },  { (char)0xcc, WIRE_NONE },
        { (char)0xff, WIRE_INTEGER },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct reader reader = reader_of(span_of(&cases[i].byte, 1));
        cr_expect_eq(reader_peek(&reader), cases[i].type, "case %zu", i);
    }
    struct reader binary = READER("\xc4\x00"), real = READER("\xca\x00\x00\x00\x00");
    cr_expect_eq(reader_peek(&binary), WIRE_BIN);
    cr_expect_eq(reader_peek(&real), WIRE_FLOAT);
}

Test(reader, stays_inside_bytes_that_end_too_early)
{
    struct reader text = READER("\xa5"
                                "abc"),
                  number = READER("\xcf\x01\x02"), array = READER("\x92\x01");
    struct span bytes;
    uint64_t value;
    cr_expect_eq(reader_str(&text, &bytes), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(reader_u64(&number, &value), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(reader_any(&array, &bytes), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(array.rest.size, 2);
}

Test(reader, takes_any_object_whole)
{
    struct reader reader = READER("\x92\x01\x81\xa1x\xc0\x05");
    struct span object;
    cr_expect_eq(reader_any(&reader, &object), STATUS_OK);
    cr_expect_eq(object.size, 6);
    cr_expect_eq(reader_any(&reader, &object), STATUS_OK);
    cr_expect_eq(object.size, 1);
    cr_expect_eq(reader_any(&reader, &object), STATUS_INVALID_ARGUMENT);
}

static struct buffer sample_map(void)
{
    struct buffer buffer = { .limit = 1000 };
    write_map(&buffer, 5);
    write_u64(&buffer, 7);
    write_str(&buffer, "under a key that is no text");
    write_str(&buffer, "number");
    write_u64(&buffer, 42);
    write_str(&buffer, "flag");
    write_bool(&buffer, true);
    write_str(&buffer, "nested");
    write_map(&buffer, 1);
    write_str(&buffer, "number");
    write_u64(&buffer, 1);
    write_str(&buffer, "text");
    write_str(&buffer, "gr\xc3\xbc\xc3\x9f"
                       "e");
    return buffer;
}

Test(reader, finds_values_by_key)
{
    AUTO(buffer_close) struct buffer buffer = sample_map();
    struct span map = buffer_span(&buffer);
    struct reader value;
    cr_expect_eq(map_u64(map, "number", 1), 42);
    cr_expect_eq(map_u64(map, "absent", 9), 9);
    cr_expect_eq(map_u64(map, "flag", 9), 9, "of another type");
    cr_expect(map_bool(map, "flag", false));
    cr_expect(map_bool(map, "number", true), "of another type");
    cr_expect_eq(map_find(map, "nested", &value), STATUS_OK);
    cr_expect_eq(map_u64(value.rest, "number", 0), 1);
    cr_expect_eq(map_find(map, "absent", &value), STATUS_NOT_FOUND);
    cr_expect_eq(map_find(span_of("\x01", 1), "x", &value), STATUS_INVALID_ARGUMENT);
    cr_expect_eq(map_find(span_of("\x82\xa1y\x01", 4), "x", &value), STATUS_INVALID_ARGUMENT);
}

Test(reader, cuts_text_between_characters)
{
    AUTO(buffer_close) struct buffer buffer = sample_map();
    struct span map = buffer_span(&buffer);
    char text[16], small[6], tiny[1];
    cr_expect_str_eq(map_text(map, "text", text, sizeof text), "gr\xc3\xbc\xc3\x9f"
                                                               "e");
    /* Five bytes would end in the middle of the second character of two. */
    cr_expect_str_eq(map_text(map, "text", small, sizeof small), "gr\xc3\xbc");
    cr_expect_str_eq(map_text(map, "text", tiny, sizeof tiny), "");
    cr_expect_str_eq(map_text(map, "absent", text, sizeof text), "");
    cr_expect_str_eq(map_text(map, "number", text, sizeof text), "");
}
