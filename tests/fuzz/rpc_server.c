/* A whole server on any bytes from a client: whatever comes, it answers in messages that the
 * scanner accepts, commits what it began, and frees everything. The first byte chooses how the
 * bytes are cut into sends. */
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/rpc/server.h"
#include "tests/fuzz/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int open_transactions;
static struct rpc_call *deferred[4];
static size_t deferred_count;

static enum status begin(void *context)
{
    (void)context;
    ensure(open_transactions++ == 0);
    return STATUS_OK;
}

static enum status commit(void *context)
{
    (void)context;
    ensure(--open_transactions == 0);
    return STATUS_OK;
}

static void abort_transaction(void *context)
{
    (void)context;
    ensure(--open_transactions == 0);
}

static enum status authorise(void *access, struct rpc_call *call, struct span token)
{
    (void)access;
    return token.size > 0 ? problem_set(&call->problem, STATUS_UNAUTHENTICATED, "token", "no")
                          : STATUS_OK;
}

static enum status handle(void *context, struct rpc_call *call, const void *request, void *reply)
{
    (void)context;
    (void)request;
    (void)reply;
    if (call->method->flags & METHOD_STREAMS && deferred_count < COUNT_OF(deferred)) {
        static const uint8_t empty_map = 0x80;
        rpc_call_defer(call);
        ensure(rpc_call_notify(call, "event.batch", span_of(&empty_map, 1)) == STATUS_OK);
        deferred[deferred_count++] = call;
    }
    return STATUS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rpc_route routes[] = {
        { &method_event_append, handle },       { &method_event_query, handle },
        { &method_event_watch, handle },        { &method_service_deploy, handle },
        { &method_event_append_batch, handle }, { NULL, NULL },
    };
    static const struct rpc_service service = {
        .routes = routes,
        .authorise = authorise,
        .begin = begin,
        .commit = commit,
        .abort = abort_transaction,
    };
    static struct ev_loop *loop;
    if (loop == NULL) {
        loop = ev_loop_new(EVFLAG_AUTO);
        log_setup("fuzz", LOG_LEVEL_ERROR);
    }
    if (size < 2)
        return 0;
    struct rpc_server *server = NULL;
    int pair[2];
    ensure(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    ensure(rpc_server_open(&server, loop, &service, -1) == STATUS_OK);
    ensure(rpc_server_adopt(server, pair[0]) == STATUS_OK);
    deferred_count = 0;
    size_t step = (size_t)data[0] + 1, done = 1;
    while (done < size) {
        size_t part = size - done < step ? size - done : step;
        ssize_t sent = send(pair[1], data + done, part, MSG_NOSIGNAL);
        if (sent < 0)
            break;
        done += (size_t)sent;
        ev_run(loop, EVRUN_NOWAIT);
    }
    ev_run(loop, EVRUN_NOWAIT);
    ev_run(loop, EVRUN_NOWAIT);
    ensure(open_transactions == 0);
    if (deferred_count > 0)
        rpc_call_fail(deferred[--deferred_count], STATUS_CANCELLED, NULL);
    ev_run(loop, EVRUN_NOWAIT);
    messages_expect(pair[1]);
    close(pair[1]);
    ev_run(loop, EVRUN_NOWAIT);
    ev_run(loop, EVRUN_NOWAIT);
    ensure(rpc_server_connections(server) == 0);
    rpc_server_close(&server);
    while (deferred_count > 0)
        rpc_call_drop(deferred[--deferred_count]);
    return 0;
}
