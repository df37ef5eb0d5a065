/* Starting what is measured, or what it is compared with. */
#include "bench/server.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/unix_socket.h"
#include "tests/support/command.h"

bool server_await(const char *path, pid_t pid)
{
    for (int i = 0; i < 5000; i++) {
        int fd = -1;
        if (unix_socket_connect(path, &fd) == STATUS_OK) {
            close(fd);
            return true;
        }
        if (command_wait(pid, 2) >= 0)
            return false;
    }
    return false;
}

pid_t server_start_redis(const char *dir, const char *const *environment, const char *path)
{
    static const char redis[] = "/usr/bin/redis-server";
    if (access(redis, X_OK) != 0)
        return 0;
    char files[300], log[300];
    snprintf(files, sizeof files, "%s/redis", dir);
    snprintf(log, sizeof log, "%s/redis.log", dir);
    mkdir(files, 0700);
    const char *const argv[] = { redis,    "--port",      "0",   "--unixsocket",
                                 path,     "--dir",       files, "--appendonly",
                                 "yes",    "--save",      "",    "--appendfsync",
                                 "always", "--daemonize", "no",  NULL };
    struct command command = { .argv = argv, .environment = environment };
    pid_t pid = command_start(&command, log);
    if (!server_await(path, pid))
        test_fail("Redis does not start; see %s", log);
    return pid;
}
