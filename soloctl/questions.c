/* All on one loop of their own, with one connection to each daemon that is asked. */
#include "soloctl/questions.h"

struct asking {
    struct session *session;
    struct ev_loop *loop;
    struct rpc_client *clients[PEERS];
    enum status reached[PEERS]; /* of those that could not be */
    struct problem problems[PEERS];
    uint64_t timeout_ms;
};

static void on_reply(void *context, enum status status, const struct problem *problem,
                     const void *reply)
{
    struct question *question = context;
    question->status = status;
    if (status == STATUS_OK)
        question->take(question->context, reply);
    else if (problem != NULL)
        question->problem = *problem;
}

static enum status client_find(struct asking *asking, enum peer peer, struct problem *problem)
{
    if (asking->clients[peer] == NULL && asking->reached[peer] == STATUS_OK)
        asking->reached[peer] = session_connect(asking->session, peer, asking->loop,
                                                &asking->clients[peer], &asking->problems[peer]);
    *problem = asking->problems[peer];
    return asking->reached[peer];
}

static void ask(struct asking *asking, struct question *question)
{
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = asking->timeout_ms,
        .on_reply = on_reply,
        .context = question,
    };
    question->status = client_find(asking, question->peer, &question->problem);
    if (question->status == STATUS_OK)
        question->status = rpc_client_call(asking->clients[question->peer], question->method,
                                           question->request, &options, NULL);
}

static size_t count_pending(const struct asking *asking)
{
    size_t count = 0;
    for (size_t peer = 0; peer < PEERS; peer++)
        if (asking->clients[peer] != NULL)
            count += rpc_client_pending(asking->clients[peer]);
    return count;
}

void questions_ask(struct session *session, struct question *questions, size_t count,
                   uint64_t timeout_ms)
{
    struct asking asking = {
        .session = session,
        .loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV),
        .timeout_ms = timeout_ms,
    };
    session->is_changing = false;
    for (size_t i = 0; i < count; i++)
        questions[i].status = STATUS_RESOURCE_EXHAUSTED;
    if (asking.loop == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        ask(&asking, &questions[i]);
    while (count_pending(&asking) > 0) /* each ends: with its answer, or by its deadline */
        ev_run(asking.loop, EVRUN_ONCE);
    for (size_t peer = 0; peer < PEERS; peer++)
        rpc_client_close(&asking.clients[peer]);
    ev_loop_destroy(asking.loop);
}
