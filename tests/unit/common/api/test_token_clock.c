/* Trusted time on clocks that the test sets: what may and may not happen to tokens when the wall
 * clock is stepped, within a boot and across boots. */
#include "common/api/records/token_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/criterion.h"

static const uint64_t second = 1000000000u, day = 86400ull * 1000000000u;
static const uint64_t noon = 1795000000ull * 1000000000u; /* some day of 2026 */

static const char boot_a[] = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
static const char boot_b[] = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";

static struct token_time clocks(const char *boot, uint64_t boottime_ns, uint64_t wall_ns)
{
    struct token_time time = { .boottime_ns = boottime_ns, .wall_ns = wall_ns };
    snprintf(time.boot_id, sizeof time.boot_id, "%s", boot);
    return time;
}

/* A store that tokend has run on at `noon`, 100 s after boot a. */
static struct token_anchor used_store(void)
{
    struct token_anchor none = { 0 };
    struct token_time time = clocks(boot_a, 100 * second, noon);
    struct token_anchor anchor = token_anchor_start(&none, &time);
    cr_assert(token_anchor_advance(&anchor, &time));
    return anchor;
}

Test(token_clock, a_new_store_takes_the_wall_clock)
{
    struct token_anchor none = { 0 };
    struct token_time time = clocks(boot_a, 5 * second, noon);
    struct token_anchor anchor = token_anchor_start(&none, &time);
    cr_assert_eq(token_clock_now(&anchor, &time), noon);
    cr_assert_not(anchor.is_suspect);
}

Test(token_clock, steps_of_the_wall_clock_within_a_boot_change_nothing)
{
    struct token_anchor anchor = used_store();
    static const int64_t steps_days[] = { -1, 3650, -3650, 0 };
    for (size_t i = 0; i < 4; i++) {
        uint64_t wall = (uint64_t)((int64_t)noon + steps_days[i] * (int64_t)day);
        struct token_time time = clocks(boot_a, (100 + 7) * second, wall);
        cr_assert_eq(token_clock_now(&anchor, &time), noon + 7 * second);
        struct token_anchor again = token_anchor_start(&anchor, &time);
        cr_assert_eq(memcmp(&again, &anchor, sizeof again), 0, "a restart in a boot keeps it");
    }
}

Test(token_clock, a_reboot_with_a_good_clock_goes_on_with_it)
{
    struct token_anchor anchor = used_store();
    struct token_time time = clocks(boot_b, second, noon + day);
    anchor = token_anchor_start(&anchor, &time);
    cr_assert_not(anchor.is_suspect);
    cr_assert_eq(token_clock_now(&anchor, &time), noon + day);
}

/* P7: whatever was reached before the reboot is not undone by it. */
Test(token_clock, a_step_back_across_a_reboot_revives_nothing)
{
    struct token_anchor anchor = used_store();
    struct token_time before = clocks(boot_a, (100 + 59) * second, noon + 59 * second);
    uint64_t reached = token_clock_now(&anchor, &before);
    struct token_time after = clocks(boot_b, second, noon - day);
    anchor = token_anchor_start(&anchor, &after);
    cr_assert_not(anchor.is_suspect);
    cr_assert_geq(token_clock_now(&anchor, &after), reached);
    cr_assert_leq(token_clock_now(&anchor, &after), reached + TOKEN_MARK_AHEAD_S * second);
}

Test(token_clock, ten_years_forward_are_suspect_and_cost_nothing_once_they_are_taken_back)
{
    struct token_anchor anchor = used_store();
    uint64_t mark = anchor.mark_ns, long_lived = noon + 365 * day;
    struct token_time wrong = clocks(boot_b, second, noon + 3650 * day);
    anchor = token_anchor_start(&anchor, &wrong);
    cr_assert(anchor.is_suspect);
    cr_assert_geq(token_clock_now(&anchor, &wrong), long_lived, "it fails closed");
    cr_assert_not(token_anchor_advance(&anchor, &wrong));
    cr_assert_eq(anchor.mark_ns, mark, "the mark does not follow the clock");

    /* Across a reboot. */
    struct token_time right = clocks(boot_a, second, noon + day);
    struct token_anchor rebooted = token_anchor_start(&anchor, &right);
    cr_assert_not(rebooted.is_suspect);
    cr_assert_lt(token_clock_now(&rebooted, &right), long_lived);

    /* Within the boot, when the kernel or an operator says that the clock is right now. */
    struct token_time mended = clocks(boot_b, 60 * second, noon + day);
    cr_assert_geq(token_clock_now(&anchor, &mended), long_lived, "not by itself");
    cr_assert(token_anchor_trust(&anchor, &mended));
    cr_assert_not(anchor.is_suspect);
    cr_assert_eq(token_clock_now(&anchor, &mended), noon + day);
    cr_assert(token_anchor_advance(&anchor, &mended));
}

