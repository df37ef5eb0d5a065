#ifndef SOLO_COMMON_BASE_RUN_FOLDER_H
#define SOLO_COMMON_BASE_RUN_FOLDER_H

#include <stdbool.h>

#include "common/base/status.h"
#include "common/base/uuid.h"

/* Where things lie in RUN, the folder of one boot:
 *
 *     RUN/boot_id                        of the boot that it belongs to
 *     RUN/DAEMON.sock                    for clients
 *     RUN/tokens.voucher, vault.voucher  see common/access/store_voucher.h
 *     RUN/internal/run_id                of the run: made anew at each start of solod, else by
 *                                        deployd when absent; a drain removes it
 *     RUN/internal/solo.conf             the LIVE settings that solod hands on (daemon/reload.h)
 *     RUN/internal/tenants/TENANT.lock   held for life by the tenant's supervisor
 *     RUN/internal/tenants/TENANT.sock   where it listens
 */
#define RUN_INTERNAL "internal"
#define RUN_TENANTS  "internal/tenants"

/* In a backup: it is complete. In DATA: a restore into it is not. */
#define BACKUP_MANIFEST "backup.json"
#define BACKUP_MARK     "backup.unfinished" /* in one that is not */
#define RESTORE_MARKER  "restore.unfinished"

/* resource_exhausted when a path gets too long. */
enum status run_socket_path(char path[4096], const char *run_dir, const char *daemon);
enum status run_internal_path(char path[4096], const char *run_dir, const char *file);
enum status tenant_lock_path(char path[4096], const char *run_dir, const char *tenant);
enum status tenant_socket_path(char path[4096], const char *run_dir, const char *tenant);

/* Calls `visit` for each tenant whose lock is held, in no order, until one is not OK; returns that.
 * A folder that is not there has none. A lock that cannot be asked is logged and left out. */
enum status tenants_locked_each(const char *run_dir,
                                enum status (*visit)(void *context, const char *tenant),
                                void *context);

/* Which boot a RUN belongs to. One without boot_id is of none that we know. */
enum run_boot { RUN_BOOT_UNKNOWN, RUN_BOOT_CURRENT, RUN_BOOT_EARLIER };
enum status run_boot_find(const char *run_dir, enum run_boot *boot);
/* Durably: after a power cut, a RUN on a disk must not pass for one of the next boot. */
enum status run_boot_write(const char *run_dir);

/* not_found when there is none, or none that is a UUID: nobody can name that run. */
enum status run_id_read(const char *run_dir, char text[UUID_TEXT_BYTES]);
enum status run_id_write(const char *run_dir, const struct uuid *id);
enum status run_id_forget(const char *run_dir); /* the next daemon that asks makes a new one */

/* The program of Solo that lies beside the one that runs, or, where there is none, in the sbin
 * beside its bin: soloctl is a command of users. Logs failures; one that is nowhere is none. */
enum status program_beside(char path[4096], const char *name);

#endif
