#ifndef SOLO_SOLOD_INSTANCE_H
#define SOLO_SOLOD_INSTANCE_H

#include <stdint.h>

#include "common/base/file_lock.h"
#include "common/base/status.h"
#include "common/daemon/lifecycle.h"
#include "common/daemon/settings.h"

/* What makes this solod the one of its directories: a lock in RUN, another in DATA (so that two
 * RUNs never share one DATA), the run's id and the run's key. Starts as INSTANCE_NONE. */
struct instance {
    struct file_lock run_lock, data_lock;
    uint8_t key[RUN_KEY_BYTES];
    int key_fd; /* a sealed memfd with the key, for the daemons; close-on-exec */
    int run_fd;
    char run_path[32]; /* RUN by its descriptor: to us it is there also when somebody moved it away
                        */
    int data_fd;       /* so that another directory at its path is told from it */
};
#define INSTANCE_NONE                                                                              \
    ((struct instance){ .run_lock = FILE_LOCK_NONE,                                                \
                        .data_lock = FILE_LOCK_NONE,                                               \
                        .key_fd = -1,                                                              \
                        .run_fd = -1,                                                              \
                        .data_fd = -1 })

/* Makes the directories, takes both locks, empties a RUN of an earlier boot, draws id and key.
 * STATUS_LOCKED, after a message that names the holder, when another instance has a directory. */
enum status instance_open(struct instance *instance, const struct settings *settings);
void instance_close(struct instance *instance);

/* Whether DATA is still where it was. Moved away, or its disk gone, whoever is started there would
 * begin anew in what is in its place, an empty mount point say. failed_precondition, logged. */
enum status instance_check_data(const struct instance *instance, const char *data_dir);

#endif
