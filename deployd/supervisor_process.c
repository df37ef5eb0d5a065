/* Starting tenantd: posix_spawn, so that no map and no loop of ours crosses a fork. The child gets
 * descriptors 0 to 2 only (all others are close-on-exec), default signals, and an environment
 * without what the parent said to us alone. */
#include "deployd/supervisor_process.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"

extern char **environ;

enum { NUMBER_BYTES = 24 };

static const char *const private_variables[] = { "NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_",
                                                 "SOLO_KEY_FD=", "SOLO_DIE_WITH_PARENT=" };

enum status supervisor_lock_path(const struct deployd *deployd, const char *tenant, char path[4096])
{
    return tenant_lock_path(path, deployd->settings.run_dir, tenant);
}

enum status supervisor_socket_path(const struct deployd *deployd, const char *tenant,
                                   char path[4096])
{
    return tenant_socket_path(path, deployd->settings.run_dir, tenant);
}

/* However many there are: what the settings say comes last among them. The caller frees the list,
 * not what it points to. */
static char **environment_make(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **environment = calloc(count + 1, sizeof *environment);
    if (environment == NULL)
        return NULL;
    count = 0;
    for (char **variable = environ; *variable != NULL; variable++) {
        bool is_private = false;
        for (size_t i = 0; i < COUNT_OF(private_variables); i++)
            is_private |=
                strncmp(*variable, private_variables[i], strlen(private_variables[i])) == 0;
        if (!is_private)
            environment[count++] = *variable;
    }
    return environment;
}

static int spawn(char *const argv[], char *const environment[], int *pid)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawnattr_init(&attributes);
    if (rc != 0)
        return rc;
    rc = posix_spawn_file_actions_init(&actions);
    if (rc == 0) {
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF |
                                                  POSIX_SPAWN_SETSIGMASK);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setsigmask(&attributes, &none);
        rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (rc == 0)
            rc = posix_spawn(pid, argv[0], &actions, &attributes, argv, environment);
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
    return rc;
}

enum status supervisor_process_start(struct deployd *deployd, const struct tenant *tenant, int *pid,
                                     int *pidfd, char problem[256])
{
    char program[4096], store[2 * 16 + 1], incarnation[2 * 16 + 1], uid[NUMBER_BYTES];
    TRY(program_beside(program, "tenantd"));
    const struct store_identity *log = &deployd->map.db.identity;
    hex_text(store, log->id, sizeof log->id);
    hex_text(incarnation, log->incarnation, sizeof log->incarnation);
    snprintf(uid, sizeof uid, "%llu",
             (unsigned long long)(deployd->settings.tenant_uid_base + tenant->index));
    char *argv[24];
    size_t count = 0;
    argv[count++] = program;
    argv[count++] = "--tenant", argv[count++] = (char *)tenant->name;
    argv[count++] = "--store-id", argv[count++] = store;
    argv[count++] = "--store-incarnation", argv[count++] = incarnation;
    argv[count++] = "--run", argv[count++] = deployd->settings.run_dir;
    argv[count++] = "--data", argv[count++] = deployd->settings.data_dir;
    argv[count++] = "--log-level", argv[count++] = (char *)log_level_name(deployd->settings.level);
    if (geteuid() == 0) {
        argv[count++] = "--uid", argv[count++] = uid;
        argv[count++] = "--gid", argv[count++] = uid;
    }
    argv[count] = NULL;

    char **environment = environment_make();
    int rc = environment == NULL ? ENOMEM : spawn(argv, environment, pid);
    free(environment);
    if (rc != 0) {
        snprintf(problem, 256, "its supervisor cannot be started: %s: %s", program, strerror(rc));
        return log_failure(status_from_errno(rc), "start a supervisor", "tenant", tenant->name,
                           "program", program, "reason", strerror(rc));
    }
    *pidfd = pidfd_open(*pid, 0);
    if (*pidfd < 0) {
        int error = errno;
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
        snprintf(problem, 256, "its supervisor cannot be watched: %s", strerror(error));
        return log_failure(status_from_errno(error), "pidfd_open", "tenant", tenant->name, "reason",
                           strerror(error));
    }
    deployd->counters.supervisor_starts++;
    return STATUS_OK;
}

enum status supervisor_process_collect(int pidfd, char problem[256])
{
    siginfo_t info = { 0 };
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0) {
        snprintf(problem, 256, "its supervisor's end cannot be read: %s", strerror(errno));
        return log_failure(STATUS_INTERNAL, "waitid", "reason", strerror(errno));
    }
    if (info.si_pid == 0)
        return STATUS_UNAVAILABLE;
    if (info.si_code == CLD_EXITED && info.si_status == 0)
        return STATUS_OK;
    if (info.si_code == CLD_EXITED && info.si_status == status_exit_code(STATUS_LOCKED))
        return STATUS_LOCKED;
    if (info.si_code == CLD_EXITED)
        snprintf(problem, 256, "its supervisor ended at once with exit code %d", info.si_status);
    else
        snprintf(problem, 256, "its supervisor was ended at once by signal %d (%s)", info.si_status,
                 strsignal(info.si_status));
    return STATUS_INTERNAL;
}

struct visit {
    struct deployd *deployd;
    void (*visit)(struct deployd *deployd, const char *tenant);
};

static enum status visit_one(void *context, const char *tenant)
{
    const struct visit *visit = context;
    visit->visit(visit->deployd, tenant);
    return STATUS_OK;
}

enum status supervisor_locks_each(struct deployd *deployd,
                                  void (*visit)(struct deployd *deployd, const char *tenant))
{
    return tenants_locked_each(deployd->settings.run_dir, visit_one,
                               &(struct visit){ deployd, visit });
}
