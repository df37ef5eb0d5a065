/* The service that is hardest to end: a tree of children that left its session and process group by
 * double fork, ignore every signal and closed every descriptor. Arguments: how many, and optionally
 * "clear-environment" to drop the inherited mark as well. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void stay(char **argv)
{
    for (int number = 1; number < 32; number++)
        signal(number, SIG_IGN);
    (void)argv;
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 3;
    int is_cleared = argc > 2 && strcmp(argv[2], "clear-environment") == 0;
    if (argc > 1 && strcmp(argv[1], "orphan") == 0)
        stay(argv);
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            setsid();
            if (fork() != 0)
                _exit(0);
            setsid();
            close(0);
            close(1);
            close(2);
            /* exec'd again, so that the environment in /proc is what we say it is */
            char *arguments[] = { argv[0], "orphan", NULL };
            char *nothing[] = { NULL };
            extern char **environ;
            execve(argv[0], arguments, is_cleared ? nothing : environ);
            _exit(127);
        }
        waitpid(child, NULL, 0);
    }
    printf("forked %d\n", count);
    fflush(stdout);
    for (;;)
        pause();
}
