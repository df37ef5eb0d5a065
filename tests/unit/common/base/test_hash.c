#include "common/base/hash.h"

#include "tests/support/criterion.h"

/* BLAKE2b-256 of "abc", as `b2sum -l 256` prints it. */
static const char abc[] = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";

Test(hash, is_blake2b_256)
{
    char text[HASH_TEXT_BYTES];
    struct hash hash = hash_of(span_of_text("abc"));
    cr_assert_str_eq(hex_text(text, hash.bytes, HASH_BYTES), abc);
    struct hash empty = hash_of((struct span){ 0 });
    cr_assert_str_eq(hex_text(text, empty.bytes, HASH_BYTES),
                     "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
}

Test(hash, parts_give_the_same_as_the_whole)
{
    struct hash_state state;
    hash_begin(&state);
    hash_add(&state, span_of_text("a"));
    hash_add(&state, (struct span){ 0 });
    hash_add(&state, span_of_text("bc"));
    struct hash parts = hash_end(&state), whole = hash_of(span_of_text("abc"));
    cr_assert(hash_equal(&parts, &whole));
    whole.bytes[31] ^= 1;
    cr_assert_not(hash_equal(&parts, &whole));
}

Test(hash, hexadecimal_is_read_back)
{
    uint8_t bytes[3];
    cr_assert(hex_parse("00fFa9", bytes, 3));
    cr_assert_eq(memcmp(bytes, "\x00\xff\xa9", 3), 0);
    char text[7];
    cr_assert_str_eq(hex_text(text, bytes, 3), "00ffa9");
    cr_assert_str_eq(hex_text(text, bytes, 0), "");
}

Test(hash, what_is_not_exactly_the_hexadecimal_is_refused)
{
    uint8_t bytes[3];
    static const char *const bad[] = { "",       "00ff",   "00ffa",  "00ffa9a", "00ffa9aa",
                                       "00ffag", "0x00ff", "00 ff1", "00ff\n9" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(hex_parse(bad[i], bytes, 3), "%s", bad[i]);
}

Test(hash, random_bytes_differ)
{
    uint8_t a[32] = { 0 }, b[32] = { 0 };
    random_fill(a, sizeof a);
    random_fill(b, sizeof b);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
}
