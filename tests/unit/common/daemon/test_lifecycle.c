#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/unix_socket.h"
#include "common/daemon/lifecycle.h"
#include "common/daemon/parent.h"
#include "tests/support/criterion.h"

static int stops;

static void on_stop(void *context)
{
    struct lifecycle *lifecycle = context;
    stops++;
    raise(SIGTERM); /* the second one must not begin a second stop */
    lifecycle_end(lifecycle, STATUS_OK);
}

Test(lifecycle, a_signal_begins_the_stop_once)
{
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    cr_assert_eq(lifecycle_open(&lifecycle), STATUS_OK);
    lifecycle.on_stop = on_stop;
    lifecycle.context = &lifecycle;
    raise(SIGTERM);
    raise(SIGINT);
    cr_assert_eq(lifecycle_run(&lifecycle), STATUS_OK);
    ev_run(lifecycle.loop, EVRUN_NOWAIT);
    cr_assert_eq(stops, 1);
    cr_assert(lifecycle.is_stopping);
}

Test(lifecycle, without_a_drain_a_signal_ends_the_loop)
{
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    cr_assert_eq(lifecycle_open(&lifecycle), STATUS_OK);
    raise(SIGINT);
    cr_assert_eq(lifecycle_run(&lifecycle), STATUS_OK);
}

Test(lifecycle, the_first_failure_is_the_result)
{
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    cr_assert_eq(lifecycle_open(&lifecycle), STATUS_OK);
    lifecycle_end(&lifecycle, STATUS_IO);
    lifecycle_end(&lifecycle, STATUS_OK);
    lifecycle_end(&lifecycle, STATUS_INTERNAL);
    cr_assert_eq(lifecycle_run(&lifecycle), STATUS_IO, "also when the end came before the loop");
}

Test(lifecycle, a_signal_after_the_end_does_not_kill)
{
    struct lifecycle lifecycle = { 0 };
    cr_assert_eq(lifecycle_open(&lifecycle), STATUS_OK);
    raise(SIGTERM);
    cr_assert_eq(lifecycle_run(&lifecycle), STATUS_OK);
    lifecycle_close(&lifecycle);
    raise(SIGTERM);
    raise(SIGINT);
}

Test(lifecycle, close_accepts_a_zeroed_one)
{
    struct lifecycle lifecycle = { 0 };
    lifecycle_close(&lifecycle);
}

/* A parent's side of the notify socket, bound to an abstract name. */
static int parent_socket(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int size =
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "solo-test-%d", getpid());
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size)),
                 0);
    char text[128];
    snprintf(text, sizeof text, "@solo-test-%d", getpid());
    setenv("NOTIFY_SOCKET", text, 1);
    return fd;
}

static void parent_hears(int fd, const char *expected)
{
    char text[1024];
    ssize_t size = recv(fd, text, sizeof text - 1, 0);
    cr_assert_geq(size, 0, "nothing came instead of %s", expected);
    text[size] = '\0';
    cr_assert_str_eq(text, expected);
}

Test(lifecycle, the_parent_hears_ready_status_and_stopping)
{
    AUTO(fd_close) int parent = parent_socket();
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    cr_assert_eq(lifecycle_open(&lifecycle), STATUS_OK);
    cr_assert_eq(parent_join(&lifecycle), STATUS_OK);
    parent_ready();
    parent_hears(parent, "READY=1");
    parent_say("store %s\nREADY=1", "damaged");
    parent_hears(parent, "STATUS=store damaged READY=1");
    lifecycle_stop(&lifecycle);
    parent_hears(parent, "STOPPING=1");
}

static unsigned logged;

static bool count_logged(const struct log_record *record)
{
    (void)record;
    logged++;
    return true;
}

/* A systemd whose machine is a virtual one speaks to its host by vsock. */
Test(lifecycle, a_parent_that_is_spoken_to_another_way_is_passed_over)
{
    setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
    log_set_keeper(count_logged);
    parent_ready();
    cr_expect_eq(logged, 0);
    setenv("NOTIFY_SOCKET", "/nobody/listens", 1);
    parent_ready();
    cr_expect_eq(logged, 1);
    log_set_keeper(NULL);
}

Test(lifecycle, the_watchdog_is_fed_from_the_loop)
{
    AUTO(fd_close) int parent = parent_socket();
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    setenv("WATCHDOG_PID", pid, 1);
    setenv("WATCHDOG_USEC", "2000", 1);
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    cr_assert_eq(lifecycle_open(&lifecycle), STATUS_OK);
    cr_assert_eq(parent_join(&lifecycle), STATUS_OK);
    for (int i = 0; i < 3; i++)
        ev_run(lifecycle.loop, EVRUN_ONCE);
    parent_hears(parent, "WATCHDOG=1");
    parent_hears(parent, "WATCHDOG=1");
}

static bool has_loaded(const char *library)
{
    char line[512];
    bool is_found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    cr_assert_not_null(maps);
    while (!is_found && fgets(line, sizeof line, maps) != NULL)
        is_found = strstr(line, library) != NULL;
    fclose(maps);
    return is_found;
}

