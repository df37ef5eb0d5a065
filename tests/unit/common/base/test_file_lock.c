#include "common/base/file_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/process_identity.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

static void setup(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
}

TestSuite(file_lock, .init = setup, .fini = scratch_remove);

/* A process that holds the lock until `release` is closed. */
struct holder {
    pid_t pid;
    int release;
};

static struct holder holder_start(const char *path)
{
    int in[2], out[2];
    cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    char *argv[] = { (char *)LOCK_HOLDER, (char *)path, NULL };
    struct holder holder = { .release = in[1] };
    cr_assert_eq(posix_spawn(&holder.pid, LOCK_HOLDER, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    char word[4];
    cr_assert_eq(read(out[0], word, sizeof word), 4, "the holder says that it holds the lock");
    close(out[0]);
    return holder;
}

Test(file_lock, is_taken_once_until_it_is_released)
{
    const char *path = scratch_path("lock");
    struct file_lock first = FILE_LOCK_NONE, second = FILE_LOCK_NONE;
    cr_assert_eq(file_lock_take(&first, path, 0), STATUS_OK);
    cr_assert_eq(file_lock_take(&second, path, 0), STATUS_LOCKED);
    cr_assert_eq(second.fd, -1);
    file_lock_release(&first);
    cr_assert_eq(file_lock_take(&second, path, 0), STATUS_OK);
    file_lock_release(&second);
    file_lock_release(&second);
}

Test(file_lock, file_is_private_and_its_descriptor_close_on_exec)
{
    const char *path = scratch_path("lock");
    struct file_lock lock = FILE_LOCK_NONE;
    cr_assert_eq(file_lock_take(&lock, path, 0), STATUS_OK);
    struct stat status;
    cr_assert_eq(fstat(lock.fd, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    cr_assert_eq(fcntl(lock.fd, F_GETFD), FD_CLOEXEC);
    file_lock_release(&lock);
}

Test(file_lock, is_not_lost_when_the_file_is_opened_and_closed_elsewhere)
{
    const char *path = scratch_path("lock");
    struct file_lock lock = FILE_LOCK_NONE, other = FILE_LOCK_NONE;
    cr_assert_eq(file_lock_take(&lock, path, 0), STATUS_OK);
    close(open(path, O_RDWR | O_CLOEXEC)); /* would drop a traditional POSIX lock */
    cr_assert_eq(file_lock_take(&other, path, 0), STATUS_LOCKED);
    file_lock_release(&lock);
}

Test(file_lock, asking_tells_without_creating)
{
    bool is_held = true;
    cr_assert_eq(file_lock_is_held(scratch_path("absent"), &is_held), STATUS_OK);
    cr_assert_not(is_held);
    cr_assert_eq(access(scratch_path("absent"), F_OK), -1);

    const char *path = scratch_path("lock");
    struct file_lock lock = FILE_LOCK_NONE;
    cr_assert_eq(file_lock_take(&lock, path, 0), STATUS_OK);
    cr_assert_eq(file_lock_is_held(path, &is_held), STATUS_OK);
    cr_assert(is_held);
    file_lock_release(&lock);
    cr_assert_eq(file_lock_is_held(path, &is_held), STATUS_OK);
    cr_assert_not(is_held);
}

Test(file_lock, held_by_another_process_is_seen_and_waited_for)
{
    const char *path = scratch_path("lock");
    struct holder holder = holder_start(path);
    bool is_held = false;
    cr_assert_eq(file_lock_is_held(path, &is_held), STATUS_OK);
    cr_assert(is_held);
    struct file_lock lock = FILE_LOCK_NONE;
    uint64_t began = clock_boottime_ns();
    cr_assert_eq(file_lock_take(&lock, path, 50), STATUS_LOCKED);
    cr_assert_geq(clock_boottime_ns() - began, 50u * 1000000u, "it waited as long as it was told");
    close(holder.release);
    cr_assert_eq(file_lock_take(&lock, path, 10000), STATUS_OK);
    int status;
    cr_assert_eq(waitpid(holder.pid, &status, 0), holder.pid);
    cr_assert_eq(status, 0);
    file_lock_release(&lock);
}

Test(file_lock, dies_with_a_killed_holder)
{
    const char *path = scratch_path("lock");
    struct holder holder = holder_start(path);
    cr_assert_eq(kill(holder.pid, SIGKILL), 0);
    struct file_lock lock = FILE_LOCK_NONE;
    cr_assert_eq(file_lock_take(&lock, path, 10000), STATUS_OK);
    cr_assert_eq(waitpid(holder.pid, NULL, 0), holder.pid);
    close(holder.release);
    file_lock_release(&lock);
}

Test(file_lock, refuses_a_link_and_a_missing_folder)
{
    struct file_lock lock = FILE_LOCK_NONE;
    cr_assert_eq(symlink(scratch_path("target"), scratch_path("link")), 0);
    cr_assert_neq(file_lock_take(&lock, scratch_path("link"), 0), STATUS_OK);
    cr_assert_eq(access(scratch_path("target"), F_OK), -1);
    cr_assert_eq(file_lock_take(&lock, scratch_path("absent/lock"), 0), STATUS_NOT_FOUND);
    cr_assert_eq(lock.fd, -1);
}

Test(file_lock, tells_who_holds_it_by_what_the_holder_signed)
{
    const char *path = scratch_path("lock");
    struct file_lock lock = FILE_LOCK_NONE;
    uint64_t self = (uint64_t)getpid(), ticks = process_ticks(self), pid = 0;
    AUTO(fd_close) int pidfd = -1;
    cr_assert_eq(file_lock_holder(path, &pid, &pidfd), STATUS_NOT_FOUND);
    cr_assert_eq(file_lock_take(&lock, path, 0), STATUS_OK);
    cr_assert_eq(file_lock_holder(path, &pid, &pidfd), STATUS_UNAVAILABLE, "it has not signed");
    cr_assert_eq(file_lock_sign(&lock, self, ticks + 1), STATUS_OK);
    cr_assert_eq(file_lock_holder(path, &pid, &pidfd), STATUS_UNAVAILABLE, "the number of another");
    cr_assert_eq(file_lock_sign(&lock, self, ticks), STATUS_OK);
    cr_assert_eq(file_lock_holder(path, &pid, &pidfd), STATUS_OK);
    cr_expect_eq(pid, self);
    cr_expect_geq(pidfd, 0);
    file_lock_release(&lock);
    cr_expect_eq(file_lock_holder(path, &pid, &pidfd), STATUS_NOT_FOUND, "it has let go");
}
