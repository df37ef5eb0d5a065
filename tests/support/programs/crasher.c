/* Writes a last line and dies of SIGSEGV, after the milliseconds in its argument. */
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long ms = argc > 1 ? atol(argv[1]) : 0;
    struct timespec delay = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&delay, NULL);
    static const char words[] = "about to crash\n";
    if (write(STDERR_FILENO, words, sizeof words - 1) < 0)
        return 1;
    raise(SIGSEGV);
    return 1;
}