/* It took most of the start of every daemon, and of the probe of its store. */
Test(lifecycle, libsystemd_is_loaded_for_a_journal_only)
{
    AUTO(fd_close) int parent = parent_socket();
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    char stream[64];
    struct stat status;
    cr_assert_eq(lifecycle_open(&lifecycle), STATUS_OK);
    cr_assert_eq(parent_join(&lifecycle), STATUS_OK);
    parent_ready();
    cr_assert_not(has_loaded("libsystemd"));

    cr_assert_eq(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof stream, "%lu:%lu", (unsigned long)status.st_dev,
             (unsigned long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    cr_assert_eq(parent_join(&lifecycle), STATUS_OK);
    cr_assert(has_loaded("libsystemd"));
}

Test(lifecycle, without_a_parent_a_listener_is_made_and_anybody_may_connect)
{
    char folder[] = "/tmp/solo-lifecycle-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(folder));
    umask(077);
    AUTO(fd_close) int listener = -1;
    cr_assert_eq(parent_listener(folder, "eventd", &listener), STATUS_OK);
    snprintf(path, sizeof path, "%s/eventd.sock", folder);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0666);
    AUTO(fd_close) int client = -1;
    cr_assert_eq(unix_socket_connect(path, &client), STATUS_OK);
    directory_remove(folder);
}

/* Passed descriptors start at 3, where the test framework has its own: lent for the time of a test.
 */
static int borrowed[2];

static void places_borrow(void)
{
    for (int i = 0; i < 2; i++)
        borrowed[i] = fcntl(3 + i, F_DUPFD_CLOEXEC, 200);
}

static void places_return(void)
{
    for (int i = 0; i < 2; i++)
        if (borrowed[i] >= 0)
            dup2(borrowed[i], 3 + i);
        else
            close(3 + i);
}

static void pass(int fd, int place)
{
    dup2(fd, place);
    close(fd);
}

/* What was found while the places were lent; judged when the framework can speak again. */
struct found {
    enum status status;
    int fd;
    int descriptor_flags, status_flags;
};

static struct found listener_find(const char *folder, const char *name)
{
    struct found found = { .fd = -1 };
    found.status = parent_listener(folder, name, &found.fd);
    found.descriptor_flags = fcntl(found.fd, F_GETFD);
    found.status_flags = fcntl(found.fd, F_GETFL);
    return found;
}

static void passed_announce(const char *count, const char *names)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
    setenv("LISTEN_FDNAMES", names, 1);
}

Test(lifecycle, a_passed_listener_is_found_by_name, .timeout = 20)
{
    char folder[] = "/tmp/solo-lifecycle-XXXXXX", path[64];
    int high[2];
    cr_assert_not_null(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        AUTO(fd_close) int fd = -1;
        snprintf(path, sizeof path, "%s/%d", folder, i);
        cr_assert_eq(unix_socket_listen(path, 0600, &fd), STATUS_OK);
        high[i] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
        cr_assert_eq(fcntl(high[i], F_SETFL, 0), 0);
    }
    passed_announce("2", "eventd:deployd");
    places_borrow();
    for (int i = 0; i < 2; i++)
        pass(high[i], 3 + i);
    const struct found deployd = listener_find(folder, "deployd");
    const struct found eventd = listener_find(folder, "eventd");
    const struct found other = listener_find(folder, "other");
    places_return();
    cr_assert_eq(deployd.status, STATUS_OK);
    cr_assert_eq(deployd.fd, 4);
    cr_assert(deployd.descriptor_flags & FD_CLOEXEC);
    cr_assert(deployd.status_flags & O_NONBLOCK);
    cr_assert_eq(eventd.status, STATUS_OK);
    cr_assert_eq(eventd.fd, 3);
    cr_assert_eq(other.status, STATUS_OK);
    cr_assert_gt(other.fd, 4, "a name that was not passed gets a new socket");
    directory_remove(folder);
}

Test(lifecycle, a_passed_descriptor_that_does_not_listen_is_refused, .timeout = 20)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD, 100);
    passed_announce("1", "eventd");
    places_borrow();
    pass(fd, 3);
    const struct found found = listener_find("/nowhere", "eventd");
    places_return();
    cr_assert_eq(found.status, STATUS_INVALID_ARGUMENT);
}

/* Nothing is passed here; what was is not looked for in descriptors of our own. */
Test(lifecycle, what_is_passed_to_another_process_is_not_ours)
{
    char folder[] = "/tmp/solo-lifecycle-XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "eventd", 1);
    setenv("WATCHDOG_PID", "1", 1);
    setenv("WATCHDOG_USEC", "nonsense", 1);
    AUTO(lifecycle_close) struct lifecycle lifecycle = { 0 };
    cr_assert_eq(lifecycle_open(&lifecycle), STATUS_OK);
    cr_assert_eq(parent_join(&lifecycle), STATUS_OK);
    AUTO(fd_close) int made = -1;
    cr_assert_eq(parent_listener(folder, "eventd", &made), STATUS_OK);
    passed_announce("many", "eventd");
    AUTO(fd_close) int fd = -1;
    cr_assert_eq(parent_listener(folder, "eventd", &fd), STATUS_INVALID_ARGUMENT);
    unsetenv("WATCHDOG_PID");
    cr_assert_eq(parent_join(&lifecycle), STATUS_INVALID_ARGUMENT);
    directory_remove(folder);
}

