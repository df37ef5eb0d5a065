/* tokend's store: tokens that are granted, attenuated, renewed and revoked, and their events, which
 * wait for an eventd that is away. */
#include <ev.h>
#include <stdio.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "tests/faults/store_life.h"
#include "tokend/changes.h"
#include "tokend/token_store.h"

enum { KEPT = 64, CHANGES_MAX = 6 };

const struct db_schema *const life_schema = &tokens_schema;

static struct token_store store;
static struct ev_loop *loop;
static struct arena arena = { .limit = 1 << 20 };
static char kept[KEPT][ACCESSOR_TEXT_BYTES]; /* granted once; may have been revoked */
static size_t kept_count;

enum status life_open(const char *data_dir, const char *run_dir)
{
    char dir[4096], eventd[4096];
    TRY(path_join(dir, data_dir, "tokens"));
    TRY(path_join(eventd, run_dir, "eventd.sock"));
    if (loop == NULL)
        loop = ev_loop_new(EVFLAG_NOENV);
    TRY(token_store_open(&store, dir, run_dir));
    return token_store_open_outbox(&store, loop, eventd, (struct span){ 0 }, NULL, NULL);
}

void life_close(void)
{
    token_store_close(&store);
}

enum status life_close_cleanly(void)
{
    enum status status = token_store_close_cleanly(&store);
    token_store_close(&store);
    return status;
}

static struct rpc_call call_of(const struct method *method)
{
    arena_reset(&arena);
    return (struct rpc_call){ .caller.kind = CALLER_OPERATOR,
                              .method = method,
                              .arena = &arena,
                              .has_request_id = true,
                              .request_id = uuid_draw() };
}

static struct hash hash_drawn(void)
{
    char text[TOKEN_TEXT_BYTES];
    token_text_draw(text);
    return token_text_hash(span_of_text(text));
}

static const char *one_of(struct random *random)
{
    return kept[random_below(random, kept_count)];
}

static enum status grant(struct random *random)
{
    static const char *const permissions[] = { "deploy", "read" };
    struct rpc_call call = call_of(&method_token_grant);
    struct token_grant_reply reply = { 0 };
    const struct token_grant_request request = {
        .token_hash = hash_drawn(),
        .tenant = random_below(random, 2) == 0 ? "acme" : "beta",
        .permissions = { permissions, 1 + random_below(random, 2) },
        .ttl_ms = random_below(random, 2) * 3600000,
    };
    TRY(change_grant(&store, &call, &request, &reply));
    snprintf(kept[kept_count < KEPT ? kept_count++ : random_below(random, KEPT)],
             ACCESSOR_TEXT_BYTES, "%s", reply.accessor);
    return STATUS_OK;
}

static enum status change(struct random *random)
{
    uint64_t choice = kept_count == 0 ? 0 : random_below(random, 4);
    if (choice < 2)
        return grant(random);
    if (choice == 2) {
        struct rpc_call call = call_of(&method_token_renew);
        struct token_renew_reply reply;
        const struct token_renew_request request = { .accessor = one_of(random),
                                                     .ttl_ms = 7200000 };
        return change_renew(&store, &call, &request, &reply);
    }
    struct rpc_call call = call_of(&method_token_revoke);
    struct token_revoke_reply reply;
    const struct token_revoke_request request = { .accessor = one_of(random) };
    return change_revoke(&store, &call, &request, &reply);
}

enum status life_turn(struct random *random)
{
    TRY(token_store_begin(&store));
    /* A refusal has changed nothing; what the store refuses spoils the turn. */
    for (uint64_t i = 1 + random_below(random, CHANGES_MAX); i > 0; i--)
        (void)change(random);
    return token_store_commit(&store);
}
