#ifndef SOLO_SOLOCTL_SESSION_H
#define SOLO_SOLOCTL_SESSION_H

#include "common/base/arena.h"
#include "common/base/name.h"
#include "common/rpc/client.h"
#include "soloctl/arguments.h"

#define RUN_DIR_HERE      "./run"
#define RUN_DIR_INSTALLED "/run/solo"

/* What one run of soloctl has in hand: where this Solo is, as whom and how to speak, and a
 * connection to each daemon that was asked so far. */
enum format { FORMAT_TABLE, FORMAT_WIDE, FORMAT_JSON, FORMAT_JSONL, FORMAT_NAME };
enum peer { PEER_DEPLOYD, PEER_EVENTD, PEER_SOLOD, PEER_TOKEND, PEER_VAULTD, PEERS };

enum {
    READ_TIMEOUT_MS = 30 * 1000,        /* of a question, a daemon's restart included */
    CHANGE_TIMEOUT_MS = 10 * 60 * 1000, /* of a change that has to wait for a process to end */
    ABSENCE_MS_MAX = 10 * 1000,         /* without anybody at a socket: Solo has ended */
    TOKEN_BYTES_MAX = 256,
    REPLY_BYTES_MAX = 16 * 1024 * 1024,
};

struct session {
    const struct command *command;
    char run_dir[PATH_TEXT_BYTES_MAX];
    bool is_run_dir_guessed; /* neither a flag nor the environment has named it */
    const char *tenant;      /* "" unless -t narrows */
    enum format format;
    char token[TOKEN_BYTES_MAX + 1]; /* "" for none */
    struct uuid request_id;          /* as given, or drawn */
    bool is_repeated;                /* request_id was given */
    bool is_changing;                /* the last call changes something, by this request_id */
    bool is_unreachable;             /* nobody answered at a socket: is Solo running at all? */
    struct ev_loop *loops[PEERS];
    struct rpc_client *clients[PEERS];
    struct arena arena; /* of the last reply */
};

/* Reads the global flags, the environment and the token file. */
enum status session_open(struct session *session, const struct arguments *arguments,
                         struct problem *problem);
void session_close(struct session *session);

/* Guesses anew where Solo is, if nobody has named it: in ./run when that is there, else in
 * RUN_DIR_INSTALLED. Before the first connection only. */
void session_guess_run_dir(struct session *session);

/* Reads the token that the session acts with, from a file or, with "-", standard input. A file that
 * others can read is refused before it is read. */
enum status session_read_token(struct session *session, const char *path, struct problem *problem);

const char *peer_name(enum peer peer);

/* The client of a daemon, opened at the first use. unavailable when its socket is not there or
 * nobody listens: clients wait for a daemon that restarts, but not for a Solo that does not run. */
enum status session_client(struct session *session, enum peer peer, struct rpc_client **client,
                           struct problem *problem);

/* The same without asking first whether somebody listens: calls then wait until somebody does. */
enum status session_client_unprobed(struct session *session, enum peer peer,
                                    struct rpc_client **client, struct problem *problem);

/* A client of the caller's own, on a loop of its own, with the same question before. */
enum status session_connect(struct session *session, enum peer peer, struct ev_loop *loop,
                            struct rpc_client **client, struct problem *problem);

/* Asks and waits. Is repeated after a lost connection, mutations with the session's request_id. The
 * reply's texts live until the next call. */
enum status session_call(struct session *session, enum peer peer, const struct method *method,
                         const void *request, uint64_t timeout_ms, void *reply,
                         struct problem *problem);

/* The same for a stream: sent once, `on_notify` gets what comes before the reply. */
enum status session_stream(struct session *session, enum peer peer, const struct method *method,
                           const void *request, rpc_on_notify on_notify, void *context, void *reply,
                           struct problem *problem);

/* Says on standard error what failed, on what, why and what to do next; returns the exit code.
 * `subject` may be "". */
int session_fail(const struct session *session, const char *subject, enum status status,
                 const struct problem *problem);

/* For a command whose answer is a text, a script or a page: usage, on standard error, when a
 * document was asked for; otherwise 0. */
int session_expect_text(const struct session *session);

/* Whether answers are for programs: then standard error stays quiet but for errors. */
bool session_is_for_programs(const struct session *session);

#endif
