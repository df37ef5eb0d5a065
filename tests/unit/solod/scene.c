/* Waiting here is polling with short pauses: solod is looked at from outside, as a person would. */
#include "tests/unit/solod/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/daemon/settings.h"
#include "common/rpc/client.h"
#include "common/wire/reader.h"
#include "tests/support/command.h"
#include "tests/support/criterion.h"

extern char **environ;

struct scene scene;

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 5 * 1000000 }, NULL);
}

/* A copy, not a link: solod looks for the others where its own file is. */
static void program_copy(const char *from, const char *to)
{
    AUTO(fd_close) int in = open(from, O_RDONLY | O_CLOEXEC);
    AUTO(fd_close) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    struct stat status;
    cr_assert_geq(in, 0);
    cr_assert_geq(out, 0);
    cr_assert_eq(fstat(in, &status), 0);
    for (off_t left = status.st_size; left > 0;) {
        ssize_t sent = sendfile(out, in, NULL, (size_t)left);
        cr_assert_gt(sent, 0);
        left -= sent;
    }
}

void scene_open(void)
{
    static const char *const names[] = { "eventd",  "tokend",  "vaultd",
                                         "deployd", "tenantd", "recoveryd" };
    static const char *const variables[] = {
#define SETTING(kind, key, effect, environment, otherwise, meaning) environment,
#include "common/daemon/settings.def"
#undef SETTING
        "SOLO_CONFIG",
    };
    char path[128];
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        unsetenv(variables[i]);
    snprintf(scene.folder, sizeof scene.folder, "/tmp/solo-solod-XXXXXX");
    cr_assert_not_null(mkdtemp(scene.folder));
    snprintf(scene.bin, sizeof scene.bin, "%s/bin", scene.folder);
    snprintf(scene.data, sizeof scene.data, "%s/data", scene.folder);
    snprintf(scene.run, sizeof scene.run, "%s/run", scene.folder);
    snprintf(scene.log, sizeof scene.log, "%s/log", scene.folder);
    cr_assert_eq(mkdir(scene.bin, 0755), 0);
    snprintf(path, sizeof path, "%s/solod", scene.bin);
    program_copy(SOLOD, path);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", scene.bin, names[i]);
        cr_assert_eq(symlink(SOLO_STAND_IN, path), 0);
    }
}

void scene_close(void)
{
    if (scene.solod != 0) {
        kill(scene.solod, SIGKILL); /* its children die with it */
        waitpid(scene.solod, NULL, 0);
    }
    directory_remove(scene.folder);
}

void scene_ask(const char *name_in_capitals, const char *words)
{
    char variable[64];
    snprintf(variable, sizeof variable, "STAND_IN_%s", name_in_capitals);
    setenv(variable, words, 1);
}

static pid_t solod_start(const char *data, const char *run, const char *const *arguments)
{
    char path[128];
    snprintf(path, sizeof path, "%s/solod", scene.bin);
    const char *argv[16] = { path, "--data", data, "--run", run };
    for (size_t i = 0; arguments != NULL && arguments[i] != NULL; i++)
        argv[5 + i] = arguments[i];
    const struct command command = { .argv = argv, .environment = (const char *const *)environ };
    return command_start(&command, scene.log);
}

void scene_start(const char *const *arguments)
{
    scene.solod = solod_start(scene.data, scene.run, arguments);
}

