/* What happens to one request. Each check either passes or fills call->problem; whatever the
 * outcome, call_settle answers. Runs to its end within the callback that read the frame. */
#include "common/rpc/request.h"

#include <stdalign.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/rpc/call.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

enum {
    TOKEN_BYTES_MAX = 256,
    SCRATCH_BYTES_KEPT = 16 * 1024,
    RETRY_AFTER_CALLS_MS = 200,
};

/* A request's params taken apart. */
struct params {
    struct span map; /* what the method's table reads */
    struct span request_id, token;
    bool has_request_id, has_token;
    struct span own[2]; /* the pairs of those two, in their order */
    size_t own_count;
};

const struct rpc_route *request_route(const struct rpc_server *server, struct span name)
{
    for (const struct rpc_route *route = server->service->routes; route->method != NULL; route++)
        if (span_equal(name, span_of_text(route->method->name)))
            return route;
    return NULL;
}

static enum status refuse(struct rpc_call *call, const char *field, const char *rule)
{
    return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, field, "%s", rule);
}

/* Notes a key that is not the table's: true when it was one. */
static enum status take_own_key(struct rpc_call *call, struct span key, struct span object,
                                struct params *params, bool *is_own)
{
    bool is_token = span_equal(key, span_of_text("token"));
    bool is_id = span_equal(key, span_of_text("request_id"));
    *is_own = is_token || is_id;
    if (!*is_own)
        return STATUS_OK;
    const char *field = is_token ? "token" : "request_id";
    if (is_token ? params->has_token : params->has_request_id)
        return refuse(call, field, "given twice");
    struct reader value = reader_of(object);
    struct span text;
    bool is_text = reader_str(&value, &text) == STATUS_OK && text.size <= TOKEN_BYTES_MAX;
    if (!is_text && !is_token)
        return refuse(call, field, "must be a UUID's text");
    if (is_token) {
        /* What cannot be a token is refused like every other that is none. */
        if (!is_text)
            text = span_of_text("?");
        params->token = text;
        params->has_token = true;
    } else {
        params->request_id = text;
        params->has_request_id = true;
    }
    return STATUS_OK;
}

/* Copies the map without our keys into the server's scratch buffer, when it has any of them. */
static enum status take_apart(struct rpc_call *call, struct span map, struct params *params)
{
    struct buffer *scratch = &call->connection->server->params;
    struct reader reader = reader_of(map);
    uint32_t pairs, kept = 0;
    params->map = map;
    params->own_count = 0;
    if (reader_map(&reader, &pairs) != STATUS_OK)
        return refuse(call, "params", "must be an array of one map");
    const uint8_t *from = reader.rest.data;
    for (uint32_t i = 0; i < pairs; i++) {
        const uint8_t *pair = reader.rest.data;
        struct span key, object;
        bool is_own;
        if (reader_str(&reader, &key) != STATUS_OK)
            return refuse(call, "params", "keys must be text");
        TRY(reader_any(&reader, &object));
        TRY(take_own_key(call, key, object, params, &is_own));
        kept += !is_own;
        if (is_own) /* at most once each */
            params->own[params->own_count++] = span_of(pair, (size_t)(reader.rest.data - pair));
    }
    if (kept == pairs)
        return STATUS_OK;

