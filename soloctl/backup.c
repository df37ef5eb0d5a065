/* backup and restore. A backup is made store by store, each by its own daemon: tokens and secrets
 * first, the log last, so that the log has every event that the others were told it has. It counts
 * when its manifest is there, which is written at the end; until then a mark says that what lies
 * there may be begun anew. Putting one back is recoveryd's. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/spec/spec_json.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/progress.h"
#include "soloctl/text.h"

enum {
    BACKUP_MS_MAX = 60 * 60 * 1000,
    SILENT_MS = 5000, /* a daemon that lives answers sooner, however much it has to copy */
    LOOK_S = 1,
    MANIFEST_SCHEMA = 1,
    STORES = 3
};

struct copied {
    const char *store;
    uint64_t bytes;
};

static const char *const stores[STORES] = { "tokens", "vault", "events" };

/* A manifest that was not renamed to its name any more. */
static bool is_manifest_begun(const char *name)
{
    return strncmp(name, BACKUP_MANIFEST ".", sizeof BACKUP_MANIFEST) == 0;
}

static bool is_part(const char *name)
{
    bool is = strcmp(name, BACKUP_MARK) == 0 || is_manifest_begun(name);
    for (int i = 0; i < STORES; i++)
        is = is || strcmp(name, stores[i]) == 0;
    return is;
}

/* OK: nothing lies there, or a backup that is not finished and nothing else. */
static enum status look_inside(const char *name, struct problem *problem)
{
    AUTO(directory_close) DIR *directory = opendir(name);
    if (directory == NULL)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "%s cannot be read: %s", name,
                           strerror(errno));
    bool is_begun = false, has_part = false, has_other = false;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        is_begun = is_begun || strcmp(entry->d_name, BACKUP_MARK) == 0;
        has_part = has_part || is_part(entry->d_name);
        has_other = has_other || !is_part(entry->d_name);
    }
    if (!has_other && is_begun == has_part)
        return STATUS_OK;
    return problem_set(problem, STATUS_ALREADY_EXISTS, "",
                       "%s is not empty: a backup goes into a directory of its own", name);
}

static enum status clear_part(const char *dir, const char *name, struct problem *problem)
{
    char path[PATH_MAX];
    TRY(path_join(path, dir, name));
    bool is_gone =
        is_manifest_begun(name) ? unlink(path) == 0 : directory_remove(path) == STATUS_OK;
    return is_gone ? STATUS_OK
                   : problem_set(problem, STATUS_ALREADY_EXISTS, "",
                                 "%s is of a backup that was cut off, and cannot be removed: "
                                 "remove it, or choose another directory",
                                 path);
}

/* What was copied before the cut speaks of another moment: all of it is copied anew. */
static enum status clear(const char *dir, struct problem *problem)
{
    AUTO(directory_close) DIR *directory = opendir(dir);
    if (directory == NULL)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "%s cannot be read: %s", dir,
                           strerror(errno));
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (is_part(entry->d_name) && strcmp(entry->d_name, BACKUP_MARK) != 0)
            TRY(clear_part(dir, entry->d_name, problem));
    return STATUS_OK;
}

/* A backup is there when what it is of has gone: RUN goes at each boot, and a store's folder with
 * the store. */
static enum status look_around(const char *run_dir, const char *dir, struct problem *problem)
{
    char run[PATH_MAX], above[PATH_MAX], path[PATH_MAX];
    size_t size = realpath(run_dir, run) == NULL ? 0 : strlen(run);
    if (size > 0 && strncmp(dir, run, size) == 0 && (dir[size] == '/' || dir[size] == '\0'))
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                           "%s lies in RUN, which is emptied at each boot: choose a directory "
                           "elsewhere",
                           dir);
    snprintf(above, sizeof above, "%s", dir);
    for (char *end; (end = strrchr(above, '/')) != NULL; *end = '\0')
        if (path_join(path, above, "data.mdb") == STATUS_OK && access(path, F_OK) == 0)
            return problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                               "%s is the folder of a store, and goes with it: choose a directory "
                               "elsewhere",
                               above);
    return STATUS_OK;
}

/* Made when it is not there; `dir` is its absolute path. The mark is locked by who writes there:
 * one that ended while it was waited for has left its manifest. */
