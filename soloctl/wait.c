/* wait: for a service, or for all of Solo. solod says when everything has been started; whether
 * each daemon can do its work, it says itself. */
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/run_folder.h"
#include "common/base/unix_socket.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/target.h"
#include "soloctl/text.h"
#include "soloctl/units.h"

enum {
    ANSWER_MS = 5000,
    AGAIN_MS = 100,
    LOOK_MS = 1000, /* for those that only have to say how they are */
    JUST_NOW_MS = 1000,
    NEXT_MS = 5000, /* for the one after a solod that ended before this wait began */
};

static uint64_t left_of(uint64_t timeout_ms, uint64_t began_ns)
{
    uint64_t passed_ms = (clock_boottime_ns() - began_ns) / 1000000u;
    return passed_ms < timeout_ms ? timeout_ms - passed_ms : 0;
}

/* A deployd that ends says so to those who wait: they go on waiting with the next one. */
static enum status wait_over_restarts(struct session *session, struct service_wait_request *request,
                                      struct service_wait_reply *reply, struct problem *problem)
{
    uint64_t began_ns = clock_boottime_ns(), timeout_ms = request->timeout_ms;
    for (;;) {
        /* deployd's own deadline comes first: its answer says in which state the service is. Not
         * much later, for a Solo that has ended meanwhile answers nothing. */
        enum status status = session_call(session, PEER_DEPLOYD, &method_service_wait, request,
                                          request->timeout_ms + ANSWER_MS, reply, problem);
        uint64_t left_ms = left_of(timeout_ms, began_ns);
        if (status != STATUS_UNAVAILABLE || session->is_unreachable || left_ms == 0)
            return status;
        poll(NULL, 0, (int)(left_ms < AGAIN_MS ? left_ms : AGAIN_MS));
        request->timeout_ms = left_ms;
    }
}

static int wait_for_service(struct session *session, const struct arguments *arguments,
                            uint64_t timeout_ms)
{
    struct problem problem = { 0 };
    struct target target = { 0 };
    struct service_wait_reply reply = { 0 };
    const char *condition = arguments->value[FLAG_for_condition];
    enum status status = target_parse(arguments->operands[0], session->tenant, &target, &problem);
    if (status == STATUS_OK) {
        struct service_wait_request request = { .tenant = target.tenant,
                                                .name = target.name,
                                                .condition = condition,
                                                .timeout_ms = timeout_ms };
        status = wait_over_restarts(session, &request, &reply, &problem);
    }
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (!session_is_for_programs(session)) {
        printf("%s is %s\n", target.key, reply.state[0] == '\0' ? condition : reply.state);
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "wait");
    item_text(&item, "tenant", target.tenant);
    item_text(&item, "name", target.name);
    item_text(&item, "condition", condition);
    item_text(&item, "state", reply.state);
    item_number_or_null(&item, "generation", reply.generation);
    document_print(session->format, &item, target.key);
    return 0;
}

/* Watches `dir`, or the nearest folder above it that exists; false when nothing can be watched. */
static bool watch_nearest(int fd, const char *dir)
{
    for (;;) {
        char path[PATH_TEXT_BYTES_MAX], below[PATH_TEXT_BYTES_MAX] = "";
        snprintf(path, sizeof path, "%s", dir);
        while (inotify_add_watch(fd, path, IN_CREATE | IN_MOVED_TO) < 0) {
            if (errno != ENOENT || strcmp(path, ".") == 0)
                return false;
            memcpy(below, path, sizeof below);
            const char *parent = dirname(path);
            memmove(path, parent, strlen(parent) + 1);
        }
        /* What was made before its parent was watched is told by nobody. */
        if (below[0] == '\0' || access(below, F_OK) != 0)
            return true;
    }
}

static enum status solod_has_ended(struct session *session, struct problem *problem)
{
    session->is_unreachable = true;
    return problem_set(problem, STATUS_UNAVAILABLE, "",
                       "solod has ended; what it said last tells why");
}

