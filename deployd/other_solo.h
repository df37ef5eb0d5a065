#ifndef SOLO_DEPLOYD_OTHER_SOLO_H
#define SOLO_DEPLOYD_OTHER_SOLO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A backup that is put back keeps its store's id, and the id marks processes and cgroups. So a copy
 * that is started beside the Solo that it was made of would end all services of that one. */

struct other_solo {
    pid_t pid;       /* of one of its supervisors */
    char data[1024]; /* its DATA */
};

/* Whether a supervisor of this store serves another DATA and another RUN than these. (One of the
 * same DATA or RUN was left behind by an earlier run, and is ended or adopted by this one.) Only
 * who is root, or who we are, is believed. */
bool other_solo_find(const uint8_t store_id[16], const char *run_dir, const char *data_dir,
                     struct other_solo *found);

#endif