static enum status prepare(const char *run_dir, const char *name, char dir[PATH_MAX],
                           struct file_lock *mark, struct problem *problem)
{
    char path[PATH_MAX];
    bool is_new = mkdir(name, 0700) == 0;
    if (!is_new && errno != EEXIST)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "%s cannot be made: %s", name,
                           strerror(errno));
    TRY(look_inside(name, problem));
    if (realpath(name, dir) == NULL)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "%s cannot be read: %s", name,
                           strerror(errno));
    enum status status = look_around(run_dir, dir, problem);
    if (status != STATUS_OK && is_new)
        (void)rmdir(dir);
    TRY(status);
    TRY(path_join(path, dir, BACKUP_MARK));
    status = file_lock_take(mark, path, 0);
    if (status == STATUS_LOCKED)
        return problem_set(problem, STATUS_ALREADY_EXISTS, "", "a backup into %s is under way",
                           dir);
    if (status != STATUS_OK)
        return problem_set(problem, status, "", "%s cannot be made and locked: %s", path,
                           log_last_failure());
    TRY(look_inside(name, problem));
    return clear(dir, problem);
}

/* --- one store --- */

/* A copy that a daemon makes: as long as it says that it lives, it is waited for. */
struct copying {
    struct rpc_client *client;
    struct ev_loop *loop;
    struct ev_timer look;
    const char *daemon, *store, *dir;
    bool is_done;
    enum status status;
    uint64_t bytes;
    struct problem *problem;
    struct progress progress;
};

static void end(struct copying *copying, enum status status)
{
    copying->status = status;
    copying->is_done = true;
}

static enum status is_silent(const struct copying *copying)
{
    return problem_set(copying->problem, STATUS_DEADLINE_EXCEEDED, "",
                       "%s does not answer (%d s): its store (%s) is not in the backup",
                       copying->daemon, SILENT_MS / 1000, copying->store);
}

static void on_copied(void *context, enum status status, const struct problem *problem,
                      const void *reply)
{
    struct copying *copying = context;
    if (copying->is_done)
        return;
    if (problem != NULL)
        *copying->problem = *problem;
    if (status == STATUS_OK)
        copying->bytes = ((const struct store_backup_reply *)reply)->bytes;
    end(copying, status);
}

static void on_health(void *context, enum status status, const struct problem *problem,
                      const void *reply)
{
    (void)problem, (void)reply;
    struct copying *copying = context;
    if (status == STATUS_DEADLINE_EXCEEDED && !copying->is_done)
        end(copying, is_silent(copying));
}

/* What has been written so far, where it can be seen; then it is read back. */
static void show(struct copying *copying)
{
    char path[PATH_MAX], text[64];
    struct stat file;
    if ((size_t)snprintf(path, sizeof path, "%s/%s/data.mdb", copying->dir, copying->store) >=
            sizeof path ||
        stat(path, &file) < 0)
        return;
    snprintf(text, sizeof text, "%s: %lld MiB copied", copying->store,
             (long long)file.st_size >> 20);
    progress_say(&copying->progress, text);
}

static enum status ask_health(struct copying *copying)
{
    static const struct daemon_health_request request;
    const struct rpc_call_options options = {
        .timeout_ms = SILENT_MS,
        .on_reply = on_health,
        .context = copying,
    };
    return rpc_client_call(copying->client, &method_daemon_health, &request, &options, NULL);
}

static void on_look(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct copying *copying = timer->data;
    show(copying);
    enum status status = ask_health(copying);
    if (status != STATUS_OK)
        end(copying, status);
}

/* Without a repeat: a copy that was begun ends with its daemon. */
static enum status run_copy(struct copying *copying, uint64_t timeout_ms)
{
    const struct store_backup_request request = { .dir = copying->dir };
    const struct rpc_call_options options = {
        .timeout_ms = timeout_ms,
        .on_reply = on_copied,
        .context = copying,
    };
    TRY(rpc_client_call(copying->client, &method_store_backup, &request, &options, NULL));
    ev_timer_init(&copying->look, on_look, LOOK_S, LOOK_S);
    copying->look.data = copying;
    ev_timer_start(copying->loop, &copying->look);
    while (!copying->is_done)
        ev_run(copying->loop, EVRUN_ONCE);
    ev_timer_stop(copying->loop, &copying->look);
    progress_hide(&copying->progress);
    return copying->status;
}

