/* One run of soloctl: global flags, connections, and how failures are told. */
#include "soloctl/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/run_folder.h"
#include "common/base/unix_socket.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/text.h"

enum { PATIENCE_MS = 3000 /* until solod is asked why there is no answer */ };

static const char *const peers[] = { "deployd", "eventd", "solod", "tokend", "vaultd" };
static const char *const formats[] = { "table", "wide", "json", "jsonl", "name" };

const char *peer_name(enum peer peer)
{
    return peers[peer];
}

/* In the root folder ./run is the system's own. */
static bool is_run_dir_here(void)
{
    struct stat here, system;
    return stat(RUN_DIR_HERE, &here) == 0 &&
           (stat("/run", &system) < 0 || here.st_dev != system.st_dev ||
            here.st_ino != system.st_ino);
}

void session_guess_run_dir(struct session *session)
{
    if (session->is_run_dir_guessed)
        snprintf(session->run_dir, sizeof session->run_dir, "%s",
                 is_run_dir_here() ? RUN_DIR_HERE : RUN_DIR_INSTALLED);
}

static void choose_run_dir(struct session *session, const char *wanted)
{
    const char *from_environment = getenv("SOLO_RUN_DIR");
    if (wanted == NULL && from_environment != NULL && from_environment[0] != '\0')
        wanted = from_environment;
    session->is_run_dir_guessed = wanted == NULL;
    if (wanted != NULL)
        snprintf(session->run_dir, sizeof session->run_dir, "%s", wanted);
    session_guess_run_dir(session);
}

static enum status choose_format(struct session *session, const char *wanted,
                                 struct problem *problem)
{
    for (size_t i = 0; wanted != NULL && i < COUNT_OF(formats); i++)
        if (strcmp(wanted, formats[i]) == 0) {
            session->format = (enum format)i;
            return STATUS_OK;
        }
    if (wanted == NULL)
        return STATUS_OK;
    return problem_set(problem, STATUS_USAGE, "",
                       "--output: must be table, wide, json, jsonl or name, is \"%s\"", wanted);
}

/* A pipe or socket is no better kept than a file. Of a terminal or /dev/null nothing is said. */
static enum status check_keeping(const struct stat *file, const char *path, struct problem *problem)
{
    if (S_ISCHR(file->st_mode))
        return STATUS_OK;
    if (file->st_uid != geteuid() && file->st_uid != 0)
        return problem_set(problem, STATUS_PERMISSION_DENIED, "",
                           "--token-file %s: belongs to another user; run `chown %lu %s` first",
                           path, (unsigned long)geteuid(), path);
    if ((file->st_mode & 077) != 0)
        return problem_set(problem, STATUS_PERMISSION_DENIED, "",
                           "--token-file %s: others can read it; run `chmod 600 %s` first", path,
                           path);
    return STATUS_OK;
}

enum status session_read_token(struct session *session, const char *path, struct problem *problem)
{
    bool is_input = strcmp(path, "-") == 0;
    struct stat file;
    /* Before it is opened, too: opening a pipe waits for who writes. */
    if (!is_input && stat(path, &file) == 0)
        TRY(check_keeping(&file, path, problem));
    AUTO(fd_close) int fd = is_input ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) < 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "--token-file %s: %s", path,
                           strerror(errno));
    if (is_input && S_ISREG(file.st_mode) && (file.st_mode & 077) != 0)
        return problem_set(problem, STATUS_PERMISSION_DENIED, "",
                           "--token-file -: others can read the file that is the input; run `chmod "
                           "600` on it first");
    if (!is_input)
        TRY(check_keeping(&file, path, problem));
    size_t size = 0;
    for (ssize_t more; size < TOKEN_BYTES_MAX; size += (size_t)more) {
        more = read(fd, session->token + size, TOKEN_BYTES_MAX - size);
        if (more < 0)
            return problem_set(problem, STATUS_IO, "", "--token-file %s: %s", path,
                               strerror(errno));
        if (more == 0)
            break;
    }
    size = strcspn(session->token, "\r\n");
    session->token[size] = '\0';
    if (size == 0 || size == TOKEN_BYTES_MAX)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "", "--token-file %s: holds no token",
                           path);
    return STATUS_OK;
}