Test(token_clock, what_passes_while_the_clock_is_suspect_is_not_forgotten)
{
    struct token_anchor anchor = used_store();
    uint64_t mark = anchor.mark_ns, hour = 3600 * second;
    struct token_time wrong = clocks(boot_b, second, noon + 3650 * day);
    anchor = token_anchor_start(&anchor, &wrong);
    for (unsigned s = 1; s <= 3600; s++) {
        struct token_time time = clocks(boot_b, (1 + s) * second, noon);
        uint64_t now = token_clock_now(&anchor, &time);
        token_anchor_advance(&anchor, &time);
        cr_assert_eq(token_clock_now(&anchor, &time), now, "no verifier sees it move");
    }
    cr_assert(anchor.is_suspect);
    cr_assert_gt(anchor.mark_ns, mark + hour - TOKEN_MARK_INTERVAL_S * second);
    cr_assert_leq(anchor.mark_ns, mark + hour, "and no more than that");
    struct token_time back = clocks(boot_a, second, noon - day);
    anchor = token_anchor_start(&anchor, &back);
    cr_assert_geq(token_clock_now(&anchor, &back), mark + hour - TOKEN_MARK_INTERVAL_S * second,
                  "what expired meanwhile is expired in the next boot");
}

Test(token_clock, trust_in_a_clock_before_the_mark_goes_on_from_the_mark)
{
    struct token_anchor anchor = used_store();
    struct token_time wrong = clocks(boot_b, second, noon + 3650 * day);
    anchor = token_anchor_start(&anchor, &wrong);
    struct token_time back = clocks(boot_b, 2 * second, noon - day);
    cr_assert(token_anchor_trust(&anchor, &back));
    cr_assert_eq(token_clock_now(&anchor, &back), anchor.mark_ns);
    cr_assert_not(token_anchor_trust(&anchor, &back), "there is no suspicion any more");
}

Test(token_clock, thirty_days_off_are_believed_and_a_nanosecond_more_is_not)
{
    struct token_anchor anchor = used_store();
    struct token_time off = clocks(boot_b, second, anchor.mark_ns + 30 * day);
    cr_assert_not(token_anchor_start(&anchor, &off).is_suspect);
    off.wall_ns++;
    cr_assert(token_anchor_start(&anchor, &off).is_suspect);
}

Test(token_clock, a_verifier_decides_as_tokend_would_before_it_has_started)
{
    struct token_anchor anchor = used_store();
    static const int64_t offsets_days[] = { -1, 1, 3650 };
    for (size_t i = 0; i < 3; i++) {
        uint64_t wall = (uint64_t)((int64_t)noon + offsets_days[i] * (int64_t)day);
        struct token_time time = clocks(boot_b, second, wall);
        struct token_anchor started = token_anchor_start(&anchor, &time);
        cr_assert_eq(token_clock_now(&anchor, &time), token_clock_now(&started, &time));
    }
}

Test(token_clock, the_mark_stays_ahead_and_moves_once_a_minute)
{
    struct token_anchor anchor = used_store();
    unsigned moves = 0;
    for (uint64_t s = 1; s <= 600; s++) {
        struct token_time time = clocks(boot_a, (100 + s) * second, noon);
        moves += token_anchor_advance(&anchor, &time);
        cr_assert_gt(anchor.mark_ns, token_clock_now(&anchor, &time));
    }
    cr_assert_eq(moves, 600 / (TOKEN_MARK_INTERVAL_S + 1), "%u", moves);
}

Test(token_clock, the_clocks_of_this_machine_can_be_read)
{
    struct token_time time;
    cr_assert_eq(token_time_read(&time), STATUS_OK);
    cr_assert_eq(strlen(time.boot_id), BOOT_ID_BYTES - 1);
    cr_assert_gt(time.wall_ns, noon - 3650 * day);
    uint64_t boottime = time.boottime_ns;
    cr_assert_eq(token_time_read_again(&time), STATUS_OK);
    cr_assert_geq(time.boottime_ns, boottime);
}