static enum status copy_store(struct session *session, enum peer peer, struct copying *copying,
                              uint64_t timeout_ms)
{
    static const struct daemon_health_request request;
    struct daemon_health_reply reply;
    copying->daemon = peer_name(peer);
    enum status status = session_call(session, peer, &method_daemon_health, &request, SILENT_MS,
                                      &reply, copying->problem);
    if (status == STATUS_DEADLINE_EXCEEDED)
        return is_silent(copying);
    TRY(status);
    TRY(session_client(session, peer, &copying->client, copying->problem));
    copying->loop = session->loops[peer];
    return run_copy(copying, timeout_ms);
}

static enum status copy_stores(struct session *session, const char *dir, uint64_t timeout_ms,
                               struct copied copied[STORES], struct problem *problem)
{
    static const enum peer peers[STORES] = { PEER_TOKEND, PEER_VAULTD, PEER_EVENTD };
    for (int i = 0; i < STORES; i++) {
        struct copying copying = { .store = stores[i], .dir = dir, .problem = problem };
        TRY(copy_store(session, peers[i], &copying, timeout_ms));
        copied[i] = (struct copied){ stores[i], copying.bytes };
    }
    return STATUS_OK;
}

static void fill_manifest(const struct copied copied[STORES], struct item *item)
{
    item_text(item, "kind", "solo_backup");
    item_number(item, "schema", MANIFEST_SCHEMA);
    item_time(item, "made_at", clock_wall_ns());
    for (int i = 0; i < STORES; i++)
        if (copied[i].bytes > 0)
            item_number(item, copied[i].store, copied[i].bytes);
}

static enum status write_manifest(const char *dir, const struct item *item, struct problem *problem)
{
    char path[4096];
    AUTO(buffer_close) struct buffer packed = { .limit = 4096 };
    AUTO(buffer_close) struct buffer text = { .limit = 4096 };
    item_pack(item, &packed);
    TRY(json_from_wire(buffer_span(&packed), &text));
    buffer_append_text(&text, "\n");
    TRY(path_join(path, dir, BACKUP_MANIFEST));
    enum status status = file_write_durably(path, buffer_span(&text), 0600);
    if (status != STATUS_OK)
        return problem_set(problem, status, "", "%s was not written", path);
    TRY(path_join(path, dir, BACKUP_MARK));
    (void)unlink(path); /* beside the manifest it says nothing */
    return STATUS_OK;
}

int command_backup(struct session *session, const struct arguments *arguments)
{
    char dir[PATH_MAX] = "";
    struct copied copied[STORES] = { { NULL, 0 } };
    struct problem problem = { 0 };
    uint64_t timeout_ms;
    AUTO(item_close) struct item item = ITEM_EMPTY;
    AUTO(file_lock_release) struct file_lock mark = FILE_LOCK_NONE;
    enum status status =
        arguments_duration(arguments, FLAG_timeout, BACKUP_MS_MAX, &timeout_ms, &problem);
    if (status == STATUS_OK)
        status = prepare(session->run_dir, arguments->operands[0], dir, &mark, &problem);
    if (status == STATUS_OK)
        status = copy_stores(session, dir, timeout_ms, copied, &problem);
    if (status == STATUS_OK) {
        fill_manifest(copied, &item);
        status = write_manifest(dir, &item, &problem);
    }
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (session_is_for_programs(session)) {
        document_print(session->format, &item, arguments->operands[0]);
        return 0;
    }
    uint64_t bytes = copied[0].bytes + copied[1].bytes + copied[2].bytes;
    text_print(stdout, dir);
    printf(": %" PRIu64 " bytes, every row read. The vault's key is not in it: keep a copy of "
           "DATA/vault.key elsewhere.\n",
           bytes);
    return 0;
}

int command_restore(struct session *session, const struct arguments *arguments)
{
    char program[4096];
    const char *data = arguments->value[FLAG_data];
    struct problem problem = { 0 };
    if (data == NULL)
        data = getenv("SOLO_DATA_DIR");
    if (data == NULL || data[0] == '\0')
        data = "./data";
    enum status status = program_beside(program, "recoveryd");
    if (status == STATUS_OK) {
        fflush(stdout);
        const char *only = arguments->value[FLAG_only];
        execl(program, "recoveryd", "restore", arguments->operands[0], "--data", data, "-o",
              session_is_for_programs(session) ? "json" : "text", only == NULL ? NULL : "--only",
              only, (char *)NULL);
        status = problem_set(&problem, STATUS_INTERNAL, "", "%s cannot be run: %s", program,
                             strerror(errno));
    }
    return session_fail(session, arguments->operands[0], status, &problem);
}
