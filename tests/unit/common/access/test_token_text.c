#include "common/access/token_text.h"

#include "tests/support/criterion.h"

Test(token_text, what_is_drawn_is_valid_and_never_the_same)
{
    char text[TOKEN_TEXT_BYTES], again[TOKEN_TEXT_BYTES];
    token_text_draw(text);
    token_text_draw(again);
    cr_assert_eq(strlen(text), TOKEN_TEXT_SIZE);
    cr_assert_eq(strncmp(text, "solo_", 5), 0);
    cr_assert(token_text_is_valid(span_of_text(text)));
    cr_assert(token_text_is_valid(span_of_text(again)));
    cr_assert_str_neq(text, again);
}

Test(token_text, any_changed_character_shows)
{
    char text[TOKEN_TEXT_BYTES];
    token_text_draw(text);
    for (size_t i = 0; i < TOKEN_TEXT_SIZE; i++) {
        char kept = text[i];
        text[i] = kept == 'A' ? 'B' : 'A';
        cr_assert_not(token_text_is_valid(span_of_text(text)), "character %zu", i);
        text[i] = kept;
    }
    cr_assert_not(token_text_is_valid(span_of(text, TOKEN_TEXT_SIZE - 1)));
    cr_assert_not(token_text_is_valid(span_of(text, TOKEN_TEXT_SIZE + 1)));
    cr_assert_not(token_text_is_valid((struct span){ 0 }));
}

/* Made with Python: the SipHash-2-4 of its authors' paper, base64.urlsafe_b64encode,
 * hashlib.sha256. */
Test(token_text, the_form_is_the_one_that_is_documented)
{
    static const char known[] = "solo_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8_6Kl6sJ";
    char hex[HASH_TEXT_BYTES];
    cr_assert(token_text_is_valid(span_of_text(known)));
    struct hash hash = token_text_hash(span_of_text(known));
    cr_assert_str_eq(hex_text(hex, hash.bytes, HASH_BYTES),
                     "8f17243dff03fdea7cced8415df6d08e6037df3d0cd9b59939d46cfdf2a0afb7");
}

Test(accessor, text_and_bytes_are_the_same_thing)
{
    char text[ACCESSOR_TEXT_BYTES];
    struct uuid read, least = { { 0 } }, most;
    memset(most.bytes, 0xff, sizeof most.bytes);
    cr_assert_str_eq(accessor_text(text, &least), "tok_00000000000000000000000000");
    cr_assert_str_eq(accessor_text(text, &most), "tok_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    for (int i = 0; i < 1000; i++) {
        struct uuid drawn = uuid_draw();
        cr_assert_eq(accessor_parse(accessor_text(text, &drawn), &read), STATUS_OK);
        cr_assert_eq(memcmp(read.bytes, drawn.bytes, sizeof read.bytes), 0);
    }
}

Test(accessor, texts_sort_as_the_bytes_do)
{
    char low[ACCESSOR_TEXT_BYTES], high[ACCESSOR_TEXT_BYTES];
    for (int i = 0; i < 1000; i++) {
        struct uuid a, b;
        random_fill(&a, sizeof a);
        random_fill(&b, sizeof b);
        int bytes = memcmp(a.bytes, b.bytes, sizeof a.bytes);
        int texts = strcmp(accessor_text(low, &a), accessor_text(high, &b));
        cr_assert((bytes < 0) == (texts < 0));
    }
}

Test(accessor, refuses_what_it_does_not_write)
{
    static const char *const bad[] = {
        "",
        "tok_",
        "tok_0000000000000000000000000",
        "tok_000000000000000000000000000",
        "tok_80000000000000000000000000", /* more than 128 bits */
        "tok_0000000000000000000000000O",
        "tok_0000000000000000000000000u",
        "tik_00000000000000000000000000",
    };
    struct uuid read;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(accessor_parse(bad[i], &read), STATUS_INVALID_ARGUMENT, "%s", bad[i]);
}
