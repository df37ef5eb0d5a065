#ifndef SOLO_COMMON_ACCESS_STORE_BACKUP_H
#define SOLO_COMMON_ACCESS_STORE_BACKUP_H

#include <ev.h>

#include "common/db/db.h"
#include "common/rpc/server.h"

/* The part of a backup that is one store's: a child copies it while its daemon goes on. One at a
 * time, and one store to a process. */

/* `db` is opened, and stays so until store_backup_close. Without this call there is nothing to
 * copy: 0 bytes. */
void store_backup_open(struct ev_loop *loop, struct db *db);
/* Ends a copy that runs: its call fails, and what it had copied is removed. Not opened is fine. */
void store_backup_close(void);

/* store.backup. The call is deferred, and answered when the copy is on disk and was read.
 * failed_precondition while another one runs. */
enum status store_backup_route(void *context, struct rpc_call *call, const void *request,
                               void *reply);

#endif
