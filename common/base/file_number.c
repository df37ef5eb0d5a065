/* Decimal digits, so that getfattr shows it. */
#include "common/base/file_number.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

static const char attribute[] = "user.solo.number";
enum { DIGITS_MAX = 20 };

uint64_t file_number_read(int fd)
{
    char text[DIGITS_MAX + 1];
    ssize_t size = fgetxattr(fd, attribute, text, DIGITS_MAX);
    text[size < 0 ? 0 : size] = '\0';
    return strtoull(text, NULL, 10);
}

void file_number_write(int fd, uint64_t number)
{
    char text[DIGITS_MAX + 1];
    int size = snprintf(text, sizeof text, "%" PRIu64, number);
    (void)fsetxattr(fd, attribute, text, (size_t)size, 0);
}
