#include "common/base/name.h"

#include <stdio.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"

#define NAME_63 "a23456789-123456789-123456789-123456789-123456789-123456789-123"

Test(name, of_a_secret_may_have_capitals)
{
    static const char *const good[] = { "DB_PASSWORD", "A", "aB", "db-password", "0A", NAME_63 };
    static const char *const bad[] = {
        "", "_A", ".A", "A B", "A/B", "\xc3\x89", "A\n", NAME_63 "A"
    };
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    for (size_t i = 0; i < COUNT_OF(good); i++)
        cr_assert(secret_name_is_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert_not(secret_name_is_valid(bad[i]), "%s", bad[i]);
    cr_assert_eq(secret_path_split("acme/DB", tenant, name), STATUS_OK);
    cr_assert_str_eq(name, "DB");
    cr_assert_eq(secret_path_split("Acme/DB", tenant, name), STATUS_INVALID_ARGUMENT);
    cr_assert_eq(service_key_split("acme/DB", tenant, name), STATUS_INVALID_ARGUMENT);
}

Test(name, follows_the_pattern)
{
    static const char *const good[] = { "a", "0", "web-1.2_x", "a-", "9.", NAME_63 };
    static const char *const bad[] = { "",    "-a",  ".a",       "_a",  "A",   "aB",
                                       "a b", "a/b", "\xc3\xa9", "a\n", "a:b", NAME_63 "4" };
    for (size_t i = 0; i < COUNT_OF(good); i++)
        cr_assert(name_is_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert_not(name_is_valid(bad[i]), "%s", bad[i]);
}

Test(name, service_key_is_split_where_it_was_joined)
{
    char key[SERVICE_KEY_BYTES], tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    service_key(key, NAME_63, NAME_63);
    cr_assert_eq(strlen(key), SERVICE_KEY_BYTES - 1);
    cr_assert_eq(service_key_split(key, tenant, name), STATUS_OK);
    cr_assert_str_eq(tenant, NAME_63);
    cr_assert_str_eq(name, NAME_63);
}

Test(name, what_is_no_service_key_is_refused)
{
    static const char *const bad[] = { "",    "web", "/web",        "demo/",          "demo/web/1",
                                       "D/w", "d/W", NAME_63 "4/w", "d/" NAME_63 "4", "d//w" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char tenant[NAME_BYTES_MAX + 1] = "-", name[NAME_BYTES_MAX + 1] = "-";
        cr_assert_eq(service_key_split(bad[i], tenant, name), STATUS_INVALID_ARGUMENT, "%s",
                     bad[i]);
        cr_assert_str_eq(tenant, "-");
        cr_assert_str_eq(name, "-");
    }
}

Test(name, utf8_is_what_rfc_3629_says)
{
    static const char *const good[] = {
        "",
        "plain",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "gr\xc3\xbc\xc3\x9f",
    };
    static const char *const bad[] = {
        "\x80",     /* a continuation first */
        "\xc0\xaf", /* overlong */
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* past U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc3", /* cut off */
        "\xe2\x82",
        "\xf0\x9f\x98",
        "\xe2\x28\xa1",
        "\xf0\x9f\x28\x80",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++)
        cr_assert(utf8_is_valid(span_of_text(good[i])), "good[%zu]", i);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_assert_not(utf8_is_valid(span_of_text(bad[i])), "bad[%zu]", i);
    cr_assert_not(utf8_is_valid(span_of("a\0b", 3)), "NUL inside");
    cr_assert(utf8_is_valid((struct span){ 0 }));
}

Test(name, cuts_text_between_characters)
{
    char text[] = "gr\xc3\xbc\xc3", whole[] = "gr\xc3\xbc", rest[] = "\xe2\x82";
    text_cut(text);
    cr_assert_str_eq(text, "gr\xc3\xbc");
    text_cut(whole);
    cr_assert_str_eq(whole, "gr\xc3\xbc");
    text_cut(rest);
    cr_assert_str_empty(rest);
    text_cut(NULL);
}
