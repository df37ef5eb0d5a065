/* A loop of its own for each peer: what waits here waits for nothing else. */
#include "recoveryd/peer.h"

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/run_folder.h"
#include "common/base/unix_socket.h"
#include "recoveryd/identity.h"

enum status peer_open(struct peer *peer, const struct rpc_client_options *options)
{
    peer->loop = ev_loop_new(EVFLAG_AUTO);
    if (peer->loop == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    return rpc_client_open(&peer->client, peer->loop, options);
}

/* A client waits before it says that nobody listens; we need not. */
static bool is_listening(const char *path)
{
    AUTO(fd_close) int fd = -1;
    enum status status = unix_socket_connect(path, &fd);
    return status == STATUS_OK || status == STATUS_RESOURCE_EXHAUSTED; /* with a full backlog */
}

enum status peer_open_daemon(struct peer *peer, const char *run_dir, const char *daemon)
{
    char path[4096];
    TRY(run_socket_path(path, run_dir, daemon));
    if (!is_listening(path))
        return STATUS_UNAVAILABLE;
    struct rpc_client_options options = { .path = path };
    identity_set(&options);
    return peer_open(peer, &options);
}

enum status peer_ask(struct peer *peer, uint64_t timeout_ms, const struct method *method,
                     const void *request, struct arena *arena, void *reply, struct problem *problem)
{
    return rpc_client_call_wait(peer->client, method, request,
                                &(struct rpc_call_options){ .timeout_ms = timeout_ms }, arena,
                                reply, problem);
}

void peer_close(struct peer *peer)
{
    if (peer->client != NULL)
        rpc_client_close(&peer->client);
    if (peer->loop != NULL)
        ev_loop_destroy(peer->loop);
    *peer = (struct peer){ 0 };
}
