#ifndef SOLO_TENANTD_SITE_H
#define SOLO_TENANTD_SITE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/file_lock.h"
#include "common/base/name.h"
#include "common/base/status.h"
#include "tenantd/cgroup.h"
#include "tenantd/folder.h"
#include "tenantd/limits.h"
#include "tenantd/options.h"

enum isolation { ISOLATION_NONE, ISOLATION_USER_NAMESPACES, ISOLATION_NAMESPACES };

/* Where a tenant's things are: directories opened before a mount namespace may hide their paths,
 * and the paths under which its services see them. */
struct site {
    char tenant[NAME_BYTES_MAX + 1];
    char store_id[STORE_ID_DIGITS + 1];
    uint8_t store_incarnation[STORE_ID_DIGITS / 2];
    bool has_store_incarnation; /* deployd has said it */
    bool has_ids;               /* services run as uid and gid; otherwise as we do */
    uid_t uid;
    gid_t gid;
    char data_dir[PATH_MAX], run_dir[PATH_MAX];
    char mark_prefix[STORE_ID_DIGITS + NAME_BYTES_MAX + 3]; /* "<store id>/<tenant>/" */

    struct file_lock lock;  /* of this RUN */
    struct file_lock claim; /* of this DATA */
    int socket_fd;          /* RUN/internal/tenants */
    int code_fd;            /* RUN/tenants/T: code, GENERATION below a service */
    int home_fd;            /* DATA/tenants/T: a working directory per service */
    int data_fd;            /* DATA */
    struct folder logs;     /* DATA/logs/T */
    char logs_path[NAME_BYTES_MAX + sizeof "logs/"];
    struct folder builds; /* DATA/builds */
    int null_fd;
    int host_proc_fd; /* the host's /proc */
    int host_pids_fd; /* the host's pid namespace, where the kernel translates pids into it; or -1
                       */
    int proc_fd;      /* our own pid namespace's; the same one without namespaces */
    struct cgroup cgroup;

    struct limits_site limits;
    enum isolation isolation;
    uint64_t own_host_pid;
    char home_seen[PATH_MAX]; /* home_fd and code_fd as a service sees them */
    char code_seen[PATH_MAX];
    int credentials_fd; /* a folder of secrets per running service */
    char credentials_seen[PATH_MAX];
    bool keeps_credentials_in_memory; /* that folder lies on a tmpfs */
};
#define SITE_NONE                                                                                  \
    ((struct site){ .lock = FILE_LOCK_NONE,                                                        \
                    .claim = FILE_LOCK_NONE,                                                       \
                    .socket_fd = -1,                                                               \
                    .code_fd = -1,                                                                 \
                    .home_fd = -1,                                                                 \
                    .data_fd = -1,                                                                 \
                    .logs = { .fd = -1 },                                                          \
                    .builds = { .fd = -1 },                                                        \
                    .null_fd = -1,                                                                 \
                    .host_proc_fd = -1,                                                            \
                    .host_pids_fd = -1,                                                            \
                    .proc_fd = -1,                                                                 \
                    .credentials_fd = -1,                                                          \
                    .cgroup = CGROUP_NONE })

/* Makes the directories and takes the tenant's lock: STATUS_LOCKED when another supervisor has it.
 * Then ends whatever an earlier supervisor of this tenant left behind. */
enum status site_open(struct site *site, const struct options *options, const char *data_dir,
                      const char *run_dir);
/* Says in the lock that this process, by its pid outside, is the tenant's supervisor. */
void site_sign(const struct site *site, uint64_t host_pid);
void site_close(struct site *site);

/* The files in RUN/tenants/T/SERVICE/GENERATION. */
#define SITE_CODE "code"
#define SITE_OUT  "out"

/* A service's own folder, owned by the tenant; made when it is not there. */
enum status site_home_make(const struct site *site, const char *service);
/* Makes what a service's first process needs, before it is known whether there will be one: its
 * folder and its cgroup. */
enum status site_prepare(const struct site *site, const char *service);
/* Takes it back for a service that is not held: the folder only while it is as it was made, and
 * empty. */
void site_take_back(const struct site *site, const char *service);

/* Writes RUN/tenants/T/SERVICE/GENERATION/code, readable by the tenant only. Not synced: it is made
 * again from the log after a power cut. */
enum status site_code_write(const struct site *site, const char *service, uint64_t generation,
                            struct span code);
/* The same folder, made when it is not there: for what a build makes. The caller closes it. */
enum status site_code_folder_open(const struct site *site, const char *service, uint64_t generation,
                                  int *fd);
/* Removes the folder and the two files that are in it. */
void site_code_remove(const struct site *site, const char *service, uint64_t generation);

const char *isolation_text(enum isolation isolation); /* as supervisor.hello says it */

#endif
