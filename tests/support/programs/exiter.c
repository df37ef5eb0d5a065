/* Exits with the code in its first argument, after the milliseconds in its second. With "on-term"
 * as its second argument it waits for SIGTERM and exits then. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int code = argc > 1 ? atoi(argv[1]) : 0;
    if (argc > 2 && strcmp(argv[2], "on-term") == 0) {
        sigset_t set;
        int number;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_BLOCK, &set, NULL);
        sigwait(&set, &number);
        return code;
    }
    long ms = argc > 2 ? atol(argv[2]) : 0;
    struct timespec delay = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&delay, NULL);
    return code;
}
