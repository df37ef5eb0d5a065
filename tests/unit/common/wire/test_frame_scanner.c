/* Every type, every bound, every cut. */
#include <stdlib.h>

#include "common/base/auto.h"
#include "common/base/buffer.h"
#include "common/wire/frame_scanner.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"

#define BYTES(text) span_of(text, sizeof text - 1)

static enum status check(struct span data, const char **rule)
{
    *rule = "";
    return frame_check(data, FRAME_BYTES_MAX, rule);
}

#define expect_sound(text)                                                                         \
    do {                                                                                           \
        const char *rule_;                                                                         \
        cr_expect_eq(check(BYTES(text), &rule_), STATUS_OK, "%s", rule_);                          \
    } while (0)

#define expect_refused(data, wanted)                                                               \
    do {                                                                                           \
        const char *rule_;                                                                         \
        cr_expect_eq(check(data, &rule_), STATUS_INVALID_ARGUMENT);                                \
        cr_expect_str_eq(rule_, wanted);                                                           \
    } while (0)

Test(frame_scanner, accepts_every_type_and_length)
{
    expect_sound("\x00");
    expect_sound("\x7f");
    expect_sound("\xe0");
    expect_sound("\xff");
    expect_sound("\xc0");
    expect_sound("\xc2");
    expect_sound("\xc3");
    expect_sound("\xcc\xff");
    expect_sound("\xcd\xff\xff");
    expect_sound("\xce\xff\xff\xff\xff");
    expect_sound("\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    expect_sound("\xd0\x80");
    expect_sound("\xd1\x80\x00");
    expect_sound("\xd2\x80\x00\x00\x00");
    expect_sound("\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
    expect_sound("\xca\x3f\x80\x00\x00");
    expect_sound("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00");
    expect_sound("\xa0");
    expect_sound("\xa3"
                 "abc");
    expect_sound("\xd9\x01x");
    expect_sound("\xda\x00\x01x");
    expect_sound("\xdb\x00\x00\x00\x01x");
    expect_sound("\xc4\x01x");
    expect_sound("\xc5\x00\x01x");
    expect_sound("\xc6\x00\x00\x00\x01x");
    expect_sound("\x90");
    expect_sound("\x92\x01\x02");
    expect_sound("\xdc\x00\x01\x01");
    expect_sound("\xdd\x00\x00\x00\x01\x01");
    expect_sound("\x80");
    expect_sound("\x81\x01\x02");
    expect_sound("\xde\x00\x01\x01\x02");
    expect_sound("\xdf\x00\x00\x00\x01\x01\x02");
}

Test(frame_scanner, refuses_ext_types)
{
    static const char *const heads[] = { "\xd4", "\xd5", "\xd6", "\xd7",
                                         "\xd8", "\xc7", "\xc8", "\xc9" };
    for (size_t i = 0; i < COUNT_OF(heads); i++)
        expect_refused(span_of(heads[i], 1), "has an ext type, which is not accepted");
    expect_refused(BYTES("\x92\x01\xd4\x01\x02"), "has an ext type, which is not accepted");
}

Test(frame_scanner, refuses_the_reserved_byte)
{
    expect_refused(BYTES("\xc1"), "is not msgpack: byte 0xc1");
    expect_refused(BYTES("\x91\xc1"), "is not msgpack: byte 0xc1");
}

Test(frame_scanner, takes_the_greatest_depth_and_refuses_one_more)
{
    uint8_t nested[FRAME_DEPTH_MAX + 2];
    memset(nested, 0x91, sizeof nested);
    nested[FRAME_DEPTH_MAX] = 0xc0;
    const char *rule;
    cr_expect_eq(check(span_of(nested, FRAME_DEPTH_MAX + 1), &rule), STATUS_OK);
    nested[FRAME_DEPTH_MAX] = 0x91;
    nested[FRAME_DEPTH_MAX + 1] = 0xc0;
    expect_refused(span_of(nested, sizeof nested), "is nested too deep");
    nested[FRAME_DEPTH_MAX] = 0x80; /* also when the innermost is empty */
    expect_refused(span_of(nested, FRAME_DEPTH_MAX + 1), "is nested too deep");
}

Test(frame_scanner, refuses_a_small_frame_that_announces_many_elements)
{
    /* 155 bytes that make msgpack-c reserve 63 GB. */
    uint8_t frame[155] = { 0x94, 0x00, 0x01, 0xab };
    memcpy(frame + 4, "event.query\x91\xdd\x04\x00\x00\x00", 17);
    struct frame_scanner scanner = { 0 };
    bool is_complete = true;
    const char *rule = "";
    cr_expect_eq(
        frame_scan(&scanner, span_of(frame, sizeof frame), FRAME_BYTES_MAX, &is_complete, &rule),
        STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(rule, "announces more elements than it can hold");
    cr_expect_not(is_complete);
    cr_expect_eq(scanner.position, 16, "it stands before the array that it refused");
}

Test(frame_scanner, counts_what_outer_containers_still_lack)
{
    /* Each level alone would fit into 100 bytes, together they cannot. */
    uint8_t frame[] = { 0xdc, 0, 60, 0xdc, 0, 60, 0xc0 };
    struct frame_scanner scanner = { 0 };
    bool is_complete;
    const char *rule = "";
    cr_expect_eq(frame_scan(&scanner, span_of(frame, sizeof frame), 100, &is_complete, &rule),
                 STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(rule, "announces more elements than it can hold");
}

Test(frame_scanner, takes_nested_objects_in_exactly_their_bytes)
{
    static const char *const nested[] = { "\x91\x91\x91\x01", "\x91\x81\x01\x92\x01\x02",
                                          "\x82\x01\x02\x03\x93\x01\x91\x02\x03" };
    for (size_t i = 0; i < COUNT_OF(nested); i++) {
        const char *rule = "";
        struct span data = span_of_text(nested[i]);
        cr_expect_eq(frame_check(data, data.size, &rule), STATUS_OK, "%zu: %s", i, rule);
    }
}

Test(frame_scanner, refuses_what_is_longer_than_its_bound)
{
    struct frame_scanner scanner = { 0 };
    bool is_complete;
    const char *rule = "";
    uint8_t text[12] = { 0xaa, 'a', 'b' };
    cr_expect_eq(frame_scan(&scanner, span_of(text, 3), 10, &is_complete, &rule),
                 STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(rule, "is longer than this request may be");
    /* The same scanner goes on with a greater bound. */
    cr_expect_eq(frame_scan(&scanner, span_of(text, 3), 11, &is_complete, &rule), STATUS_OK);
    cr_expect_not(is_complete);
    cr_expect_eq(frame_scan(&scanner, span_of(text, 11), 11, &is_complete, &rule), STATUS_OK);
    cr_expect(is_complete);
    cr_expect_eq(scanner.position, 11);
}

Test(frame_scanner, refuses_text_that_announces_four_gigabytes)
{
    expect_refused(BYTES("\xdb\xff\xff\xff\xff"), "is longer than this request may be");
    expect_refused(BYTES("\xc6\xff\xff\xff\xff"), "is longer than this request may be");
    expect_refused(BYTES("\xdf\xff\xff\xff\xff"), "announces more elements than it can hold");
}

static struct buffer sample(void)
{
    struct buffer buffer = { .limit = 4096 };
    write_array(&buffer, 4);
    write_u64(&buffer, 0);
    write_u64(&buffer, 70000);
    write_str(&buffer, "event.append");
    write_array(&buffer, 1);
    write_map(&buffer, 3);
    write_str(&buffer, "a text that is longer than thirty-one bytes");
    write_f64(&buffer, 1.5);
    write_str(&buffer, "b");
    write_i64(&buffer, -70000);
    write_str(&buffer, "c");
    write_bin(&buffer, span_of("\x00\x01\x02", 3));
    return buffer;
}

Test(frame_scanner, a_frame_cut_at_any_byte_is_incomplete)
{
    AUTO(buffer_close) struct buffer buffer = sample();
    const char *rule;
    cr_assert_eq(check(buffer_span(&buffer), &rule), STATUS_OK);
    for (size_t size = 0; size < buffer.size; size++) {
        uint8_t *exact = malloc(size + 1);
        memcpy(exact, buffer.data, size);
        struct frame_scanner scanner = { 0 };
        bool is_complete = true;
        cr_expect_eq(
            frame_scan(&scanner, span_of(exact, size), FRAME_BYTES_MAX, &is_complete, &rule),
            STATUS_OK);
        cr_expect_not(is_complete, "at %zu", size);
        expect_refused(span_of(exact, size), "ends in the middle of an object");
        free(exact);
    }
}

Test(frame_scanner, goes_on_from_any_byte)
{
    AUTO(buffer_close) struct buffer buffer = sample();
    for (size_t cut = 0; cut <= buffer.size; cut++) {
        struct frame_scanner scanner = { 0 };
        bool is_complete;
        const char *rule;
        cr_assert_eq(
            frame_scan(&scanner, span_of(buffer.data, cut), FRAME_BYTES_MAX, &is_complete, &rule),
            STATUS_OK);
        cr_expect_eq(is_complete, cut == buffer.size);
        cr_assert_eq(
            frame_scan(&scanner, buffer_span(&buffer), FRAME_BYTES_MAX, &is_complete, &rule),
            STATUS_OK);
        cr_expect(is_complete, "cut at %zu", cut);
        cr_expect_eq(scanner.position, buffer.size);
    }
}

Test(frame_scanner, stops_at_the_end_of_the_first_object)
{
    struct frame_scanner scanner = { 0 };
    bool is_complete;
    const char *rule;
    cr_expect_eq(frame_scan(&scanner, BYTES("\x92\x01\x02\xc1"), 100, &is_complete, &rule),
                 STATUS_OK);
    cr_expect(is_complete);
    cr_expect_eq(scanner.position, 3);
    expect_refused(BYTES("\x92\x01\x02\xc1"), "goes on after its end");
}
