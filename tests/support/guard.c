/* The last resort of a testbed: waits until the test process has closed its end of our stdin, by
 * ending or by dying, then kills every process that carries the testbed's folder in its command
 * line or environment and removes the folder. Argument: the folder. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/support/process.h"

int main(int argc, char **argv)
{
    if (argc != 2 || strstr(argv[1], "/solo-test-") == NULL)
        return 64;
    /* A Ctrl-C for the test must not end the one who cleans up after it. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    setsid();
    char byte;
    ssize_t size;
    do
        size = read(STDIN_FILENO, &byte, 1);
    while (size > 0 || (size < 0 && errno == EINTR));
    process_kill_all(argv[1], 0);
    /* A process that was creating files when it was killed may have been a moment behind. */
    for (int round = 0; round < 5 && directory_remove(argv[1]) != STATUS_OK; round++)
        process_kill_all(argv[1], 0);
    return 0;
}
