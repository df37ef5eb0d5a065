#include "common/base/buffer.h"

#include "tests/support/criterion.h"

Test(buffer, grows_up_to_its_bound_and_not_past_it)
{
    struct buffer buffer = { .limit = 1000 };
    for (int i = 0; i < 100; i++)
        cr_assert_eq(buffer_append(&buffer, "0123456789", 10), STATUS_OK);
    cr_assert_eq(buffer.size, 1000);
    cr_assert_not(buffer.is_exhausted);
    cr_assert_eq(buffer_append(&buffer, "x", 1), STATUS_RESOURCE_EXHAUSTED);
    cr_assert(buffer.is_exhausted);
    cr_assert_eq(buffer.size, 1000, "a refused append changes nothing");
    cr_assert_leq(buffer.capacity, 1000);
    buffer_close(&buffer);
}

Test(buffer, stays_exhausted_until_it_is_cleared)
{
    struct buffer buffer = { .limit = 4 };
    cr_assert_eq(buffer_append_text(&buffer, "12345"), STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(buffer_append_text(&buffer, "1234"), STATUS_OK);
    cr_assert(buffer.is_exhausted, "a writer checks once at its end");
    buffer_clear(&buffer);
    cr_assert_not(buffer.is_exhausted);
    cr_assert_eq(buffer.size, 0);
    buffer_close(&buffer);
}

Test(buffer, refuses_sizes_that_wrap_around)
{
    struct buffer buffer = { .limit = 100 };
    buffer_append_text(&buffer, "1234");
    cr_assert_null(buffer_reserve(&buffer, SIZE_MAX));
    cr_assert_eq(buffer.size, 4);
    buffer_close(&buffer);
}

Test(buffer, formats_text_that_fills_it_exactly)
{
    struct buffer buffer = { .limit = 8 };
    cr_assert_eq(buffer_append_format(&buffer, "%s-%d", "abc", 42), STATUS_OK);
    cr_assert_eq(buffer_append_format(&buffer, "%s", "yz"), STATUS_OK, "8 of 8 bytes");
    cr_assert(span_equal(buffer_span(&buffer), span_of_text("abc-42yz")));
    cr_assert_eq(buffer_append_format(&buffer, "%d", 1), STATUS_RESOURCE_EXHAUSTED);
    cr_assert_eq(buffer.size, 8);
    buffer_close(&buffer);
}

Test(buffer, formats_text_longer_than_its_first_memory)
{
    struct buffer buffer = { .limit = 10000 };
    cr_assert_eq(buffer_append_format(&buffer, "%5000d", 7), STATUS_OK);
    cr_assert_eq(buffer.size, 5000);
    cr_assert_eq(buffer.data[4999], '7');
    buffer_close(&buffer);
}

Test(buffer, consumes_from_the_front)
{
    struct buffer buffer = { .limit = 100 };
    buffer_consume(&buffer, 0);
    buffer_append_text(&buffer, "hello world");
    buffer_consume(&buffer, 6);
    cr_assert(span_equal(buffer_span(&buffer), span_of_text("world")));
    buffer_consume(&buffer, 5);
    cr_assert_eq(buffer.size, 0);
    buffer_close(&buffer);
}

Test(buffer, gives_memory_back_but_never_content)
{
    struct buffer buffer = { .limit = 100000 };
    cr_assert_not_null(buffer_reserve(&buffer, 50000));
    buffer_append_text(&buffer, "kept");
    buffer_shrink(&buffer, 2);
    cr_assert_geq(buffer.capacity, 4, "the content does not allow it");
    buffer_shrink(&buffer, 64);
    cr_assert_eq(buffer.capacity, 64);
    cr_assert(span_equal(buffer_span(&buffer), span_of_text("kept")));
    buffer_clear(&buffer);
    buffer_shrink(&buffer, 0);
    cr_assert_eq(buffer.capacity, 0);
    cr_assert_null(buffer.data, "not a byte is kept");
    cr_assert_eq(buffer_append_text(&buffer, "again"), STATUS_OK);
    buffer_close(&buffer);
    cr_assert_eq(buffer.limit, 100000, "it can be used again");
}
