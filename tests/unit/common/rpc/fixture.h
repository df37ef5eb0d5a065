#ifndef SOLO_TESTS_UNIT_COMMON_RPC_FIXTURE_H
#define SOLO_TESTS_UNIT_COMMON_RPC_FIXTURE_H

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/rpc/client.h"
#include "common/rpc/message.h"
#include "common/rpc/server.h"

/* A server with a few methods, and peers that speak to it byte by byte, all on one loop. */
struct echo_request {
    const char *text;
    uint64_t number;
    struct span map;
};
struct echo_reply {
    const char *text;
    uint64_t number;
    struct span bytes;
};

extern const struct method method_read, method_write, method_defer, method_stream, method_big,
    method_urgent, method_large, method_pass, method_hello;

enum { DEFERRED_MAX = 64, PEER_BYTES_MAX = 8 << 20 };

struct fixture {
    struct ev_loop *loop;
    struct rpc_service service;
    struct rpc_server *server;
    char folder[64], path[96];

    /* what the service saw and was told to do */
    unsigned handled, begins, commits, aborts, committed;
    enum status begin_status, commit_status, authorise_status, may_serve_status;
    void (*on_commit)(struct fixture *fixture);
    bool is_full; /* "grow" is refused */
    struct rpc_call *deferred[DEFERRED_MAX];
    size_t deferred_count;
    unsigned gone, drained;
    const char *tenant; /* whose token every caller is said to have; NULL: all are operators */
    struct uuid last_id;
    bool last_has_id;
    struct hash last_hash;
    char last_token[64], last_text[64], last_daemon[32];
};

struct fixture *fixture_new(const struct rpc_limits *limits);
void fixture_free(struct fixture **fixture);
#define FIXTURE(limits) AUTO(fixture_free) struct fixture *fixture = fixture_new(limits)

/* Runs the loop for as long as nothing is left to do, or until `condition`; fails after 5 s. */
void settle(struct fixture *fixture);
#define RUN_UNTIL(fixture, condition)                                                              \
    do {                                                                                           \
        uint64_t end_ns_ = clock_boottime_ns() + 60000000000u;                                     \
        while (!(condition)) {                                                                     \
            run_for((fixture)->loop, 5);                                                           \
            cr_assert_lt(clock_boottime_ns(), end_ns_, "waited for " #condition);                  \
        }                                                                                          \
    } while (0)
void run_for(struct ev_loop *loop, unsigned milliseconds);

/* The other end of a connection, read and written by hand. */
struct peer {
    int fd;
    struct buffer received;
    size_t taken;
    bool is_ended;
};
struct peer peer_open(struct fixture *fixture);
void peer_close(struct peer *peer);
#define PEER(fixture) AUTO(peer_close) struct peer peer = peer_open(fixture)
void peer_send(struct peer *peer, struct span bytes);
void peer_call(struct peer *peer, uint64_t msgid, const char *method, const char *text,
               uint64_t number);
/* Reads what is there. */
void peer_read(struct peer *peer);
/* The next whole message; false when there is none (yet). */
bool peer_next(struct peer *peer, struct message *message);
/* Runs the loop until a message comes. */
void peer_wait(struct fixture *fixture, struct peer *peer, struct message *message);
void peer_wait_error(struct fixture *fixture, struct peer *peer, uint64_t msgid,
                     struct problem *problem);
/* The next message is this answer, or this refusal. */
void expect_number(struct fixture *fixture, struct peer *peer, uint64_t msgid, uint64_t number);
void expect_error(struct fixture *fixture, struct peer *peer, uint64_t msgid, enum status code,
                  const char *field);
/* Runs the loop until the server has closed the connection. */
void peer_wait_end(struct fixture *fixture, struct peer *peer);

#endif
