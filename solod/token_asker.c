/* One connection per question: a connection of rpc_client speaks for one token. */
#include "solod/token_asker.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/access/token_text.h"
#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/run_folder.h"
#include "common/rpc/client.h"

/* One that can answer does so within milliseconds. */
enum { ANSWER_MS_MAX = 1000 };
static const char *const askable[] = { "deployd", "tokend", "eventd", "vaultd" };

struct token_ask {
    struct token_ask *prev, *next; /* utlist's names */
    struct token_asker *asker;
    struct rpc_call *call;
    struct rpc_client *client; /* to askable[at] */
    size_t at;
    char token[TOKEN_TEXT_BYTES];
};

static void forget(struct token_ask *ask)
{
    DL_DELETE(ask->asker->asks, ask);
    ask->asker->count--;
    rpc_client_close(&ask->client);
    sodium_memzero(ask->token, sizeof ask->token);
    free(ask);
}

static void take_answer(struct rpc_call *call, const struct token_check_reply *reply)
{
    struct caller *caller = &call->caller;
    snprintf(caller->accessor, sizeof caller->accessor, "%s", reply->accessor);
    snprintf(caller->tenant, sizeof caller->tenant, "%s", reply->tenant);
    for (size_t i = 0; i < reply->permissions.count; i++) {
        enum permission permission = permission_parse(reply->permissions.items[i]);
        if (permission != PERMISSION_COUNT) /* a newer daemon's */
            caller->permissions |= permission_bit(permission);
    }
}

static enum status ask_next(struct token_ask *ask, enum status failed);

static bool is_decided(enum status status)
{
    return status == STATUS_OK || status == STATUS_UNAUTHENTICATED;
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
    if (!is_decided(status)) {
        rpc_client_close(&ask->client);
        ask->at++;
        status = ask_next(ask, status);
        if (status == STATUS_OK)
            return;
    }
    forget(ask);
    rpc_call_authorised(call, access_decide(access, call, true, status));
}

static void on_gone(struct rpc_call *call)
{
    forget(call->user);
    rpc_call_drop(call);
}

static enum status ask_one(struct token_ask *ask)
{
    char path[4096];
    const struct token_check_request request = { .permission = "" };
    const struct rpc_call_options options = { .timeout_ms = ANSWER_MS_MAX,
                                              .on_reply = on_answer,
                                              .context = ask };
    TRY(run_socket_path(path, ask->asker->run_dir, askable[ask->at]));
    TRY(rpc_client_open(
        &ask->client, ask->asker->loop,
        &(struct rpc_client_options){ .path = path, .token = span_of_text(ask->token) }));
    return rpc_client_call(ask->client, &method_token_check, &request, &options, NULL);
}

/* OK when somebody was asked; otherwise why the last one could not, or did not, tell. */
static enum status ask_next(struct token_ask *ask, enum status failed)
{
    for (; ask->at < COUNT_OF(askable); ask->at++) {
        failed = ask_one(ask);
        if (failed == STATUS_OK)
            return STATUS_OK;
        rpc_client_close(&ask->client);
    }
    return failed;
}

enum status token_asker_authorise(void *context, struct rpc_call *call, struct span token)
{
    struct token_asker *asker = context;
    if (token.data == NULL)
        return access_decide(&asker->access, call, false, STATUS_UNAUTHENTICATED);
    if (!token_text_is_valid(token)) {
        token_uses_note_denial(&asker->report.uses, "", call->method->name);
        return access_decide(&asker->access, call, true, STATUS_UNAUTHENTICATED);
    }
    struct token_ask *ask = asker->count < TOKEN_ASKS_MAX ? calloc(1, sizeof *ask) : NULL;
    if (ask == NULL)
        return access_decide(&asker->access, call, true, STATUS_RESOURCE_EXHAUSTED);
    *ask = (struct token_ask){ .asker = asker, .call = call };
    memcpy(ask->token, token.data, token.size); /* of TOKEN_TEXT_SIZE, or it were not valid */
    DL_APPEND(asker->asks, ask);
    asker->count++;
    enum status status = ask_next(ask, STATUS_UNAVAILABLE);
    if (status != STATUS_OK) {
        forget(ask);
        return access_decide(&asker->access, call, true, status);
    }
    call->user = ask;
    call->on_gone = on_gone;
    rpc_call_authorise_later(call);
    return STATUS_OK;
}

/* What names no accessor was counted by the daemon that was asked, or before it was. */
void token_asker_refused(void *context, const struct rpc_call *call, enum status status)
{
    struct token_asker *asker = context;
    if (call->caller.accessor[0] != '\0')
        access_refused(&asker->access, call, status);
}

enum status token_asker_open(struct token_asker *asker, struct ev_loop *loop, const char *run_dir,
                             struct span key)
{
    asker->loop = loop;
    asker->run_dir = run_dir;
    asker->access.uses = &asker->report.uses;
    return token_report_open(&asker->report, loop, run_dir, "solod", key);
}

void token_asker_close(struct token_asker *asker)
{
    while (asker->asks != NULL)
        forget(asker->asks);
    token_report_close(&asker->report);
}
