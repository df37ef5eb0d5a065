#include "common/base/size.h"

#include "common/base/auto.h"
#include "tests/support/criterion.h"

Test(size, is_told_in_the_largest_unit_that_fits)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {
        { 0, "0 bytes" },           { 1, "1 byte" },
        { 1023, "1023 bytes" },     { 1024, "1 KiB" },
        { 1536, "1.5 KiB" },        { (1 << 20) - 1, "1023.9 KiB" },
        { 256 << 20, "256 MiB" },   { UINT64_C(5) << 29, "2.5 GiB" },
        { UINT64_MAX, "15.9 EiB" },
    };
    char text[SIZE_TEXT_BYTES];
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        cr_expect_str_eq(size_text(text, sizes[i].bytes), sizes[i].text);
}
