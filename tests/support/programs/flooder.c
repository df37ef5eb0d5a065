/* Prints as fast as it can: BYTES in all (0: without end) in lines of LINE_BYTES, newline included;
 * then ends. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    unsigned long long left = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    size_t line = argc > 2 ? (size_t)atol(argv[2]) : 20, size = 64 * 1024 / line * line;
    int is_endless = left == 0;
    if (line < 1 || size == 0)
        return 64;
    char *text = malloc(size);
    if (text == NULL)
        return 1;
    memset(text, 'x', size);
    for (size_t at = line; at <= size; at += line)
        text[at - 1] = '\n';
    while (is_endless || left > 0) {
        size_t part = is_endless || left > size ? size : (size_t)left;
        for (size_t at = 0; at < part;) {
            ssize_t written = write(STDOUT_FILENO, text + at, part - at);
            if (written < 0)
                return 1;
            at += (size_t)written;
        }
        left -= is_endless ? 0 : part;
    }
    return 0;
}
