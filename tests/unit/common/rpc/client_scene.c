#include "tests/unit/common/rpc/client_scene.h"

#include "common/wire/reader.h"
#include "tests/support/criterion.h"

void outcome_reply(void *context, enum status status, const struct problem *problem,
                   const void *reply)
{
    struct outcome *outcome = context;
    outcome->count++;
    outcome->status = status;
    cr_expect_eq(reply == NULL, status != STATUS_OK);
    cr_expect_eq(problem == NULL, status == STATUS_OK);
    if (problem != NULL)
        outcome->problem = *problem;
    if (reply != NULL)
        outcome->number = ((const struct echo_reply *)reply)->number;
    if (outcome->call_in_reply != NULL && outcome->count < 3) {
        const struct echo_request request = { .text = "again" };
        const struct rpc_call_options options = { .on_reply = outcome_reply, .context = outcome };
        cr_expect_eq(
            rpc_client_call(*outcome->call_in_reply, &method_read, &request, &options, NULL),
            STATUS_OK);
    }
    if (outcome->close_in_reply != NULL)
        rpc_client_close(outcome->close_in_reply);
}

void outcome_notify(void *context, const char *method, struct span params)
{
    struct outcome *outcome = context;
    cr_expect_str_eq(method, "test.item");
    cr_expect_eq(outcome->count, 0, "before the reply");
    outcome->notified++;
    outcome->last_notified = map_u64(params, "n", 0);
}

struct rpc_client *client_open_at(struct ev_loop *loop, const char *path)
{
    struct rpc_client *client = NULL;
    const struct rpc_client_options options = { .path = path };
    cr_assert_eq(rpc_client_open(&client, loop, &options), STATUS_OK);
    return client;
}

uint64_t client_ask(struct rpc_client *client, const struct method *method, unsigned flags,
                    uint64_t timeout_ms, struct outcome *outcome)
{
    uint64_t handle = 0;
    const struct echo_request request = { .text = "x", .number = 1 };
    const struct rpc_call_options options = {
        .flags = flags,
        .timeout_ms = timeout_ms,
        .on_reply = outcome_reply,
        .on_notify = outcome_notify,
        .context = outcome,
    };
    cr_assert_eq(rpc_client_call(client, method, &request, &options, &handle), STATUS_OK);
    cr_expect_eq(outcome->count, 0, "never from within rpc_client_call");
    return handle;
}