static int exit_code_wait(pid_t pid)
{
    for (uint64_t end = clock_boottime_ns() + 60000000000u; clock_boottime_ns() < end;) {
        int status;
        pid_t ended = waitpid(pid, &status, WNOHANG);
        cr_assert_geq(ended, 0);
        if (ended == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        pause_briefly();
    }
    cr_assert_fail("solod %d does not end", pid);
    return -1;
}

int scene_end(void)
{
    pid_t pid = scene.solod;
    int code = exit_code_wait(pid);
    scene.solod = 0;
    return code;
}

void scene_signal(int signal_number)
{
    cr_assert_eq(kill(scene.solod, signal_number), 0);
}

int scene_run_other(const char *data, const char *run)
{
    return exit_code_wait(solod_start(data, run, NULL));
}

static struct arena reply_arena = { .limit = 1024 * 1024 };

enum status scene_call(const char *daemon, const struct method *method, const void *request,
                       void *reply, struct problem *problem)
{
    char path[128];
    struct problem ignored = { 0 };
    struct rpc_client *client = NULL;
    struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
    snprintf(path, sizeof path, "%s/%s.sock", scene.run, daemon);
    const struct rpc_client_options options = { .path = path };
    const struct rpc_call_options call = { .flags = RPC_RETRY, .timeout_ms = 60000 };
    arena_reset(&reply_arena);
    enum status status = rpc_client_open(&client, loop, &options);
    if (status == STATUS_OK)
        status = rpc_client_call_wait(client, method, request, &call, &reply_arena, reply,
                                      problem == NULL ? &ignored : problem);
    rpc_client_close(&client);
    ev_loop_destroy(loop);
    return status;
}

void scene_list(struct listing *listing)
{
    struct daemon_list_reply reply = { 0 };
    const struct daemon_list_request request;
    uint32_t count = 0;
    memset(listing, 0, sizeof *listing);
    cr_assert_eq(scene_call("solod", &method_daemon_list, &request, &reply, NULL), STATUS_OK);
    snprintf(listing->state, sizeof listing->state, "%s", reply.state);
    snprintf(listing->reason, sizeof listing->reason, "%s", reply.reason);
    listing->recovery_exit_code = reply.recovery_exit_code;
    struct reader reader = reader_of(reply.daemons);
    cr_assert_eq(reader_array(&reader, &count), STATUS_OK);
    cr_assert_leq(count, COUNT_OF(listing->items));
    for (uint32_t i = 0; i < count; i++) {
        struct span item;
        struct listed *listed = &listing->items[listing->count++];
        cr_assert_eq(reader_any(&reader, &item), STATUS_OK);
        map_text(item, "name", listed->name, sizeof listed->name);
        map_text(item, "state", listed->state, sizeof listed->state);
        listed->pid = (pid_t)map_u64(item, "pid", 0);
        listed->restarts = map_u64(item, "restarts", 99);
    }
}

const struct listed *listing_find(const struct listing *listing, const char *name)
{
    for (size_t i = 0; i < listing->count; i++)
        if (strcmp(listing->items[i].name, name) == 0)
            return &listing->items[i];
    return NULL;
}

struct listed scene_until(const char *name, const char *state)
{
    struct listing listing;
    for (uint64_t end = clock_boottime_ns() + 60000000000u; clock_boottime_ns() < end;) {
        scene_list(&listing);
        const struct listed *listed = listing_find(&listing, name);
        if (listed != NULL && strcmp(listed->state, state) == 0)
            return *listed;
        pause_briefly();
    }
    cr_assert_fail("%s does not become %s: %s (%s)", name, state, listing.state, listing.reason);
    return (struct listed){ 0 };
}

static void story_read(struct buffer *story)
{
    char path[128];
    snprintf(path, sizeof path, "%s/story", scene.run);
    buffer_clear(story);
    story->limit = 65536;
    enum status status = file_read(path, story);
    cr_assert(status == STATUS_OK || status == STATUS_NOT_FOUND);
    cr_assert_eq(buffer_append(story, "", 1), STATUS_OK);
}

void scene_until_told(const char *line)
{
    AUTO(buffer_close) struct buffer story = { 0 };
    for (uint64_t end = clock_boottime_ns() + 60000000000u; clock_boottime_ns() < end;) {
        story_read(&story);
        if (strstr((const char *)story.data, line) != NULL)
            return;
        pause_briefly();
    }
    cr_assert_fail("nobody told \"%s\" but: %s", line, (const char *)story.data);
}

void scene_story(const char *expected)
{
    static const char *const beside[][2] = {
        { "vaultd start\ntokend start\n", "tokend start\nvaultd start\n" },
        { "tokend stop\nvaultd stop\n", "vaultd stop\ntokend stop\n" },
    };
    AUTO(buffer_close) struct buffer story = { 0 };
    story_read(&story);
    for (size_t i = 0; i < COUNT_OF(beside); i++) {
        char *as_told = strstr((char *)story.data, beside[i][0]);
        if (as_told != NULL)
            memcpy(as_told, beside[i][1], strlen(beside[i][1]));
    }
    cr_assert_str_eq((const char *)story.data, expected);
}

size_t scene_story_count(const char *line)
{
    AUTO(buffer_close) struct buffer story = { 0 };
    story_read(&story);
    size_t count = 0;
    for (const char *found = (const char *)story.data; (found = strstr(found, line)) != NULL;
         found++)
        count++;
    return count;
}

bool scene_has(const char *path_in_run)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", scene.run, path_in_run);
    return access(path, F_OK) == 0;
}
