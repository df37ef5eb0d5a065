/* A service that does all it can to survive: it ignores every signal, has wiped its environment and
 * changed its name, and a number of its processes never stay: each forks, leaves its session and
 * parent, and ends, many times a millisecond. Bounded: `hydra COUNT SECONDS`. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static time_t deadline;

static time_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

static void disguise(char **argv)
{
    for (char **variable = environ; *variable != NULL; variable++)
        memset(*variable, 0, strlen(*variable));
    memset(argv[0], 'k', strlen(argv[0]));
    prctl(PR_SET_NAME, "kworker/0:1");
    for (int number = 1; number < 65; number++)
        signal(number, SIG_IGN);
}

/* Refused forks are tried again: somebody else of us may have ended. */
static void hop(void)
{
    while (now() < deadline) {
        pid_t child = fork();
        if (child > 0)
            _exit(0);
        if (child == 0)
            setsid();
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 8;
    deadline = now() + (argc > 2 ? atoi(argv[2]) : 20);
    disguise(argv);
    for (int i = 0; i < count; i++)
        if (fork() == 0) {
            setsid();
            hop();
        }
    printf("%d heads\n", count);
    fflush(stdout);
    while (now() < deadline)
        sleep(1);
}
