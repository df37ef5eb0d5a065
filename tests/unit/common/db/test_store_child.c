#include "common/db/store_child.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/probe.h"
#include "tests/support/criterion.h"

extern char **environ;

static void be_quiet(void)
{
    log_setup("test_store_child", LOG_LEVEL_ERROR + 1);
}

TestSuite(store_child, .init = be_quiet, .timeout = 60);

Test(store_child, reading_without_end_is_damage)
{
    char *const argv[] = { STORE_USER, "spin", NULL };
    pid_t pid;
    int result = 0;
    cr_assert_eq(posix_spawn(&pid, STORE_USER, NULL, NULL, argv, environ), 0);
    cr_assert_eq(store_child_wait(pid, "/nowhere", &result), STATUS_OK);
    cr_assert(WIFSIGNALED(result));
    cr_assert_eq(WTERMSIG(result), SIGXCPU);
    cr_assert_eq(db_probe_judge("/nowhere", result), STATUS_DATA_LOSS);
}

Test(store_child, one_that_takes_too_long_is_ended)
{
    char *const argv[] = { STORE_USER, "spin", NULL };
    AUTO(fd_close) int pidfd = -1;
    pid_t pid;
    int result = 0;
    cr_assert_eq(posix_spawn(&pid, STORE_USER, NULL, NULL, argv, environ), 0);
    cr_assert_eq(store_child_watch(pid, "/nowhere", &pidfd), STATUS_OK);
    cr_assert_eq(store_child_wait_at_most(pid, pidfd, "/nowhere", 0, &result), STATUS_OK);
    cr_assert(WIFSIGNALED(result));
    cr_assert_eq(WTERMSIG(result), SIGKILL);
    cr_assert_eq(db_probe_judge("/nowhere", result), STATUS_UNAVAILABLE);
}