/* What the lock of a solod tells while nobody listens. Somebody is there, but starts or ends; or
 * has taken the lock since just before `began_wall_ns` and let go of it: could not start, say. An
 * older lock belongs to an earlier one, and the next may be on its way; of one that was taken just
 * before nobody can tell, so the next has a few seconds. */
enum trace { NO_TRACE, IS_THERE, HAS_GONE, HAD_GONE /* before `began_wall_ns` */ };

/* Has `fd` tell what changes. Who may not look into the folder learns nothing. */
static enum trace find_trace(const struct session *session, int fd, uint64_t began_wall_ns)
{
    char folder[PATH_TEXT_BYTES_MAX], path[PATH_TEXT_BYTES_MAX];
    struct stat lock;
    bool is_held = false;
    if (path_join(folder, session->run_dir, RUN_INTERNAL) != STATUS_OK ||
        run_internal_path(path, session->run_dir, "solod.lock") != STATUS_OK ||
        inotify_add_watch(fd, folder, IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE) < 0 ||
        stat(path, &lock) < 0 || file_lock_is_held(path, &is_held) != STATUS_OK)
        return NO_TRACE;
    uint64_t taken_ns = (uint64_t)lock.st_mtim.tv_sec * NS_PER_S + (uint64_t)lock.st_mtim.tv_nsec;
    if (is_held)
        return IS_THERE;
    /* Who has it writes into it: one that is empty has just been made, to be taken next. */
    if (lock.st_size == 0 || taken_ns + JUST_NOW_MS * NS_PER_MS < began_wall_ns)
        return NO_TRACE;
    return taken_ns >= began_wall_ns ? HAS_GONE : HAD_GONE;
}

/* While nobody listens, sleeps until something happens in the run directory, or, while there is
 * none, in the nearest folder above it; takes off `timeout_ms` what has passed. The client alone
 * would do, but after a while it asks once a second only, and always at the same place: a Solo that
 * is being started here has no run directory yet. */
static enum status wait_for_run_directory(struct session *session, uint64_t *timeout_ms,
                                          struct problem *problem)
{
    char path[PATH_TEXT_BYTES_MAX];
    uint64_t began_ns = clock_boottime_ns(), began_wall_ns = clock_wall_ns();
    uint64_t left_ms = *timeout_ms;
    while (left_ms > 0) {
        AUTO(fd_close) int probe = -1;
        /* A new one each time: what it has told and what it watched are of the past. */
        AUTO(fd_close) int fd = inotify_init1(IN_CLOEXEC);
        /* Watched first, asked second: a socket made in between is seen by one of the two. */
        if (fd < 0 || (session->is_run_dir_guessed && !watch_nearest(fd, RUN_DIR_HERE)))
            break;
        session_guess_run_dir(session);
        if (run_socket_path(path, session->run_dir, "solod") != STATUS_OK ||
            !watch_nearest(fd, session->run_dir))
            break;
        enum trace trace = find_trace(session, fd, began_wall_ns);
        enum status status = unix_socket_connect(path, &probe);
        if (status != STATUS_NOT_FOUND && status != STATUS_UNAVAILABLE)
            break;
        if (trace == HAS_GONE ||
            (trace == HAD_GONE && clock_boottime_ns() - began_ns >= NEXT_MS * NS_PER_MS))
            return solod_has_ended(session, problem);
        /* A socket that refuses may be about to listen, and a lock is given back after its file
         * was closed: no file tells either. */
        bool is_near = (status == STATUS_UNAVAILABLE || trace != NO_TRACE) && left_ms > AGAIN_MS;
        poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, is_near ? AGAIN_MS : (int)left_ms);
        left_ms = left_of(*timeout_ms, began_ns);
    }
    *timeout_ms = left_ms > 0 ? left_ms : 1;
    return STATUS_OK;
}

