/* The writer's bytes are the shortest encodings and msgpack-c reads them back. */
#include <msgpack/unpack.h>

#include "common/base/auto.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"

static void expect_bytes(struct buffer *buffer, const char *bytes, size_t size)
{
    cr_expect_not(buffer->is_exhausted);
    cr_expect(span_equal(buffer_span(buffer), span_of(bytes, size)), "%zu bytes, first is %02x",
              buffer->size, buffer->data[0]);
    buffer_clear(buffer);
}
#define EXPECT(buffer, bytes) expect_bytes(buffer, bytes, sizeof bytes - 1)

Test(writer, chooses_the_shortest_encoding)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = 100000 };
    write_nil(&buffer);
    EXPECT(&buffer, "\xc0");
    write_bool(&buffer, true);
    EXPECT(&buffer, "\xc3");
    write_bool(&buffer, false);
    EXPECT(&buffer, "\xc2");
    write_u64(&buffer, 127);
    EXPECT(&buffer, "\x7f");
    write_u64(&buffer, 128);
    EXPECT(&buffer, "\xcc\x80");
    write_u64(&buffer, 256);
    EXPECT(&buffer, "\xcd\x01\x00");
    write_u64(&buffer, 65536);
    EXPECT(&buffer, "\xce\x00\x01\x00\x00");
    write_u64(&buffer, UINT64_MAX);
    EXPECT(&buffer, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    write_i64(&buffer, -1);
    EXPECT(&buffer, "\xff");
    write_i64(&buffer, -33);
    EXPECT(&buffer, "\xd0\xdf");
    write_i64(&buffer, 5);
    EXPECT(&buffer, "\x05");
    write_i64(&buffer, INT64_MIN);
    EXPECT(&buffer, "\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
    write_f64(&buffer, 1);
    EXPECT(&buffer, "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00");
    write_str(&buffer, "abc");
    EXPECT(&buffer, "\xa3"
                    "abc");
    write_str(&buffer, NULL);
    EXPECT(&buffer, "\xa0");
    write_text(&buffer, (struct span){ 0 });
    EXPECT(&buffer, "\xa0");
    write_bin(&buffer, span_of("\x01", 1));
    EXPECT(&buffer, "\xc4\x01\x01");
    write_array(&buffer, 15);
    EXPECT(&buffer, "\x9f");
    write_array(&buffer, 16);
    EXPECT(&buffer, "\xdc\x00\x10");
    write_map(&buffer, 1);
    EXPECT(&buffer, "\x81");
    write_object(&buffer, span_of("\x93", 1));
    EXPECT(&buffer, "\x93");
}

Test(writer, remembers_that_the_buffer_was_full)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = 4 };
    write_str(&buffer, "longer than four");
    write_nil(&buffer);
    cr_expect(buffer.is_exhausted);
}

Test(writer, is_read_by_msgpack_c)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = 1000 };
    write_map(&buffer, 2);
    write_str(&buffer, "key");
    write_i64(&buffer, -5);
    write_str(&buffer, "bin");
    write_bin(&buffer, span_of("xy", 2));
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    cr_assert_eq(msgpack_unpack_next(&unpacked, (const char *)buffer.data, buffer.size, NULL),
                 MSGPACK_UNPACK_SUCCESS);
    cr_assert_eq(unpacked.data.type, MSGPACK_OBJECT_MAP);
    cr_expect_eq(unpacked.data.via.map.ptr[0].val.via.i64, -5);
    cr_expect_eq(unpacked.data.via.map.ptr[1].val.type, MSGPACK_OBJECT_BIN);
    msgpack_unpacked_destroy(&unpacked);
}