enum status session_open(struct session *session, const struct arguments *arguments,
                         struct problem *problem)
{
    const char *const *value = arguments->value;
    session->command = arguments->command;
    session->arena.limit = REPLY_BYTES_MAX;
    session->tenant = value[FLAG_tenant] == NULL ? "" : value[FLAG_tenant];
    choose_run_dir(session, value[FLAG_run]);
    TRY(choose_format(session, value[FLAG_output], problem));
    if (session->tenant[0] != '\0' && !name_is_valid(session->tenant))
        return problem_set(problem, STATUS_USAGE, "", "--tenant: must match %s, is \"%s\"",
                           NAME_PATTERN, session->tenant);
    session->request_id = uuid_draw();
    session->is_repeated = value[FLAG_request_id] != NULL;
    if (session->is_repeated &&
        uuid_parse(value[FLAG_request_id], &session->request_id) != STATUS_OK)
        return problem_set(problem, STATUS_USAGE, "", "--request-id: must be a UUIDv7, is \"%s\"",
                           value[FLAG_request_id]);
    const char *token_file = value[FLAG_token_file];
    if (token_file == NULL)
        token_file = getenv("SOLO_TOKEN_FILE");
    return token_file == NULL || token_file[0] == '\0'
               ? STATUS_OK
               : session_read_token(session, token_file, problem);
}

void session_close(struct session *session)
{
    for (int i = 0; i < PEERS; i++) {
        if (session->clients[i] != NULL)
            rpc_client_close(&session->clients[i]);
        if (session->loops[i] != NULL)
            ev_loop_destroy(session->loops[i]);
        session->loops[i] = NULL;
    }
    arena_close(&session->arena);
    sodium_memzero(session->token, sizeof session->token);
}

bool session_is_for_programs(const struct session *session)
{
    return session->format >= FORMAT_JSON;
}

int session_expect_text(const struct session *session)
{
    struct problem problem = { 0 };
    if (!session_is_for_programs(session))
        return 0;
    problem_set(&problem, STATUS_USAGE, "", "-o %s: its answer is a text",
                formats[session->format]);
    return session_fail(session, "", STATUS_USAGE, &problem);
}

static enum status socket_path(const struct session *session, enum peer peer,
                               char path[PATH_TEXT_BYTES_MAX], struct problem *problem)
{
    if (run_socket_path(path, session->run_dir, peers[peer]) != STATUS_OK)
        return problem_set(problem, STATUS_USAGE, "", "--run: the path is too long");
    return STATUS_OK;
}

/* Whether somebody listens there. */
static enum status probe(struct session *session, enum peer peer, struct problem *problem)
{
    char path[PATH_TEXT_BYTES_MAX];
    TRY(socket_path(session, peer, path, problem));
    AUTO(fd_close) int fd = -1;
    enum status status = unix_socket_connect(path, &fd);
    session->is_unreachable = status == STATUS_NOT_FOUND || status == STATUS_UNAVAILABLE;
    if (status == STATUS_NOT_FOUND)
        return problem_set(problem, STATUS_UNAVAILABLE, "", "there is no socket at %s", path);
    if (status == STATUS_UNAVAILABLE)
        return problem_set(problem, status, "", "nobody listens at %s", path);
    if (status != STATUS_OK && status != STATUS_RESOURCE_EXHAUSTED) /* its backlog is full */
        return problem_set(problem, status, "", "cannot connect to %s: %s", path,
                           status_text(status));
    return STATUS_OK;
}

static enum status client_open(const struct session *session, enum peer peer, struct ev_loop *loop,
                               uint64_t absence_ms_max, struct rpc_client **client,
                               struct problem *problem)
{
    char path[PATH_TEXT_BYTES_MAX];
    TRY(socket_path(session, peer, path, problem));
    const struct rpc_client_options options = {
        .path = path,
        .token = span_of_text(session->token),
        .absence_ms_max = absence_ms_max,
    };
    enum status status = rpc_client_open(client, loop, &options);
    return status == STATUS_OK ? STATUS_OK
                               : problem_set(problem, status, "", "%s", status_text(status));
}

enum status session_connect(struct session *session, enum peer peer, struct ev_loop *loop,
                            struct rpc_client **client, struct problem *problem)
{
    TRY(probe(session, peer, problem));
    return client_open(session, peer, loop, ABSENCE_MS_MAX, client, problem);
}

static enum status client_of(struct session *session, enum peer peer, uint64_t absence_ms_max,
                             struct rpc_client **client, struct problem *problem)
{
    if (session->clients[peer] == NULL) {
        session->loops[peer] = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
        if (session->loops[peer] == NULL)
            return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "no event loop to be had");
        TRY(client_open(session, peer, session->loops[peer], absence_ms_max,
                        &session->clients[peer], problem));
    }
    *client = session->clients[peer];
    return STATUS_OK;
}

