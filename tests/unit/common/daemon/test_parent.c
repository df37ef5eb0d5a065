#include "common/daemon/parent.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/criterion.h"

static void our_pid_set(const char *variable, int offset)
{
    char text[16];
    snprintf(text, sizeof text, "%d", getpid() + offset);
    setenv(variable, text, 1);
}

Test(parent, hears_at_a_path_as_well)
{
    char folder[] = "/tmp/solo-parent-XXXXXX", text[64];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    cr_assert_not_null(mkdtemp(folder));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", folder);
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    parent_notify("READY=1");
    cr_assert_eq(recv(fd, text, sizeof text, 0), 7);
    unlink(address.sun_path);
    parent_notify("READY=1"); /* nobody there any more: nothing happens */
    rmdir(folder);
}

Test(parent, an_address_that_is_none_is_passed_over)
{
    static const char *const none[] = { "", "@", "/", "relative", "vsock:2:1234" };
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        setenv("NOTIFY_SOCKET", none[i], 1);
        parent_notify("READY=1");
    }
    char text[512];
    snprintf(text, sizeof text, "/%0400d", 0);
    setenv("NOTIFY_SOCKET", text, 1);
    parent_notify("READY=1");
}

Test(parent, what_is_meant_for_another_process_is_not_ours)
{
    int fd;
    uint64_t timeout_us;
    our_pid_set("LISTEN_PID", 1);
    setenv("LISTEN_FDS", "not even a number", 1);
    cr_assert_eq(parent_listener("eventd", &fd), STATUS_OK);
    cr_assert_eq(fd, -1);
    our_pid_set("WATCHDOG_PID", 1);
    setenv("WATCHDOG_USEC", "1000", 1);
    cr_assert_eq(parent_watchdog(&timeout_us), STATUS_OK);
    cr_assert_eq(timeout_us, 0);
}

Test(parent, listeners_that_cannot_be_are_refused)
{
    static const struct {
        const char *count, *names;
    } wrong[] = { { "two", "a:b" }, { "", "a" },    { "-1", "a" }, { "65", "a" },
                  { "2", "a" },     { "1", "a:b" }, { "1 ", "a" }, { "0x1", "a" } };
    int fd;
    our_pid_set("LISTEN_PID", 0);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        setenv("LISTEN_FDS", wrong[i].count, 1);
        setenv("LISTEN_FDNAMES", wrong[i].names, 1);
        cr_assert_eq(parent_listener("a", &fd), STATUS_INVALID_ARGUMENT, "%s %s", wrong[i].count,
                     wrong[i].names);
    }
}

Test(parent, a_watchdog_time_that_is_none_is_refused)
{
    static const char *const wrong[] = { "", "0", "-5", "5s", "99999999999999999999999" };
    uint64_t timeout_us;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        setenv("WATCHDOG_USEC", wrong[i], 1);
        cr_assert_eq(parent_watchdog(&timeout_us), STATUS_INVALID_ARGUMENT, "%s", wrong[i]);
    }
    setenv("WATCHDOG_USEC", "250000", 1);
    cr_assert_eq(parent_watchdog(&timeout_us), STATUS_OK);
    cr_assert_eq(timeout_us, 250000, "for any process, when no pid is named");
}
