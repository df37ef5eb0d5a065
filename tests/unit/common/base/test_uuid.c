#include "common/base/uuid.h"

#include "common/base/clock.h"
#include "tests/support/criterion.h"

Test(uuid, is_drawn_as_version_7_with_the_time_first)
{
    uint64_t before = clock_wall_ns() / 1000000u;
    struct uuid uuid = uuid_draw();
    uint64_t after = clock_wall_ns() / 1000000u;
    cr_assert_eq(uuid.bytes[6] >> 4, 7);
    cr_assert_eq(uuid.bytes[8] >> 6, 2);
    cr_assert_geq(uuid_milliseconds(&uuid), before);
    cr_assert_leq(uuid_milliseconds(&uuid), after);
    struct uuid another = uuid_draw();
    cr_assert_neq(memcmp(&uuid, &another, sizeof uuid), 0);
}

Test(uuid, is_read_back_from_its_text)
{
    char text[UUID_TEXT_BYTES];
    struct uuid drawn = uuid_draw(), read;
    cr_assert_eq(uuid_parse(uuid_text(text, &drawn), &read), STATUS_OK);
    cr_assert_eq(memcmp(&drawn, &read, sizeof drawn), 0);
    /* the example of RFC 9562, appendix A.6 */
    cr_assert_eq(uuid_parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", &read), STATUS_OK);
    cr_assert_eq(uuid_milliseconds(&read), 0x017F22E279B0);
    cr_assert_str_eq(uuid_text(text, &read), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

Test(uuid, other_texts_and_versions_are_refused)
{
    static const char *const bad[] = {
        "",
        "017f22e279b07cc398c4dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e27-9b0-7cc3-98c4-dc0c0c07398f",
        "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7",
        "017f22e2_79b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-4cc3-98c4-dc0c0c07398f", /* version 4 */
        "017f22e2-79b0-7cc3-18c4-dc0c0c07398f", /* another variant */
        "00000000-0000-0000-0000-000000000000",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct uuid uuid = { { 1 } };
        cr_assert_eq(uuid_parse(bad[i], &uuid), STATUS_INVALID_ARGUMENT, "%s", bad[i]);
        cr_assert_eq(uuid.bytes[0], 1, "written only on success");
    }
}

static struct problem refused_at(const char *id, uint64_t now_ms)
{
    struct uuid uuid;
    struct problem problem = { 0 };
    cr_assert_eq(uuid_parse(id, &uuid), STATUS_OK);
    cr_assert_eq(uuid_check_age(&uuid, now_ms, &problem), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "request_id");
    return problem;
}

/* Of 2022-02-22T19:22:22.000Z. */
Test(uuid, one_that_is_too_old_or_ahead_is_refused_with_the_times_of_both_clocks)
{
    static const char id[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    static const char drawn[] = "was drawn at 2022-02-22T19:22:22.000Z by the caller's clock";
    const uint64_t at_ms = 0x017F22E279B0, hour_ms = 3600 * 1000;
    struct uuid uuid;
    struct problem problem = refused_at(id, at_ms + 24 * hour_ms + 1);
    cr_assert_not_null(strstr(problem.message, drawn), "%s", problem.message);
    cr_assert_not_null(strstr(problem.message, "here it is 2022-02-23T19:22:22.001Z"));
    cr_assert_not_null(strstr(problem.message, "24 hours old at most"));
    problem = refused_at(id, at_ms - hour_ms - 1);
    cr_assert_not_null(strstr(problem.message, drawn), "%s", problem.message);
    cr_assert_not_null(strstr(problem.message, "here it is 2022-02-22T18:22:21.999Z"));
    cr_assert_not_null(strstr(problem.message, "an hour ahead at most"));
    refused_at("ffffffff-ffff-7cc3-98c4-dc0c0c07398f", at_ms);
    cr_assert_eq(uuid_parse(id, &uuid), STATUS_OK);
    cr_assert_eq(uuid_check_age(&uuid, at_ms + 24 * hour_ms, NULL), STATUS_OK);
    cr_assert_eq(uuid_check_age(&uuid, at_ms - hour_ms, NULL), STATUS_OK);
}