enum status session_client(struct session *session, enum peer peer, struct rpc_client **client,
                           struct problem *problem)
{
    if (session->clients[peer] == NULL)
        TRY(probe(session, peer, problem));
    return client_of(session, peer, ABSENCE_MS_MAX, client, problem);
}

enum status session_client_unprobed(struct session *session, enum peer peer,
                                    struct rpc_client **client, struct problem *problem)
{
    return client_of(session, peer, 0, client, problem);
}

/* Whether solod says that it cannot be had for now: it ended as often as it was started. */
static bool is_down(struct session *session, enum peer peer, struct problem *problem)
{
    struct rpc_client *solod;
    struct daemon_list_request request = {};
    struct daemon_list_reply reply;
    struct problem unused;
    const struct rpc_call_options options = { .timeout_ms = PATIENCE_MS };
    arena_reset(&session->arena);
    if (peer == PEER_SOLOD || session_client(session, PEER_SOLOD, &solod, &unused) != STATUS_OK ||
        rpc_client_call_wait(solod, &method_daemon_list, &request, &options, &session->arena,
                             &reply, &unused) != STATUS_OK)
        return false;
    struct reader reader = reader_of(reply.daemons);
    uint32_t count = 0;
    struct span map;
    reader_array(&reader, &count);
    for (uint32_t i = 0; i < count && reader_any(&reader, &map) == STATUS_OK; i++) {
        char name[16], state[33];
        map_text(map, "state", state, sizeof state);
        if (strcmp(map_text(map, "name", name, sizeof name), peers[peer]) != 0 ||
            (strcmp(state, "backoff") != 0 && strcmp(state, "failed") != 0))
            continue;
        problem_set(problem, STATUS_UNAVAILABLE, "", "%s", reply.reason);
        return true;
    }
    return false;
}

enum status session_call(struct session *session, enum peer peer, const struct method *method,
                         const void *request, uint64_t timeout_ms, void *reply,
                         struct problem *problem)
{
    struct rpc_client *client;
    session->is_changing = (method->flags & METHOD_MUTATES) != 0;
    TRY(session_client(session, peer, &client, problem));
    struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = timeout_ms,
        .request_id = session->is_changing ? &session->request_id : NULL,
    };
    /* Its socket stays open while a daemon is away: a question need not wait for one that cannot
     * start. */
    bool is_question = timeout_ms == READ_TIMEOUT_MS && !session->is_changing;
    uint64_t spent_ms = 0;
    for (uint64_t patience_ms = PATIENCE_MS;; spent_ms += patience_ms, patience_ms *= 2) {
        bool is_last = !is_question || spent_ms + patience_ms >= timeout_ms;
        options.timeout_ms = is_last ? timeout_ms - spent_ms : patience_ms;
        arena_reset(&session->arena);
        enum status status = rpc_client_call_wait(client, method, request, &options,
                                                  &session->arena, reply, problem);
        if (status != STATUS_DEADLINE_EXCEEDED || is_last)
            return status;
        if (is_down(session, peer, problem))
            return STATUS_UNAVAILABLE;
    }
}

enum status session_stream(struct session *session, enum peer peer, const struct method *method,
                           const void *request, rpc_on_notify on_notify, void *context, void *reply,
                           struct problem *problem)
{
    struct rpc_client *client;
    TRY(session_client(session, peer, &client, problem));
    struct rpc_call_options options = { .on_notify = on_notify, .context = context };
    arena_reset(&session->arena);
    return rpc_client_call_wait(client, method, request, &options, &session->arena, reply, problem);
}

/* Whether the command was about a service that there is; then its description says what helps,
 * unless that has been said. */
static bool is_about_service(const struct session *session, const char *subject,
                             const struct problem *problem)
{
    const struct command *command = session->command;
    return subject[0] != '\0' && command != NULL &&
           strstr(problem->message, "soloctl describe") == NULL &&
           (command->run == command_restart || command->run == command_kill ||
            command->run == command_wait);
}

static void print_describe(const struct session *session, const char *subject)
{
    bool is_narrowed = session->tenant[0] != '\0' && strchr(subject, '/') == NULL;
    fprintf(stderr, is_narrowed ? "  `soloctl describe -t %s " : "  `soloctl describe %s",
            session->tenant);
    text_print(stderr, subject);
    fprintf(stderr, "` says why, and what helps\n");
}