static int key_file(const void *content, size_t size)
{
    int fd = memfd_create("key", 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, content, size), (ssize_t)size);
    char text[16];
    snprintf(text, sizeof text, "%d", fd);
    setenv("SOLO_KEY_FD", text, 1);
    return fd;
}

Test(lifecycle, the_run_key_is_read_once_and_its_descriptor_closed)
{
    uint8_t key[RUN_KEY_BYTES], read_back[RUN_KEY_BYTES] = { 0 };
    bool has_key = false;
    memset(key, 0x5a, sizeof key);
    int fd = key_file(key, sizeof key);
    cr_assert_eq(lifecycle_run_key(read_back, &has_key), STATUS_OK);
    cr_assert(has_key);
    cr_assert_arr_eq(key, read_back, sizeof key);
    cr_assert_eq(fcntl(fd, F_GETFD), -1);
    cr_assert_null(getenv("SOLO_KEY_FD"));
    cr_assert_eq(lifecycle_run_key(read_back, &has_key), STATUS_OK);
    cr_assert_not(has_key);
}

Test(lifecycle, the_run_key_may_be_a_credential)
{
    char folder[] = "/tmp/solo-credentials-XXXXXX", path[64];
    uint8_t key[RUN_KEY_BYTES], read_back[RUN_KEY_BYTES] = { 0 };
    bool has_key = true;
    memset(key, 0xa5, sizeof key);
    cr_assert_not_null(mkdtemp(folder));
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    cr_assert_eq(lifecycle_run_key(read_back, &has_key), STATUS_OK);
    cr_assert_not(has_key, "a folder without it passes none");
    snprintf(path, sizeof path, "%s/" RUN_KEY_CREDENTIAL, folder);
    int fd = open(path, O_WRONLY | O_CREAT, 0400);
    cr_assert_eq(write(fd, key, sizeof key), (ssize_t)sizeof key);
    cr_assert_eq(lifecycle_run_key(read_back, &has_key), STATUS_OK);
    cr_assert(has_key);
    cr_assert_arr_eq(key, read_back, sizeof key);
    cr_assert_eq(ftruncate(fd, 7), 0);
    cr_assert_eq(lifecycle_run_key(read_back, &has_key), STATUS_INVALID_ARGUMENT);
    cr_assert_not(has_key);
    unlink(path);
    rmdir(folder);
}

Test(lifecycle, a_run_key_of_another_size_is_refused)
{
    uint8_t key[RUN_KEY_BYTES + 1] = { 0 };
    bool has_key = false;
    key_file(key, RUN_KEY_BYTES - 1);
    cr_assert_eq(lifecycle_run_key(key, &has_key), STATUS_INVALID_ARGUMENT);
    key_file(key, RUN_KEY_BYTES + 1);
    cr_assert_eq(lifecycle_run_key(key, &has_key), STATUS_INVALID_ARGUMENT);
    setenv("SOLO_KEY_FD", "seven", 1);
    cr_assert_eq(lifecycle_run_key(key, &has_key), STATUS_INVALID_ARGUMENT);
    cr_assert_not(has_key);
}

Test(lifecycle, a_hardened_process_dumps_no_core_and_shows_files_to_nobody)
{
    close(STDIN_FILENO);
    cr_assert_eq(harden_process(), STATUS_OK);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    cr_assert_leq(limit.rlim_max, 1);
    if (geteuid() == 0)
        cr_assert_eq(limit.rlim_max, 1, "no program that takes cores gets one either");
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(limit.rlim_cur, limit.rlim_max);
    cr_assert_eq(umask(0), 077);
    cr_assert_neq(fcntl(STDIN_FILENO, F_GETFD), -1, "descriptor 0 is open again");
}

Test(lifecycle, death_with_the_parent_is_asked_for_by_the_parent_and_not_passed_on)
{
    int signal_number = -1;
    unsetenv("SOLO_DIE_WITH_PARENT");
    cr_assert_eq(prctl(PR_SET_PDEATHSIG, 0), 0);
    cr_assert_eq(die_with_parent(), STATUS_OK);
    cr_assert_eq(prctl(PR_GET_PDEATHSIG, &signal_number), 0);
    cr_assert_eq(signal_number, 0);
    setenv("SOLO_DIE_WITH_PARENT", "1", 1);
    cr_assert_eq(die_with_parent(), STATUS_OK);
    cr_assert_eq(prctl(PR_GET_PDEATHSIG, &signal_number), 0);
    cr_assert_eq(signal_number, SIGKILL);
    cr_assert_null(getenv("SOLO_DIE_WITH_PARENT"));
}
