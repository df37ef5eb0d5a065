/* One connection per question: a connection of rpc_client speaks for one token. */
#include "solod/token_asker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/access/token_text.h"
#include "common/api/api.h"
#include "common/base/run_folder.h"
#include "common/rpc/client.h"

enum { ANSWER_MS_MAX = 5000 };

struct token_ask {
    struct token_ask *prev, *next; /* utlist's names */
    struct token_asker *asker;
    struct rpc_call *call;
    struct rpc_client *client;
};

static void forget(struct token_ask *ask)
{
    DL_DELETE(ask->asker->asks, ask);
    ask->asker->count--;
    rpc_client_close(&ask->client);
    free(ask);
}

static void take_answer(struct rpc_call *call, const struct token_check_reply *reply)
{
    struct caller *caller = &call->caller;
    snprintf(caller->accessor, sizeof caller->accessor, "%s", reply->accessor);
    snprintf(caller->tenant, sizeof caller->tenant, "%s", reply->tenant);
    for (size_t i = 0; i < reply->permissions.count; i++) {
        enum permission permission = permission_parse(reply->permissions.items[i]);
        if (permission != PERMISSION_COUNT) /* a newer deployd's */
            caller->permissions |= permission_bit(permission);
    }
}

static void on_answer(void *context, enum status status, const struct problem *problem,
                      const void *reply)
{
    struct token_ask *ask = context;
    struct rpc_call *call = ask->call;
    struct access *access = &ask->asker->access;
    (void)problem;
    if (status == STATUS_OK)
        take_answer(call, reply);
    forget(ask);
    rpc_call_authorised(call, access_decide(access, call, true, status));
}

static void on_gone(struct rpc_call *call)
{
    forget(call->user);
    rpc_call_drop(call);
}

static enum status ask_deployd(struct token_ask *ask, struct span token)
{
    char path[4096];
    const struct token_check_request request = { .permission = "" };
    const struct rpc_call_options options = { .timeout_ms = ANSWER_MS_MAX,
                                              .on_reply = on_answer,
                                              .context = ask };
    TRY(run_socket_path(path, ask->asker->run_dir, "deployd"));
    TRY(rpc_client_open(&ask->client, ask->asker->loop,
                        &(struct rpc_client_options){ .path = path, .token = token }));
    return rpc_client_call(ask->client, &method_token_check, &request, &options, NULL);
}

enum status token_asker_authorise(void *context, struct rpc_call *call, struct span token)
{
    struct token_asker *asker = context;
    if (token.data == NULL || !token_text_is_valid(token))
        return access_decide(&asker->access, call, token.data != NULL, STATUS_UNAUTHENTICATED);
    struct token_ask *ask = asker->count < TOKEN_ASKS_MAX ? calloc(1, sizeof *ask) : NULL;
    if (ask == NULL)
        return access_decide(&asker->access, call, true, STATUS_RESOURCE_EXHAUSTED);
    *ask = (struct token_ask){ .asker = asker, .call = call };
    DL_APPEND(asker->asks, ask);
    asker->count++;
    enum status status = ask_deployd(ask, token);
    if (status != STATUS_OK) {
        forget(ask);
        return access_decide(&asker->access, call, true, status);
    }
    call->user = ask;
    call->on_gone = on_gone;
    rpc_call_authorise_later(call);
    return STATUS_OK;
}

void token_asker_close(struct token_asker *asker)
{
    while (asker->asks != NULL)
        forget(asker->asks);
}
