#include "common/base/unix_socket.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

static void setup(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
}

TestSuite(unix_socket, .init = setup, .fini = scratch_remove);

static void expect_connection(const char *path)
{
    int listener = -1, client = -1;
    cr_assert_eq(unix_socket_listen(path, 0600, &listener), STATUS_OK);
    cr_assert_eq(unix_socket_connect(path, &client), STATUS_OK);
    int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(server, 0);
    cr_assert_eq(write(client, "hello", 5), 5);
    char text[8];
    cr_assert_eq(read(server, text, sizeof text), 5);
    close(server);
    close(client);
    close(listener);
}

Test(unix_socket, connects_at_a_short_path)
{
    expect_connection(scratch_path("a.sock"));
}

Test(unix_socket, connects_at_a_path_longer_than_the_address_holds)
{
    char folder[300] = "";
    for (int i = 0; i < 20; i++)
        snprintf(folder + strlen(folder), sizeof folder - strlen(folder), "deep-folder/");
    cr_assert_eq(directory_make(scratch_path(folder), 0700), STATUS_OK);
    strcat(folder, "a.sock");
    const char *path = scratch_path(folder);
    cr_assert_gt(strlen(path), 107);
    expect_connection(path);
}

Test(unix_socket, connects_at_a_relative_path)
{
    cr_assert_eq(chdir(scratch_path("")), 0);
    expect_connection("a.sock");
    expect_connection("./a.sock");
}

Test(unix_socket, a_name_or_path_past_all_bounds_is_refused)
{
    int fd = -1;
    char name[200], path[5000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    cr_assert_eq(unix_socket_listen(scratch_path(name), 0600, &fd), STATUS_INVALID_ARGUMENT);
    cr_assert_eq(unix_socket_connect(scratch_path(name), &fd), STATUS_INVALID_ARGUMENT);
    memset(path, '/', sizeof path);
    strcpy(path + sizeof path - 8, "/a.sock");
    cr_assert_eq(unix_socket_connect(path, &fd), STATUS_INVALID_ARGUMENT);
    cr_assert_eq(fd, -1);
}

Test(unix_socket, descriptors_are_close_on_exec_and_do_not_block)
{
    const char *path = scratch_path("a.sock");
    int listener = -1, client = -1;
    cr_assert_eq(unix_socket_listen(path, 0600, &listener), STATUS_OK);
    cr_assert_eq(unix_socket_connect(path, &client), STATUS_OK);
    cr_assert_eq(fcntl(listener, F_GETFD), FD_CLOEXEC);
    cr_assert_eq(fcntl(client, F_GETFD), FD_CLOEXEC);
    cr_assert(fcntl(listener, F_GETFL) & O_NONBLOCK);
    cr_assert(fcntl(client, F_GETFL) & O_NONBLOCK);
    close(client);
    close(listener);
}

Test(unix_socket, gets_its_mode_whatever_the_umask)
{
    umask(077);
    const char *path = scratch_path("a.sock");
    int listener = -1;
    cr_assert_eq(unix_socket_listen(path, 0666, &listener), STATUS_OK);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0666);
    close(listener);
}

Test(unix_socket, nobody_there_and_nobody_listening_are_told_apart)
{
    const char *path = scratch_path("a.sock");
    int listener = -1, client = -1;
    cr_assert_eq(unix_socket_connect(path, &client), STATUS_NOT_FOUND);
    cr_assert_eq(unix_socket_connect(scratch_path("absent/a.sock"), &client), STATUS_NOT_FOUND);
    cr_assert_eq(unix_socket_listen(path, 0600, &listener), STATUS_OK);
    close(listener);
    cr_assert_eq(unix_socket_connect(path, &client), STATUS_UNAVAILABLE);
    cr_assert_eq(client, -1);
    cr_assert_eq(unix_socket_listen(path, 0600, &listener), STATUS_OK, "a dead one is replaced");
    cr_assert_eq(unix_socket_connect(path, &client), STATUS_OK);
    close(client);
    close(listener);
}
