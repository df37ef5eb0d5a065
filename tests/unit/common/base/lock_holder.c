/* lock_holder PATH: takes the lock, says "held", keeps it until its standard input ends. */
#include <unistd.h>

#include "common/base/file_lock.h"

int main(int argc, char **argv)
{
    struct file_lock lock = FILE_LOCK_NONE;
    if (argc != 2 || file_lock_take(&lock, argv[1], 0) != STATUS_OK)
        return 1;
    char byte;
    if (write(STDOUT_FILENO, "held", 4) != 4 || read(STDIN_FILENO, &byte, 1) != 0)
        return 1;
    file_lock_release(&lock);
    return 0;
}