/* Until everything has started, by solod's word; or until solod has ended. */
static enum status ask_solod(struct session *session, uint64_t timeout_ms,
                             struct system_wait_reply *reply, struct problem *problem)
{
    struct system_wait_request request = { .timeout_ms = timeout_ms };
    uint64_t began_ns = clock_boottime_ns();
    char path[PATH_TEXT_BYTES_MAX];
    struct rpc_client *client;
    enum status status;
    TRY(session_client_unprobed(session, PEER_SOLOD, &client, problem));
    if (run_socket_path(path, session->run_dir, "solod") != STATUS_OK)
        return STATUS_USAGE;
    do {
        const struct rpc_call_options options = { .timeout_ms = request.timeout_ms + LOOK_MS };
        AUTO(fd_close) int probe = -1;
        status = rpc_client_call_wait(client, &method_system_wait, &request, &options,
                                      &session->arena, reply, problem);
        if (status != STATUS_UNKNOWN && status != STATUS_UNAVAILABLE)
            return status;
        enum status listening = unix_socket_connect(path, &probe);
        if (listening == STATUS_NOT_FOUND || listening == STATUS_UNAVAILABLE)
            return solod_has_ended(session, problem);
        /* Its connections may be gone a moment before its socket; or the next one is there. */
        if (status == STATUS_UNKNOWN)
            poll(NULL, 0, AGAIN_MS);
        request.timeout_ms = left_of(timeout_ms, began_ns);
    } while (status == STATUS_UNKNOWN && request.timeout_ms > 0);
    return status;
}

/* One question to one daemon, which need not have made its socket yet. */
static enum status ask(struct session *session, enum peer peer, const struct method *method,
                       const void *request, uint64_t timeout_ms, void *reply,
                       struct problem *problem)
{
    struct rpc_client *client;
    struct rpc_call_options options = { .flags = RPC_RETRY, .timeout_ms = timeout_ms };
    TRY(session_client_unprobed(session, peer, &client, problem));
    arena_reset(&session->arena);
    enum status status =
        rpc_client_call_wait(client, method, request, &options, &session->arena, reply, problem);
    session->is_unreachable = status == STATUS_UNAVAILABLE;
    return status;
}

struct readiness {
    char state[33], reason[257];
};

static void note(struct readiness *readiness, const char *state, const char *reason)
{
    snprintf(readiness->state, sizeof readiness->state, "%s", state);
    snprintf(readiness->reason, sizeof readiness->reason, "%s", reason);
}

/* Until the daemon does its work, or says that it cannot. */
static enum status wait_for_daemon(struct session *session, enum peer peer, uint64_t timeout_ms,
                                   struct readiness *readiness, struct problem *problem)
{
    const struct daemon_health_request request = {};
    struct daemon_health_reply reply = { 0 };
    uint64_t began_ns = clock_boottime_ns(), left_ms = timeout_ms;
    TRY(ask(session, peer, &method_daemon_health, &request, left_ms, &reply, problem));
    while (strcmp(reply.state, "starting") == 0 && (left_ms = left_of(timeout_ms, began_ns)) > 0) {
        poll(NULL, 0, AGAIN_MS);
        TRY(ask(session, peer, &method_daemon_health, &request, left_ms, &reply, problem));
    }
    if (strcmp(reply.state, "starting") == 0)
        return problem_set(problem, STATUS_DEADLINE_EXCEEDED, "", "%s is still starting: %s",
                           peer_name(peer), reply.reason);
    char reason[sizeof readiness->reason];
    snprintf(reason, sizeof reason, "%s: %s", peer_name(peer), reply.reason);
    if (strcmp(reply.state, "ready") != 0)
        note(readiness, "degraded", reason);
    return STATUS_OK;
}

/* Without solod nobody else knows of the recovery. */
static enum status wait_for_recovery(struct session *session, uint64_t timeout_ms,
                                     struct problem *problem)
{
    uint64_t began_ns = clock_boottime_ns(), left_ms = timeout_ms;
    do {
        const struct system_status_request request = {};
        struct system_status_reply reply = { 0 };
        char state[33] = "";
        TRY(ask(session, PEER_DEPLOYD, &method_system_status, &request, left_ms, &reply, problem));
        map_text(reply.status, "state", state, sizeof state);
        if (strcmp(state, "recovering") != 0 && strcmp(state, "starting") != 0)
            return STATUS_OK;
        poll(NULL, 0, AGAIN_MS);
    } while ((left_ms = left_of(timeout_ms, began_ns)) > 0);
    return problem_set(problem, STATUS_DEADLINE_EXCEEDED, "", "the recovery has not ended yet");
}

