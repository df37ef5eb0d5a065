/* Prints what it was started with, then lines on stdout and stderr: count, and bytes per line. Ends
 * with "done" and stays. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 3;
    size_t size = argc > 2 ? (size_t)atol(argv[2]) : 20;
    char *filler = malloc(size + 1);
    if (filler == NULL)
        return 1;
    memset(filler, 'x', size);
    filler[size] = '\0';
    for (long i = 1; i <= count; i++) {
        printf("out %ld %s\n", i, filler);
        fflush(stdout);
        fprintf(stderr, "err %ld\n", i);
    }
    printf("done");
    fflush(stdout);
    for (;;)
        pause();
}
