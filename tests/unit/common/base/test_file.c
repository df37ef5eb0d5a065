#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

static void setup(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    umask(022);
    scratch_make();
}

TestSuite(file, .init = setup, .fini = scratch_remove);

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    cr_assert_eq(lstat(path, &status), 0);
    return status.st_mode & 07777;
}

static void make_file(const char *path, const char *text)
{
    cr_assert_eq(file_write(path, span_of_text(text), 0600), STATUS_OK);
}

static void expect_content(const char *path, const char *text)
{
    struct buffer content = { .limit = 1024 };
    cr_assert_eq(file_read(path, &content), STATUS_OK);
    cr_assert(span_equal(buffer_span(&content), span_of_text(text)), "%s", path);
    buffer_close(&content);
}

Test(file, directory_make_makes_the_parents_too)
{
    cr_assert_eq(directory_make(scratch_path("a/b/c"), 0700), STATUS_OK);
    cr_assert_eq(mode_of(scratch_path("a")), 0755);
    cr_assert_eq(mode_of(scratch_path("a/b/c")), 0700);
    cr_assert_eq(directory_make(scratch_path("a/b/c"), 0700), STATUS_OK,
                 "one that is there is fine");
}

/* In the place of the C library's: which folders were synced, in order. */
static char synced[4][64];
static size_t synced_count;

int fsync(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    cr_assert_gt(size, 0);
    path[size] = '\0';
    if (synced_count < COUNT_OF(synced))
        snprintf(synced[synced_count], sizeof synced[0], "%.63s", strrchr(path, '/') + 1);
    synced_count++;
    return 0;
}

Test(file, directory_make_syncs_each_folder_that_got_a_new_one)
{
    cr_assert_eq(directory_make(scratch_path("old"), 0700), STATUS_OK);
    synced_count = 0;
    cr_assert_eq(directory_make(scratch_path("old/a/b"), 0700), STATUS_OK);
    cr_assert_eq(synced_count, 2);
    cr_expect_str_eq(synced[0], "old");
    cr_expect_str_eq(synced[1], "a");
    cr_assert_eq(directory_make(scratch_path("old/a/b"), 0700), STATUS_OK);
    cr_expect_eq(synced_count, 2, "nothing is new");
}

Test(file, directory_make_refuses_what_is_no_directory)
{
    make_file(scratch_path("file"), "");
    cr_assert_eq(directory_make(scratch_path("file"), 0700), STATUS_ALREADY_EXISTS);
    cr_assert_eq(directory_make(scratch_path("file/below"), 0700), STATUS_ALREADY_EXISTS);
    char path[5000];
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    cr_assert_eq(directory_make(path, 0700), STATUS_INVALID_ARGUMENT);
}

Test(file, directory_remove_takes_everything_below)
{
    directory_make(scratch_path("tree/a/b/c"), 0755);
    make_file(scratch_path("tree/a/file"), "x");
    make_file(scratch_path("tree/.hidden"), "x");
    cr_assert_eq(symlink("nowhere", scratch_path("tree/dangling")), 0);
    cr_assert_eq(mkfifo(scratch_path("tree/fifo"), 0600), 0);
    cr_assert_eq(directory_remove(scratch_path("tree")), STATUS_OK);
    cr_assert_not(exists(scratch_path("tree")));
    cr_assert_eq(directory_remove(scratch_path("tree")), STATUS_OK,
                 "one that is not there is fine");
}

Test(file, directory_remove_goes_to_any_depth_and_through_closed_folders)
{
    enum { DEPTH = 3000 };
    char back[4096];
    cr_assert_not_null(getcwd(back, sizeof back));
    directory_make(scratch_path("tree"), 0755);
    cr_assert_eq(chdir(scratch_path("tree")), 0);
    for (int i = 0; i < DEPTH; i++) {
        cr_assert_eq(mkdir("down", 0755), 0);
        cr_assert_eq(mkdir(".removing-0", 0755), 0);
        cr_assert_eq(chdir("down"), 0);
    }
    cr_assert_eq(chdir(back), 0);
    cr_assert_eq(chmod(scratch_path("tree/down/down"), 0), 0);
    cr_assert_eq(chmod(scratch_path("tree/down"), 0500), 0);
    cr_assert_eq(directory_remove(scratch_path("tree")), STATUS_OK);
    cr_assert_eq(access(scratch_path("tree"), F_OK), -1);
}

Test(file, directory_remove_does_not_follow_links)
{
    directory_make(scratch_path("outside/inner"), 0755);
    make_file(scratch_path("outside/kept"), "precious");
    directory_make(scratch_path("tree"), 0755);
    cr_assert_eq(symlink(scratch_path("outside"), scratch_path("tree/link")), 0);
    cr_assert_eq(symlink(scratch_path("outside/kept"), scratch_path("tree/file_link")), 0);
    cr_assert_eq(directory_remove(scratch_path("tree")), STATUS_OK);
    cr_assert_not(exists(scratch_path("tree")));
    expect_content(scratch_path("outside/kept"), "precious");
    cr_assert(exists(scratch_path("outside/inner")));
}