    buffer_clear(scratch);
    write_map(scratch, kept);
    for (size_t i = 0; i < params->own_count; i++) {
        const struct span *own = &params->own[i];
        buffer_append(scratch, from, (size_t)(own->data - from));
        from = own->data + own->size;
    }
    buffer_append(scratch, from, (size_t)(reader.rest.data - from));
    params->map = buffer_span(scratch);
    return scratch->is_exhausted ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

static enum status read_params(struct rpc_call *call, struct span packed, struct params *params)
{
    static const uint8_t empty_map = 0x80;
    struct reader reader = reader_of(packed);
    uint32_t count;
    if (reader_array(&reader, &count) != STATUS_OK || count > 1)
        return refuse(call, "params", "must be an array of one map");
    return take_apart(call, count == 0 ? span_of(&empty_map, 1) : reader.rest, params);
}

static enum status read_request_id(struct rpc_call *call, const struct params *params)
{
    if (!params->has_request_id) {
        if (call->method->flags & METHOD_MUTATES)
            call->request_id = uuid_draw();
        return STATUS_OK;
    }
    char text[UUID_TEXT_BYTES] = "";
    if (params->request_id.size != UUID_TEXT_BYTES - 1)
        return refuse(call, "request_id", "must be a UUID of version 7");
    memcpy(text, params->request_id.data, UUID_TEXT_BYTES - 1);
    if (uuid_parse(text, &call->request_id) != STATUS_OK)
        return refuse(call, "request_id", "must be a UUID of version 7");
    TRY(uuid_check_age(&call->request_id, clock_wall_ns() / NS_PER_MS, &call->problem));
    call->has_request_id = true;
    return STATUS_OK;
}

/* Over the params as the table writes them, so that the order of keys does not matter. */
static enum status hash_body(struct rpc_call *call, const void *request)
{
    struct buffer *canonical = &call->connection->server->canonical;
    buffer_clear(canonical);
    buffer_append(canonical, call->method->name, strlen(call->method->name) + 1);
    fields_encode(call->method->request, request, canonical);
    if (canonical->is_exhausted)
        return STATUS_RESOURCE_EXHAUSTED;
    call->body_hash = hash_of(buffer_span(canonical));
    return STATUS_OK;
}

static enum status has_room(struct rpc_call *call)
{
    const struct rpc_server *server = call->connection->server;
    bool is_urgent = call->method->flags & METHOD_URGENT;
    const char *rule = NULL;
    if (turn_calls(server) >=
        server->limits.calls_max + (is_urgent ? server->limits.calls_reserved : 0))
        rule = "too many requests are waiting for their answers";
    else if (server->unsent_bytes > server->limits.unread_bytes_total_max && !is_urgent &&
             !call->connection->is_privileged)
        rule = "too many answers are waiting to be read";
    if (rule == NULL)
        return STATUS_OK;
    problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "", "%s", rule);
    call->problem.retry_after_ms = RETRY_AFTER_CALLS_MS;
    return STATUS_RESOURCE_EXHAUSTED;
}

/* Of the calls that have no answer yet nobody takes all. */
static enum status has_share(struct rpc_call *call)
{
    const struct rpc_server *server = call->connection->server;
    const struct rpc_limits *limits = &server->limits;
    bool is_urgent = call->method->flags & METHOD_URGENT;
    enum status status = shares_check(&server->deferred,
                                      limits->calls_max + (is_urgent ? limits->calls_reserved : 0),
                                      "calls without an answer", call);
    if (status != STATUS_OK)
        call->problem.retry_after_ms = RETRY_AFTER_CALLS_MS;
    return status;
}

/* A token that is refused costs, and tells, as much as one whose request then names another tenant:
 * the fields are read before that shows, too. */
static enum status authorise(struct rpc_call *call, const struct params *params, void *request)
{
    const struct rpc_service *service = call->connection->server->service;
    call->has_token = params->token.data != NULL;
    enum status status = service->authorise(service->access, call, params->token);
    if (status == STATUS_UNAUTHENTICATED && call->has_token) {
        struct problem unread;
        (void)fields_decode(call->method->request, params->map, call->arena, request, &unread);
    }
    return status;
}

/* From the fields of an authorised request to its handler. */
static enum status read_request(struct rpc_call *call, struct span map, void *request,
                                size_t frame_bytes)
{
    const struct rpc_service *service = call->connection->server->service;
    TRY(fields_decode(call->method->request, map, call->arena, request, &call->problem));
    if (service->narrow != NULL)
        TRY(service->narrow(service->access, call, request));
    if (service->may_serve != NULL && !(call->method->flags & METHOD_COMMON))
        TRY(service->may_serve(service->context, call));
    if ((call->method->flags & (METHOD_MUTATES | METHOD_SECRET)) == METHOD_MUTATES)
        TRY(hash_body(call, request));
    if (call->method->flags & METHOD_WRITES)
        TRY(turn_begin(call->connection->server, frame_bytes));
    return STATUS_OK;
}

static enum status keep_request(struct call_entry *entry, struct span map)
{
    entry->request.limit = FRAME_BYTES_MAX;
    entry->request.memory = entry->server->service->memory;
    buffer_append(&entry->request, map.data, map.size);
    if (entry->request.is_exhausted)
        return STATUS_RESOURCE_EXHAUSTED;
    rpc_call_defer(&entry->call);
    return STATUS_OK;
}

