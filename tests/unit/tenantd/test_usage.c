/* What counts as news about something that is nearly full, and what a process uses. */
#include "tenantd/usage.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tenantd/process.h"
#include "tests/support/criterion.h"

static const uint64_t SECOND_NS = 1000000000;

/* How many of these looks, one a second, are news. */
static int told(struct usage_level *level, const uint64_t *used, size_t count, uint64_t *now_ns)
{
    int times = 0;
    for (size_t i = 0; i < count; i++, *now_ns += SECOND_NS)
        times += usage_level_look(level, used[i], 100, *now_ns);
    return times;
}

Test(usage, a_level_is_told_when_it_is_reached_and_not_again)
{
    struct usage_level level = { 0 };
    uint64_t now_ns = SECOND_NS;
    const uint64_t rising[] = { 10, 50, 89, 90, 100, 91, 90 };
    cr_assert_eq(told(&level, rising, COUNT_OF(rising), &now_ns), 1);
    cr_assert(level.is_high);
}

Test(usage, one_that_swings_is_told_once)
{
    struct usage_level level = { 0 };
    uint64_t now_ns = SECOND_NS;
    const uint64_t swing[] = { 95, 10, 95, 80, 95, 0, 0, 95 };
    int times = 0;
    for (int i = 0; i < 100; i++)
        times += told(&level, swing, COUNT_OF(swing), &now_ns);
    cr_assert_eq(times, 1, "told %d times", times);
}

Test(usage, after_a_minute_of_calm_it_is_news_again)
{
    struct usage_level level = { 0 };
    uint64_t now_ns = SECOND_NS;
    const uint64_t high = 95, between = 80, low = 74;
    cr_assert_eq(told(&level, &high, 1, &now_ns), 1);
    for (int i = 0; i < 200; i++)
        told(&level, &between, 1, &now_ns);
    cr_assert(level.is_high, "what is neither stays what it was");
    for (int i = 0; i < USAGE_CALM_MS / 1000; i++)
        told(&level, &low, 1, &now_ns);
    cr_assert(level.is_high);
    told(&level, &low, 1, &now_ns);
    cr_assert_not(level.is_high);
    cr_assert_eq(told(&level, &high, 1, &now_ns), 1);
}

Test(usage, without_a_bound_nothing_is_told)
{
    struct usage_level level = { 0 };
    cr_assert_not(usage_level_look(&level, UINT64_MAX, 0, SECOND_NS));
    cr_assert_not(level.is_high);
}

Test(usage, a_process_is_read_and_one_that_is_gone_is_not)
{
    AUTO(fd_close) int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct process_use use;
    cr_assert(process_use_read(proc_fd, getpid(), &use));
    cr_assert_geq(use.threads, 1);
    cr_assert_gt(use.resident_bytes, 100 * 1024);
    cr_assert_gt(use.data_bytes, 100 * 1024);
    cr_assert_not(process_use_read(proc_fd, 0x3fffffff, &use));
}

Test(usage, descendants_are_found_and_bounded)
{
    AUTO(fd_close) int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pid_t pids[8];
    cr_assert_eq(process_descendants(proc_fd, getpid(), pids, 0), 0);
    size_t count = process_descendants(proc_fd, getppid(), pids, COUNT_OF(pids));
    cr_assert_geq(count, 2, "the parent, and this one");
    cr_assert_eq(pids[0], getppid());
    bool is_found = false;
    for (size_t i = 0; i < count; i++)
        is_found = is_found || pids[i] == getpid();
    cr_assert(is_found || count == COUNT_OF(pids));
    cr_assert_eq(process_descendants(proc_fd, getppid(), pids, 1), 1);
}
