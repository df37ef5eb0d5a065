#include "tests/unit/eventd/log_fixture.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

struct event_store store;
static char data_dir[4096];
static struct buffer packed = { .limit = EVENT_PAYLOAD_BYTES_MAX };

const char *fixture_data_dir(void)
{
    return data_dir;
}

void fixture_open(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    snprintf(data_dir, sizeof data_dir, "%s", scratch_path("data"));
    cr_assert_eq(event_store_open(&store, data_dir), STATUS_OK);
}

void fixture_close(void)
{
    event_store_close(&store);
    buffer_close(&packed);
    scratch_remove();
}

void fixture_reopen(void)
{
    event_store_close(&store);
    cr_assert_eq(event_store_open(&store, data_dir), STATUS_OK);
}

static struct rpc_call call_of(enum caller_kind kind)
{
    struct rpc_call call = { .caller.kind = kind };
    call.request_id = uuid_draw();
    return call;
}

struct rpc_call call_of_daemon(const char *daemon)
{
    struct rpc_call call = call_of(CALLER_DAEMON);
    snprintf(call.caller.daemon, sizeof call.caller.daemon, "%s", daemon);
    return call;
}

struct rpc_call call_of_operator(void)
{
    return call_of(CALLER_OPERATOR);
}

struct rpc_call call_of_token(const char *tenant)
{
    struct rpc_call call = call_of(CALLER_TOKEN);
    snprintf(call.caller.tenant, sizeof call.caller.tenant, "%s", tenant);
    return call;
}

void call_identify(struct rpc_call *call, const struct uuid *id, const char *body)
{
    call->has_request_id = true;
    call->request_id = *id;
    call->body_hash = hash_of(span_of_text(body));
}

struct event_append_request request_of(const char *type, const char *tenant, const char *subject,
                                       struct span payload)
{
    return (struct event_append_request){
        .type = type,
        .tenant = tenant,
        .subject = subject,
        .payload = payload,
        .source = "",
        .intent = "",
    };
}

enum status append_many(struct rpc_call *call, const struct event_append_request *requests,
                        size_t count, struct append_outcome *outcome)
{
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    enum status status = appending_run(&store, call, requests, count, outcome);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    return status;
}

enum status append_one(struct rpc_call *call, const struct event_append_request *request,
                       struct append_outcome *outcome)
{
    return append_many(call, request, 1, outcome);
}

uint64_t must_append(struct rpc_call *call, const struct event_append_request *request)
{
    struct append_outcome outcome;
    enum status status = append_one(call, request, &outcome);
    cr_assert_eq(status, STATUS_OK, "%s: %s %s", status_name(status), call->problem.field,
                 call->problem.message);
    cr_assert_not(outcome.is_repeat);
    return outcome.first_id;
}

struct span payload_deploy(const char *spec_text)
{
    struct hash hash = hash_of(span_of_text(spec_text));
    buffer_clear(&packed);
    write_map(&packed, 2);
    write_str(&packed, "spec");
    write_map(&packed, 1);
    write_str(&packed, "text");
    write_str(&packed, spec_text);
    write_str(&packed, "spec_hash");
    write_bin(&packed, span_of(hash.bytes, HASH_BYTES));
    return buffer_span(&packed);
}

static struct span payload_number(const char *key, uint64_t value)
{
    buffer_clear(&packed);
    write_map(&packed, 1);
    write_str(&packed, key);
    write_u64(&packed, value);
    return buffer_span(&packed);
}

struct span payload_generation(uint64_t generation)
{
    return payload_number("generation", generation);
}

struct span payload_index(uint64_t index)
{
    return payload_number("index", index);
}

struct span payload_text(const char *text)
{
    buffer_clear(&packed);
    write_map(&packed, 1);
    write_str(&packed, "text");
    write_str(&packed, text);
    return buffer_span(&packed);
}
