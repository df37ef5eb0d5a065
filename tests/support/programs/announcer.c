/* A service that becomes ready, or not, as its arguments say, one after the other; then it stays.
 *
 *   sleep:MS  print:TEXT  exit:CODE  touch:FILE  ignore:SIGNAL
 *   exit-unless:FILE    with code 4
 *   stay-once:FILE      does nothing more, but goes on when it is started again
 *   notify:TEXT         to NOTIFY_SOCKET; "\n" stands for a newline
 *   child-notify:TEXT   the same from a child in a session of its own, which stays too
 *   listen:PORT  listen6:PORT
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(100);
}

static void notify(const char *text)
{
    char message[512];
    size_t size = 0;
    for (; *text != '\0' && size < sizeof message; text++) {
        if (strncmp(text, "\\n", 2) == 0) {
            message[size++] = '\n';
            text++;
        } else {
            message[size++] = *text;
        }
    }
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (path == NULL || path[0] != '/' || strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "NOTIFY_SOCKET=%s\n", path == NULL ? "" : path);
        exit(101);
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, message, size, 0, (struct sockaddr *)&address, sizeof address) < 0)
        fail("notify");
    close(fd);
}

static void child_notify(const char *text)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid > 0)
        return;
    setsid();
    notify(text);
    for (;;)
        pause();
}

static void listen_on(const char *port, int is_six)
{
    const struct sockaddr_in four = { .sin_family = AF_INET,
                                      .sin_port = htons((unsigned short)atoi(port)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const struct sockaddr_in6 six = { .sin6_family = AF_INET6,
                                      .sin6_port = htons((unsigned short)atoi(port)),
                                      .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (fd < 0 ||
        bind(fd, is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four,
             is_six ? sizeof six : sizeof four) < 0 ||
        listen(fd, 8) < 0)
        fail("listen");
}

static void touch(const char *file)
{
    close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
}

static void stay(const char *file)
{
    touch(file);
    for (;;)
        pause();
}

static void act(const char *action)
{
    const char *value = strchr(action, ':');
    if (value == NULL)
        exit(102);
    size_t size = (size_t)(value++ - action);
#define IS(name) (size == sizeof(name) - 1 && strncmp(action, name, size) == 0)
    if (IS("sleep"))
        usleep((useconds_t)atoi(value) * 1000);
    else if (IS("print"))
        printf("%s\n", value);
    else if (IS("exit"))
        exit(atoi(value));
    else if (IS("touch"))
        touch(value);
    else if (IS("exit-unless") && access(value, F_OK) != 0)
        exit(4);
    else if (IS("stay-once") && access(value, F_OK) != 0)
        stay(value);
    else if (IS("ignore"))
        signal(atoi(value), SIG_IGN);
    else if (IS("notify"))
        notify(value);
    else if (IS("child-notify"))
        child_notify(value);
    else if (IS("listen"))
        listen_on(value, 0);
    else if (IS("listen6"))
        listen_on(value, 1);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++)
        act(argv[i]);
    for (;;)
        pause();
}