static bool is_about_vault(const struct session *session)
{
    const char *words = session->command->words;
    return strncmp(words, "secret ", strlen("secret ")) == 0 ||
           strncmp(words, "vault ", strlen("vault ")) == 0;
}

/* What to do next. */
static void print_advice(const struct session *session, const char *subject, enum status status,
                         const struct problem *problem)
{
    char id[UUID_TEXT_BYTES];
    switch (status) {
    case STATUS_FAILED_PRECONDITION:
    case STATUS_ABORTED:
        if (is_about_service(session, subject, problem))
            print_describe(session, subject);
        break;
    case STATUS_UNAVAILABLE:
        if (!session->is_unreachable && is_about_service(session, subject, problem))
            print_describe(session, subject);
        if (!session->is_unreachable)
            break;
        fprintf(stderr, "  is Solo running? start it with scripts/up, or name its run directory "
                        "with --run\n");
        break;
    case STATUS_UNAUTHENTICATED:
        fprintf(stderr, session->token[0] == '\0'
                            ? "  name a file that holds a token with --token-file\n"
                            : "  ask who granted the token for a new one, or leave --token-file "
                              "(SOLO_TOKEN_FILE) out\n");
        break;
    case STATUS_NOT_FOUND:
        if (strncmp(session->command->words, "secret ", strlen("secret ")) == 0)
            fprintf(stderr, "  `soloctl secret list` lists what there is\n");
        else if (strstr(session->command->operands, "TENANT/NAME") != NULL ||
                 session->command->run == command_get_services)
            fprintf(stderr, "  `soloctl get services` lists what there is\n");
        break;
    case STATUS_UNKNOWN:
    case STATUS_DEADLINE_EXCEEDED:
    case STATUS_INTERNAL:
        if (session->is_changing)
            fprintf(stderr,
                    "  it may have happened or still happen; the same command with --request-id %s "
                    "gives the one outcome\n",
                    uuid_text(id, &session->request_id));
        else if (is_about_service(session, subject, problem))
            print_describe(session, subject);
        else if (session->command->run == command_apply)
            fprintf(stderr, "  it may have happened or still happen; apply it again: what runs "
                            "unchanged is left alone\n");
        break;
    case STATUS_RESOURCE_EXHAUSTED:
        if (problem->retry_after_ms > 0)
            fprintf(stderr, "  try again in %llu ms\n",
                    (unsigned long long)problem->retry_after_ms);
        break;
    case STATUS_DATA_LOSS:
        fprintf(stderr,
                is_about_vault(session)
                    ? "  `soloctl vault status` says whether it is the whole vault, `soloctl "
                      "vault verify` which secrets\n"
                    : "  `soloctl status` names the damaged store; `recoveryd log` reads "
                      "what can be read\n");
        break;
    default:
        break;
    }
}

/* The reason, and what a program of the caller's printed last, line by line. */
static void print_message(const char *text, enum status status)
{
    size_t size = strcspn(text, "\n");
    text_print_span(stderr, span_of(text, size), false);
    fprintf(stderr, " (%s)\n", status_name(status));
    for (text += size; *text == '\n'; text += size) {
        size = strcspn(++text, "\n");
        fprintf(stderr, size > 0 ? "  | " : "");
        text_print_span(stderr, span_of(text, size), true);
        fprintf(stderr, size > 0 ? "\n" : "");
    }
}

int session_fail(const struct session *session, const char *subject, enum status status,
                 const struct problem *problem)
{
    char text[sizeof problem->message + sizeof problem->field + 8];
    const char *message = problem->message[0] == '\0' ? status_text(status) : problem->message;
    snprintf(text, sizeof text, "%s%s%s", problem->field, problem->field[0] == '\0' ? "" : ": ",
             message);
    fflush(stdout);
    fprintf(stderr, "soloctl: ");
    if (session->command != NULL)
        fprintf(stderr, "%s%s", session->command->words, subject[0] == '\0' ? ": " : " ");
    if (subject[0] != '\0') {
        text_print(stderr, subject);
        fprintf(stderr, ": ");
    }
    print_message(text, status);
    if (status == STATUS_USAGE)
        usage_print(stderr, session->command);
    else
        print_advice(session, subject, status, problem);
    return status_exit_code(status);
}