/* Everything between the frame and the handler. */
static enum status check(struct call_entry *entry, const struct message *message, void *request,
                         size_t frame_bytes)
{
    struct rpc_call *call = &entry->call;
    struct params params = { 0 };
    TRY(has_room(call));
    TRY(read_params(call, message->params, &params));
    enum status id_status = read_request_id(call, &params);
    TRY(authorise(call, &params, request));
    if (id_status != STATUS_OK)
        return read_request_id(call, &params); /* its problem, after any of the caller's */
    TRY(has_share(call));
    return entry->is_unauthorised ? keep_request(entry, params.map)
                                  : read_request(call, params.map, request, frame_bytes);
}

static enum status handle(struct call_entry *entry, const struct rpc_route *route,
                          const void *request, void *reply)
{
    ensure(route->method->reply->struct_bytes <= FIELDS_STRUCT_BYTES_MAX);
    memset(reply, 0, route->method->reply->struct_bytes);
    return route->handle(entry->server->service->context, &entry->call, request, reply);
}

static void forget_request(struct rpc_server *server)
{
    arena_reset(&server->arena);
    buffer_clear(&server->params);
    buffer_clear(&server->canonical);
    buffer_shrink(&server->params, SCRATCH_BYTES_KEPT);
    buffer_shrink(&server->canonical, SCRATCH_BYTES_KEPT);
}

void rpc_call_authorise_later(struct rpc_call *call)
{
    ensure(!(call->method->flags & METHOD_WRITES));
    OWNER_OF(call, struct call_entry, call)->is_unauthorised = true;
}

void rpc_call_authorised(struct rpc_call *call, enum status status)
{
    alignas(max_align_t) char request[FIELDS_STRUCT_BYTES_MAX], reply[FIELDS_STRUCT_BYTES_MAX];
    struct call_entry *entry = OWNER_OF(call, struct call_entry, call);
    ensure(entry->is_unauthorised);
    ensure(call->connection != NULL);
    struct rpc_server *server = entry->server;
    entry->is_unauthorised = false;
    call_run_again(entry);
    if (status == STATUS_OK)
        status = read_request(call, buffer_span(&entry->request), request, 0);
    if (status == STATUS_OK)
        status =
            handle(entry, request_route(server, span_of_text(call->method->name)), request, reply);
    call_settle(entry, status, reply);
    forget_request(server);
}

static void refuse_plainly(struct rpc_connection *connection, uint64_t msgid, enum status status,
                           const char *field, const char *rule)
{
    struct problem problem;
    problem_set(&problem, status, field, "%s", rule);
    message_write_error(&connection->output.buffer, msgid, &problem);
    connection_log_refusal(connection, "", &problem);
    turn_attend(connection);
}

void request_run(struct rpc_connection *connection, const struct message *message,
                 size_t frame_bytes, int *file)
{
    struct rpc_server *server = connection->server;
    alignas(max_align_t) char request[FIELDS_STRUCT_BYTES_MAX], reply[FIELDS_STRUCT_BYTES_MAX];
    server->stats.requests++;
    turn_make_room(server);
    const struct rpc_route *route = request_route(server, message->method);
    if (route == NULL) {
        refuse_plainly(connection, message->msgid, STATUS_NOT_FOUND, "method",
                       "no such method here; daemon.describe lists them");
        return;
    }
    struct call_entry *entry = call_take(connection, message->msgid);
    if (entry == NULL) {
        refuse_plainly(connection, message->msgid, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
        return;
    }
    entry->call.method = route->method;
    entry->call.file = *file;
    *file = -1;
    enum status status = check(entry, message, request, frame_bytes);
    if (status != STATUS_OK) {
        if (entry->call.problem.code != status)
            problem_set(&entry->call.problem, status, "", "%s", status_text(status));
        connection_log_refusal(connection, route->method->name, &entry->call.problem);
    }
    size_t held = server->batch.count;
    bool may_repeat = entry->call.file < 0 && !(route->method->flags & METHOD_SECRET);
    if (status == STATUS_OK && !entry->is_unauthorised) {
        entry->is_in_batch = route->method->flags & METHOD_WRITES;
        status = handle(entry, route, request, reply);
    }
    call_settle(entry, status, reply);
    if (may_repeat && turn_holds(connection, message->msgid, held))
        turn_hold_request(server, route, message->params);
    forget_request(server);
}
