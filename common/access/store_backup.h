#ifndef SOLO_COMMON_ACCESS_STORE_BACKUP_H
#define SOLO_COMMON_ACCESS_STORE_BACKUP_H

#include <ev.h>

#include "common/db/db.h"
#include "common/rpc/server.h"

/* The part of a backup that is one store's: a child copies it while its daemon goes on. One at a
 * time. A zeroed one is closed. */
struct store_backup {
    struct ev_loop *loop;
    struct db *db; /* opened */
    struct ev_io on_exit;
    pid_t pid; /* 0: none runs */
    int pidfd;
    struct rpc_call *call;
    void (*answer)(struct rpc_call *call, uint64_t bytes);
    char to[4096];
};

void store_backup_open(struct store_backup *backup, struct ev_loop *loop, struct db *db);
/* Ends a copy that runs: its call fails, and what it had copied is removed. */
void store_backup_close(struct store_backup *backup);

/* Copies into DIR/STORE, which must not exist; `dir` is absolute. The call is deferred; `answer`
 * replies with the bytes of the copy, which is on disk and was read. failed_precondition while
 * another one runs. */
enum status store_backup_begin(struct store_backup *backup, struct rpc_call *call, const char *dir,
                               void (*answer)(struct rpc_call *call, uint64_t bytes));

#endif