static enum status look_at_all(struct session *session, uint64_t timeout_ms,
                               struct readiness *readiness, struct problem *problem)
{
    static const enum peer daemons[] = { PEER_DEPLOYD, PEER_VAULTD, PEER_TOKEND, PEER_EVENTD };
    struct system_wait_reply reply = { 0 };
    uint64_t began_ns = clock_boottime_ns();
    bool has_units = units_are_used(session);
    if (!has_units) {
        TRY(ask_solod(session, timeout_ms, &reply, problem));
        note(readiness, reply.state, reply.reason);
    }
    bool is_degraded = strcmp(readiness->state, "degraded") == 0;
    /* The one that the others are damaged with comes last: its reason stays. */
    for (size_t i = 0; i < COUNT_OF(daemons); i++) {
        uint64_t left_ms = is_degraded ? 0 : left_of(timeout_ms, began_ns);
        enum status status =
            wait_for_daemon(session, daemons[i], left_ms + LOOK_MS, readiness, problem);
        if (status != STATUS_OK && !(is_degraded && status == STATUS_DEADLINE_EXCEEDED))
            return status; /* one that is missing by solod's word need not answer */
    }
    return has_units ? wait_for_recovery(session, left_of(timeout_ms, began_ns) + LOOK_MS, problem)
                     : STATUS_OK;
}

/* Solo may not even have made its sockets yet: the client connects as soon as it has. */
static int wait_for_solo(struct session *session, uint64_t timeout_ms)
{
    struct problem problem = { 0 };
    struct readiness readiness = { .state = "ready" };
    enum status status = units_are_used(session)
                             ? STATUS_OK
                             : wait_for_run_directory(session, &timeout_ms, &problem);
    if (status == STATUS_OK)
        status = look_at_all(session, timeout_ms, &readiness, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    bool is_ready = strcmp(readiness.state, "ready") == 0;
    if (session_is_for_programs(session)) {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "kind", "wait");
        item_text(&item, "state", readiness.state);
        item_text_or_null(&item, "reason", readiness.reason);
        document_print(session->format, &item, readiness.state);
    } else if (is_ready || readiness.reason[0] == '\0') {
        printf("Solo is %s%s\n", readiness.state,
               is_ready ? "" : ": `soloctl status` says what is missing");
    } else {
        printf("Solo is %s: ", readiness.state);
        text_print(stdout, readiness.reason);
        printf("\n");
    }
    return is_ready ? 0 : 3;
}

int command_wait(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    uint64_t timeout_ms;
    bool for_ready = arguments_has(arguments, FLAG_ready);
    const char *condition = arguments->value[FLAG_for_condition];
    enum status status =
        arguments_duration(arguments, FLAG_timeout, 60 * 1000, &timeout_ms, &problem);
    if (status == STATUS_OK && timeout_ms == 0)
        timeout_ms = 1;
    if (status == STATUS_OK && timeout_ms > 86400000)
        status = problem_set(&problem, STATUS_USAGE, "", "--timeout: at most 1d");
    else if (status == STATUS_OK && for_ready != (arguments->operand_count == 0))
        status = problem_set(&problem, STATUS_USAGE, "",
                             "name a service and --for CONDITION, or --ready alone");
    else if (status == STATUS_OK && !for_ready &&
             (condition == NULL ||
              (strcmp(condition, "running") != 0 && strcmp(condition, "ready") != 0 &&
               strcmp(condition, "gone") != 0)))
        status = problem_set(&problem, STATUS_USAGE, "", "--for: must be running, ready or gone");
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    return for_ready ? wait_for_solo(session, timeout_ms)
                     : wait_for_service(session, arguments, timeout_ms);
}