Test(file, directory_remove_refuses_to_start_at_a_link)
{
    directory_make(scratch_path("outside"), 0755);
    make_file(scratch_path("outside/kept"), "precious");
    cr_assert_eq(symlink(scratch_path("outside"), scratch_path("link")), 0);
    cr_assert_neq(directory_remove(scratch_path("link")), STATUS_OK);
    expect_content(scratch_path("outside/kept"), "precious");
}

Test(file, directory_empty_keeps_the_directory)
{
    directory_make(scratch_path("tree/a/b"), 0755);
    make_file(scratch_path("tree/a/file"), "x");
    cr_assert_eq(directory_empty(scratch_path("tree")), STATUS_OK);
    cr_assert(exists(scratch_path("tree")));
    cr_assert_not(exists(scratch_path("tree/a")));
    cr_assert_eq(directory_empty(scratch_path("absent")), STATUS_OK);
}

Test(file, file_read_gives_the_content_or_says_why_not)
{
    struct buffer content = { .limit = 8 };
    cr_assert_eq(file_read(scratch_path("absent"), &content), STATUS_NOT_FOUND);
    make_file(scratch_path("eight"), "12345678");
    cr_assert_eq(file_read(scratch_path("eight"), &content), STATUS_OK);
    cr_assert_eq(content.size, 8);
    buffer_clear(&content);
    make_file(scratch_path("nine"), "123456789");
    cr_assert_eq(file_read(scratch_path("nine"), &content), STATUS_RESOURCE_EXHAUSTED);
    buffer_close(&content);
}

Test(file, file_write_replaces_content_and_mode_and_leaves_nothing_beside)
{
    for (int durably = 0; durably <= 1; durably++) {
        enum status (*write_file)(const char *, struct span, mode_t) =
            durably ? file_write_durably : file_write;
        cr_assert_eq(write_file(scratch_path("d/file"), span_of_text("x"), 0600), STATUS_NOT_FOUND);
        cr_assert_eq(write_file(scratch_path("file"), span_of_text("a longer old one"), 0600),
                     STATUS_OK);
        cr_assert_eq(write_file(scratch_path("file"), span_of_text("new"), 0444), STATUS_OK);
        expect_content(scratch_path("file"), "new");
        cr_assert_eq(mode_of(scratch_path("file")), 0444);
        cr_assert_eq(unlink(scratch_path("file")), 0);
    }
    cr_assert_eq(directory_make(scratch_path("sub"), 0700), STATUS_OK);
    cr_assert_eq(file_write(scratch_path("sub/file"), span_of_text("x"), 0600), STATUS_OK);
    cr_assert_eq(unlink(scratch_path("sub/file")), 0);
    cr_assert_eq(rmdir(scratch_path("sub")), 0, "nothing was left beside the file");
}

Test(file, file_write_replaces_a_link_and_not_what_it_points_to)
{
    make_file(scratch_path("target"), "precious");
    cr_assert_eq(symlink(scratch_path("target"), scratch_path("link")), 0);
    cr_assert_eq(file_write(scratch_path("link"), span_of_text("new"), 0600), STATUS_OK);
    expect_content(scratch_path("target"), "precious");
    expect_content(scratch_path("link"), "new");
}

Test(file, path_join_refuses_what_is_too_long)
{
    char path[4096], part[2100];
    cr_assert_eq(path_join(path, "/a/b", "c"), STATUS_OK);
    cr_assert_str_eq(path, "/a/b/c");
    memset(part, 'x', sizeof part);
    part[sizeof part - 1] = '\0';
    cr_assert_eq(path_join(path, part, part), STATUS_RESOURCE_EXHAUSTED);
}

Test(file, fd_write_all_writes_more_than_a_pipe_holds_at_once_or_says_so)
{
    int pipe_fds[2];
    static char data[1 << 20];
    cr_assert_eq(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    cr_assert_eq(fd_write_all(pipe_fds[1], span_of(data, 100)), STATUS_OK);
    cr_assert_eq(fd_write_all(pipe_fds[1], span_of(data, sizeof data)), STATUS_UNAVAILABLE);
    cr_assert_eq(fd_write_all(-1, span_of(data, 1)), STATUS_INTERNAL);
    cr_assert_eq(fd_write_all(-1, span_of(data, 0)), STATUS_OK);
}

Test(file, fd_close_accepts_what_is_not_open)
{
    int fd = -1;
    fd_close(&fd);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int number = fd;
    fd_close(&fd);
    cr_assert_eq(fd, -1);
    cr_assert_eq(fcntl(number, F_GETFD), -1);
    cr_assert_eq(errno, EBADF);
}
