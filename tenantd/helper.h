#ifndef SOLO_TENANTD_HELPER_H
#define SOLO_TENANTD_HELPER_H

#include <sys/types.h>

/* A child of ours that is no service's main process: a probe, a compiler. Whoever starts one has it
 * in helpers until it has exited (supervisor.h). */
struct helper {
    pid_t pid; /* 0: none runs */
    struct helper *previous, *next;
    void (*on_exit)(struct helper *helper, int exit_status); /* out of the list already, pid 0 */
};

#endif
