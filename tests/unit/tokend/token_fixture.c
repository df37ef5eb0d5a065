#include "tests/unit/tokend/token_fixture.h"

#include <stdio.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

struct token_store store;
struct ev_loop *fixture_loop;
static struct arena arena = { .limit = 1 << 20 };

static void open_store(void)
{
    cr_assert_eq(token_store_open(&store, scratch_path("tokens"), scratch_path(".")), STATUS_OK);
    cr_assert_eq(token_store_open_outbox(&store, fixture_loop, scratch_path("eventd.sock"),
                                         (struct span){ 0 }, NULL, NULL),
                 STATUS_OK);
}

void fixture_open(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    fixture_loop = ev_loop_new(EVFLAG_NOENV);
    open_store();
}

void fixture_close(void)
{
    token_store_close(&store);
    ev_loop_destroy(fixture_loop);
    arena_close(&arena);
    scratch_remove();
}

void fixture_reopen(void)
{
    token_store_close(&store);
    open_store();
}

/* As if the anchor had been taken so much earlier. */
void fixture_pass(uint64_t seconds)
{
    store.anchor.wall_ns += seconds * 1000000000u;
}

struct rpc_call call_of_operator(void)
{
    return (struct rpc_call){ .caller.kind = CALLER_OPERATOR,
                              .method = &method_token_grant,
                              .arena = &arena };
}

static enum status find(const char *accessor, struct token_record *record)
{
    struct uuid id;
    struct hash hash;
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(accessor_parse(accessor, &id), STATUS_OK);
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    return token_find_accessor(&txn, &id, &hash, record);
}

bool is_there(const char *accessor)
{
    struct token_record record;
    return find(accessor, &record) == STATUS_OK;
}

struct rpc_call call_of_token(const char *accessor)
{
    struct token_record record;
    struct rpc_call call = call_of_operator();
    cr_assert_eq(find(accessor, &record), STATUS_OK);
    call.caller.kind = CALLER_TOKEN;
    call.caller.permissions = record.permissions;
    memcpy(call.caller.tenant, record.tenant, sizeof call.caller.tenant);
    snprintf(call.caller.accessor, sizeof call.caller.accessor, "%s", accessor);
    return call;
}

struct hash hash_drawn(void)
{
    char text[TOKEN_TEXT_BYTES];
    token_text_draw(text);
    return token_text_hash(span_of_text(text));
}

static void begin(void)
{
    cr_assert_eq(token_store_begin(&store), STATUS_OK);
}

static enum status end(enum status status)
{
    cr_assert_eq(token_store_commit(&store), STATUS_OK);
    return status;
}

enum status try_grant(struct rpc_call *call, const struct token_grant_request *request,
                      struct token_grant_reply *reply)
{
    begin();
    call->method = &method_token_grant;
    return end(change_grant(&store, call, request, reply));
}

enum status try_attenuate(struct rpc_call *call, const struct token_attenuate_request *request,
                          struct token_attenuate_reply *reply)
{
    begin();
    call->method = &method_token_attenuate;
    return end(change_attenuate(&store, call, request, reply));
}

enum status try_renew(struct rpc_call *call, const char *accessor, uint64_t ttl_ms,
                      struct token_renew_reply *reply)
{
    const struct token_renew_request request = { .accessor = accessor, .ttl_ms = ttl_ms };
    begin();
    call->method = &method_token_renew;
    return end(change_renew(&store, call, &request, reply));
}

enum status try_revoke(struct rpc_call *call, const char *accessor, uint64_t *revoked)
{
    const struct token_revoke_request request = { .accessor = accessor };
    struct token_revoke_reply reply = { 0 };
    begin();
    call->method = &method_token_revoke;
    enum status status = end(change_revoke(&store, call, &request, &reply));
    *revoked = reply.revoked;
    return status;
}

static const char *keep(const char *accessor)
{
    static char kept[8][ACCESSOR_TEXT_BYTES];
    static unsigned next;
    char *text = kept[next++ % 8];
    snprintf(text, ACCESSOR_TEXT_BYTES, "%s", accessor);
    return text;
}

const char *granted(const char *tenant, const char *permission, uint64_t ttl_ms)
{
    struct rpc_call call = call_of_operator();
    struct token_grant_reply reply;
    const struct token_grant_request request = {
        .token_hash = hash_drawn(),
        .tenant = tenant,
        .permissions = { &permission, 1 },
        .ttl_ms = ttl_ms,
    };
    enum status status = try_grant(&call, &request, &reply);
    cr_assert_eq(status, STATUS_OK, "%s %s", call.problem.field, call.problem.message);
    return keep(reply.accessor);
}

const char *attenuated(const char *parent)
{
    struct rpc_call call = call_of_token(parent);
    struct token_attenuate_reply reply;
    const struct token_attenuate_request request = { .token_hash = hash_drawn(), .parent = "" };
    enum status status = try_attenuate(&call, &request, &reply);
    cr_assert_eq(status, STATUS_OK, "%s %s", call.problem.field, call.problem.message);
    return keep(reply.accessor);
}

size_t told(const char *type)
{
    size_t count = 0;
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, row;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(table_cursor_open(&txn, TOKENS_OUTBOX, &cursor), STATUS_OK);
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &row);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &row)) {
        char text[64];
        count += strcmp(map_text(row, "type", text, sizeof text), type) == 0;
    }
    return count;
}
