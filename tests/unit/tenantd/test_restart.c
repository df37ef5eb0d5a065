/* The policy on a clock of the test's own. */
#include "tenantd/restart.h"
#include "tests/support/criterion.h"

static const uint64_t MS = 1000000, START = 1000000000000;

static struct restart_settings usual(enum restart_policy policy)
{
    return (struct restart_settings){
        .policy = policy, .initial_ms = 1000, .max_ms = 60000, .max_restarts = 5, .window_ms = 60000
    };
}

static struct restart_exit exit_code(int code, uint64_t ran_ms)
{
    return (struct restart_exit){ .code = code, .ran_ns = ran_ms * MS };
}

static struct restart_exit exit_signal(int number)
{
    return (struct restart_exit){ .is_signalled = true, .code = number };
}

Test(restart, a_crash_loop_follows_the_exact_schedule)
{
    const struct restart_settings settings = usual(RESTART_ALWAYS);
    struct restart_history history = { 0 };
    const struct restart_exit exit = exit_code(3, 0);
    const uint64_t delays[] = { 1000, 2000, 4000, 8000, 16000 };
    uint64_t now = START;
    for (size_t i = 0; i < 5; i++) {
        struct restart_decision decision = restart_decide(&settings, &history, &exit, now);
        cr_assert_eq(decision.verdict, RESTART_AGAIN);
        cr_assert_eq(decision.delay_ms, delays[i], "delay %zu is %lu", i,
                     (unsigned long)decision.delay_ms);
        cr_assert_eq(decision.crashes, i + 1);
        cr_assert_eq(decision.is_first_crash, i == 0);
        now += decision.delay_ms * MS;
    }
    struct restart_decision last = restart_decide(&settings, &history, &exit, now);
    cr_assert_eq(last.verdict, RESTART_PARK);
    cr_assert_eq(last.crashes, 6);
    cr_assert_eq(now - START, 31000 * MS);
}

Test(restart, the_delay_stops_at_its_maximum)
{
    struct restart_settings settings = usual(RESTART_ALWAYS);
    struct restart_history history = { 0 };
    settings.max_ms = 5000;
    settings.max_restarts = 100;
    const struct restart_exit exit = exit_signal(11);
    uint64_t last = 0;
    for (int i = 0; i < 50; i++)
        last = restart_decide(&settings, &history, &exit, START + (uint64_t)i * MS).delay_ms;
    cr_assert_eq(last, 5000);
}

Test(restart, a_run_longer_than_the_window_was_healthy)
{
    const struct restart_settings settings = usual(RESTART_ALWAYS);
    struct restart_history history = { 0 };
    const struct restart_exit quick = exit_code(1, 10), slow = exit_code(1, 60001);
    for (int i = 0; i < 3; i++)
        restart_decide(&settings, &history, &quick, START);
    struct restart_decision decision =
        restart_decide(&settings, &history, &slow, START + 61000 * MS);
    cr_assert_eq(decision.verdict, RESTART_AGAIN);
    cr_assert_eq(decision.delay_ms, 1000);
    cr_assert_eq(decision.crashes, 1);
    cr_assert(decision.is_first_crash);
}

Test(restart, slow_crashes_never_park_but_keep_their_delay)
{
    const struct restart_settings settings = usual(RESTART_ALWAYS);
    struct restart_history history = { 0 };
    const struct restart_exit exit = exit_code(1, 30000);
    uint64_t now = START;
    for (int i = 0; i < 100; i++) {
        struct restart_decision decision = restart_decide(&settings, &history, &exit, now);
        cr_assert_eq(decision.verdict, RESTART_AGAIN, "crash %d", i);
        cr_assert_eq(decision.is_first_crash, i == 0);
        now += (30000 + decision.delay_ms) * MS;
    }
    cr_assert_eq(history.delay_ms, 60000);
}

Test(restart, no_restarts_allowed_parks_at_the_first_crash)
{
    struct restart_settings settings = usual(RESTART_ALWAYS);
    struct restart_history history = { 0 };
    settings.max_restarts = 0;
    const struct restart_exit exit = exit_code(1, 0);
    struct restart_decision decision = restart_decide(&settings, &history, &exit, START);
    cr_assert_eq(decision.verdict, RESTART_PARK);
    cr_assert(decision.is_first_crash);
}

Test(restart, what_ends_a_service_for_good)
{
    static const struct {
        enum restart_policy policy;
        bool is_signalled;
        int code;
        enum restart_verdict verdict;
    } rows[] = {
        { RESTART_ALWAYS, false, 0, RESTART_AGAIN },
        { RESTART_ALWAYS, false, 1, RESTART_AGAIN },
        { RESTART_ALWAYS, true, 9, RESTART_AGAIN },
        { RESTART_ON_FAILURE, false, 0, RESTART_COMPLETE },
        { RESTART_ON_FAILURE, false, 1, RESTART_AGAIN },
        { RESTART_ON_FAILURE, true, 15, RESTART_AGAIN },
        { RESTART_NEVER, false, 0, RESTART_COMPLETE },
        { RESTART_NEVER, false, 1, RESTART_COMPLETE },
        { RESTART_NEVER, true, 15, RESTART_FAIL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct restart_settings settings = usual(rows[i].policy);
        struct restart_history history = { 0 };
        const struct restart_exit exit = { rows[i].is_signalled, rows[i].code, 0 };
        cr_assert_eq(restart_decide(&settings, &history, &exit, START).verdict, rows[i].verdict,
                     "row %zu", i);
    }
}

Test(restart, absurd_settings_do_not_overflow)
{
    struct restart_settings settings = usual(RESTART_ALWAYS);
    settings.initial_ms = settings.max_ms = UINT64_MAX / 2 + 7;
    settings.max_restarts = UINT64_MAX;
    struct restart_history history = { 0 };
    const struct restart_exit exit = exit_code(1, 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(restart_decide(&settings, &history, &exit, START).delay_ms, settings.max_ms);
}
