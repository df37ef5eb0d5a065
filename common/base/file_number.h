#ifndef SOLO_COMMON_BASE_FILE_NUMBER_H
#define SOLO_COMMON_BASE_FILE_NUMBER_H

#include <stdint.h>

/* A number that a file keeps when it is renamed: an attribute of it, where the file system has
 * these. The kept output of a service counts its files so. */

/* 0 when it has none. */
uint64_t file_number_read(int fd);
/* Does nothing where attributes are not to be had. */
void file_number_write(int fd, uint64_t number);

#endif
