/* systemctl is run, not its bus spoken: it waits, asks for a password and explains refusals by
 * itself. */
#include "soloctl/units.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/run_folder.h"

extern char **environ;

enum { OUTPUT_BYTES_MAX = 16 * 1024, COMMAND_NOT_RUN = 127 };

static const char *const unit_names[] = { "eventd", "tokend", "vaultd", "deployd", "recoveryd" };

bool units_are_used(const struct session *session)
{
    char solod[4096];
    return strcmp(session->run_dir, RUN_DIR_INSTALLED) == 0 &&
           access("/run/systemd/system", F_OK) == 0 &&
           run_socket_path(solod, session->run_dir, "solod") == STATUS_OK &&
           access(solod, F_OK) != 0;
}

static void read_all(int fd, struct buffer *output)
{
    char chunk[4096];
    ssize_t size;
    while ((size = read(fd, chunk, sizeof chunk)) > 0 || (size < 0 && errno == EINTR))
        if (size > 0)
            buffer_append(output, chunk, (size_t)size);
}

/* Its exit code; 127 when it could not be run. `output` (may be NULL) gets what it prints. */
static int systemctl(const char *const *arguments, struct buffer *output)
{
    posix_spawn_file_actions_t actions;
    int ends[2] = { -1, -1 }, result = COMMAND_NOT_RUN, how = 0;
    pid_t pid;
    if (output != NULL && pipe2(ends, O_CLOEXEC) < 0)
        return COMMAND_NOT_RUN;
    if (posix_spawn_file_actions_init(&actions) == 0) {
        if (output == NULL ||
            posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) == 0)
            result = posix_spawnp(&pid, "systemctl", &actions, NULL, (char *const *)arguments,
                                  environ) == 0
                         ? 0
                         : COMMAND_NOT_RUN;
        posix_spawn_file_actions_destroy(&actions);
    }
    fd_close(&ends[1]);
    if (result == 0 && output != NULL)
        read_all(ends[0], output);
    fd_close(&ends[0]);
    if (result != 0)
        return result;
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(how) ? WEXITSTATUS(how) : COMMAND_NOT_RUN;
}

/* One that fails is in backoff for moments only: before and behind them it has ended all the same.
 */
static bool has_failed(const struct unit *unit, const char *active, const char *sub)
{
    if (strcmp(sub, "stop-post") == 0)
        return unit->exit_code > 0;
    return strcmp(active, "activating") == 0 && unit->restarts > 0;
}

static const char *state_of(const struct unit *unit, const char *active, const char *sub)
{
    if (strcmp(sub, "auto-restart") == 0 || has_failed(unit, active, sub))
        return "backoff";
    if (strcmp(active, "active") == 0)
        return "ready";
    if (strcmp(active, "activating") == 0)
        return "starting";
    if (strcmp(active, "deactivating") == 0)
        return "stopping";
    return strcmp(active, "failed") == 0 ? "failed" : "stopped";
}

/* "Id=eventd.service" */
static void name_take(struct unit *unit, const char *id)
{
    snprintf(unit->name, sizeof unit->name, "%.*s", (int)strcspn(id, "."), id);
}

static void unit_take(struct units *units, const struct unit *unit, const char *active,
                      const char *sub)
{
    if (unit->name[0] == '\0' || units->count == UNITS_MAX)
        return;
    struct unit *taken = &units->items[units->count++];
    *taken = *unit;
    snprintf(taken->state, sizeof taken->state, "%s", state_of(unit, active, sub));
    if (strcmp(taken->state, "ready") != 0)
        taken->ready_ns = 0;
}

void units_parse(struct units *units, char *text)
{
    struct unit unit = { .exit_code = -1 };
    char active[33] = "", sub[33] = "";
    bool has_run = false;
    units->count = 0;
    for (char *line = text, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        char *value = strchr(line, '=');
        if (line[0] == '\0' || next == NULL) { /* an empty line parts units */
            unit.exit_code = has_run ? unit.exit_code : -1;
            unit_take(units, &unit, active, sub);
            unit = (struct unit){ .exit_code = -1 };
            active[0] = sub[0] = '\0';
            has_run = false;
        }
        if (value == NULL)
            continue;
        *value++ = '\0';
        if (strcmp(line, "Id") == 0)
            name_take(&unit, value);
        else if (strcmp(line, "ActiveState") == 0)
            snprintf(active, sizeof active, "%s", value);
        else if (strcmp(line, "SubState") == 0)
            snprintf(sub, sizeof sub, "%s", value);
        else if (strcmp(line, "MainPID") == 0)
            unit.pid = strtoull(value, NULL, 10);
        else if (strcmp(line, "NRestarts") == 0)
            unit.restarts = strtoull(value, NULL, 10);
        else if (strcmp(line, "ExecMainStatus") == 0)
            unit.exit_code = strtoll(value, NULL, 10);
        else if (strcmp(line, "ExecMainExitTimestampMonotonic") == 0)
            has_run = strcmp(value, "0") != 0;
        else if (strcmp(line, "ActiveEnterTimestamp") == 0 && value[0] == '@')
            unit.ready_ns = strtoull(value + 1, NULL, 10) * 1000000000u;
    }
}

void units_load(struct units *units)
{
    const char *arguments[16] = {
        "systemctl", "show", "--timestamp=unix",
        "--property=Id,ActiveState,SubState,MainPID,NRestarts,ExecMainStatus,"
        "ExecMainExitTimestampMonotonic,ActiveEnterTimestamp"
    };
    size_t count = 4;
    for (size_t i = 0; i < COUNT_OF(unit_names); i++)
        arguments[count++] = unit_names[i]; /* .service is what systemctl adds */
    AUTO(buffer_close) struct buffer output = { .limit = OUTPUT_BYTES_MAX };
    units->count = 0;
    if (systemctl(arguments, &output) != 0 || buffer_append(&output, "\n", 2) != STATUS_OK)
        return;
    units_parse(units, (char *)output.data);
}

enum status unit_restart(const char *name, struct unit *unit, struct problem *problem)
{
    bool is_known = false;
    for (size_t i = 0; i < COUNT_OF(unit_names); i++)
        is_known |= strcmp(unit_names[i], name) == 0;
    if (!is_known)
        return problem_set(problem, STATUS_NOT_FOUND, "daemon",
                           "no daemon \"%s\"; `soloctl daemon list` names them", name);
    const char *const arguments[] = { "systemctl", "restart", name, NULL };
    int code = systemctl(arguments, NULL);
    if (code != 0)
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                           "systemctl restart %s ended with %d; `systemctl status %s` says more",
                           name, code, name);
    struct units units;
    *unit = (struct unit){ .pid = 0 };
    units_load(&units);
    for (size_t i = 0; i < units.count; i++)
        if (strcmp(units.items[i].name, name) == 0)
            *unit = units.items[i];
    return STATUS_OK;
}
