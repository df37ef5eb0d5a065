/* Takes what its limits may not allow, says on stdout how far it came, and stays:
 *   hog memory MIB        touches so many MiB, in one process
 *   hog tasks COUNT       forks so many children that sleep
 *   hog files COUNT       opens so many files
 *   hog cpu MILLISECONDS  spins so long by the clock
 * With `exit` behind these it ends with code 1 when it was refused, else with 0. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static int take_memory(void)
{
    char *block =
        mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (block == MAP_FAILED)
        return 0;
    memset(block, 1, MIB);
    return 1;
}

static int take_task(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    return pid > 0;
}

static int take_file(void)
{
    return open("/dev/null", O_RDONLY) >= 0;
}

static int take_millisecond(void)
{
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - began.tv_sec) * 1000000000L + now.tv_nsec - began.tv_nsec < 1000000);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    int (*take)(void) = strcmp(argv[1], "memory") == 0  ? take_memory
                        : strcmp(argv[1], "tasks") == 0 ? take_task
                        : strcmp(argv[1], "files") == 0 ? take_file
                                                        : take_millisecond;
    int wanted = atoi(argv[2]), taken = 0;
    while (taken < wanted && take())
        taken++;
    int error = taken < wanted ? errno : 0;
    printf("%s %d%s%s\n", argv[1], taken, error == 0 ? "" : ", then ",
           error == 0 ? "" : strerror(error));
    fflush(stdout);
    if (argc > 3)
        return taken < wanted;
    for (;;)
        pause();
}
