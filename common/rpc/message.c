/* Packing and unpacking of the outer arrays; what is inside them is read by field tables. */
#include "common/rpc/message.h"

#include "common/base/name.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

/* The last part of a frame: what is left of it. */
static enum status take_rest(struct reader *reader, struct span *object)
{
    *object = reader->rest;
    return object->size == 0 ? STATUS_INVALID_ARGUMENT : STATUS_OK;
}

static enum status parse_request(struct reader *reader, struct message *message)
{
    TRY(reader_u64(reader, &message->msgid));
    TRY(reader_str(reader, &message->method));
    TRY(take_rest(reader, &message->params));
    return message->msgid > UINT32_MAX ? STATUS_INVALID_ARGUMENT : STATUS_OK;
}

static enum status parse_reply(struct reader *reader, struct message *message)
{
    TRY(reader_u64(reader, &message->msgid));
    if (reader_nil(reader) != STATUS_OK)
        TRY(reader_any(reader, &message->error));
    return take_rest(reader, &message->result);
}

static enum status parse_notify(struct reader *reader, struct message *message)
{
    TRY(reader_str(reader, &message->method));
    return take_rest(reader, &message->params);
}

enum status message_parse(struct span frame, struct message *message)
{
    struct reader reader = reader_of(frame);
    uint32_t count;
    uint64_t kind;
    *message = (struct message){ 0 };
    TRY(reader_array(&reader, &count));
    TRY(reader_u64(&reader, &kind));
    if (kind > MESSAGE_NOTIFY || count != (kind == MESSAGE_NOTIFY ? 3u : 4u))
        return STATUS_INVALID_ARGUMENT;
    message->kind = (enum message_kind)kind;
    switch (message->kind) {
    case MESSAGE_REQUEST:
        return parse_request(&reader, message);
    case MESSAGE_REPLY:
        return parse_reply(&reader, message);
    case MESSAGE_NOTIFY:
        return parse_notify(&reader, message);
    }
    return STATUS_INVALID_ARGUMENT;
}

bool message_peek_request(struct span data, uint64_t *msgid, struct span *method)
{
    struct reader reader = reader_of(data);
    uint32_t count;
    uint64_t kind;
    return reader_array(&reader, &count) == STATUS_OK && count == 4 &&
           reader_u64(&reader, &kind) == STATUS_OK && kind == MESSAGE_REQUEST &&
           reader_u64(&reader, msgid) == STATUS_OK && *msgid <= UINT32_MAX &&
           reader_str(&reader, method) == STATUS_OK;
}

enum status message_parse_notify(struct span params, uint64_t *msgid, struct span *map)
{
    struct reader reader = reader_of(params);
    uint32_t count;
    TRY(reader_array(&reader, &count));
    if (count != 2)
        return STATUS_INVALID_ARGUMENT;
    TRY(reader_u64(&reader, msgid));
    return reader_any(&reader, map);
}

enum status message_parse_error(struct span error, struct problem *problem)
{
    char code[32];
    *problem = (struct problem){ 0 };
    problem->code = status_from_name(map_text(error, "code", code, sizeof code));
    if (problem->code == STATUS_OK)
        problem->code = STATUS_UNKNOWN;
    map_text(error, "message", problem->message, sizeof problem->message);
    map_text(error, "field", problem->field, sizeof problem->field);
    problem->retry_after_ms = map_u64(error, "retry_after_ms", 0);
    if (problem->message[0] == '\0')
        problem_set(problem, problem->code, problem->field, "%s", status_text(problem->code));
    return problem->code;
}

void message_write_reply(struct buffer *buffer, uint64_t msgid, const struct field_table *table,
                         const void *reply)
{
    write_array(buffer, 4);
    write_u64(buffer, MESSAGE_REPLY);
    write_u64(buffer, msgid);
    write_nil(buffer);
    fields_encode(table, reply, buffer);
}

/* A long text may have been cut inside a character, and a path need not be UTF-8; readers of the
 * wire rely on it. */
static void write_shown(struct buffer *buffer, const char *text)
{
    char shown[sizeof((struct problem *)NULL)->message];
    size_t size = strnlen(text, sizeof shown);
    memcpy(shown, text, size);
    if (!utf8_is_valid(span_of(shown, size)))
        for (size_t i = 0; i < size; i++)
            if ((unsigned char)shown[i] >= 0x80)
                shown[i] = '?';
    write_text(buffer, span_of(shown, size));
}

/* How a process ends is no answer to a request. */
static enum status wire_code(enum status code)
{
    bool is_local =
        code == STATUS_OK || code == STATUS_USAGE || code == STATUS_LOCKED || code == STATUS_IO;
    return is_local ? STATUS_INTERNAL : code;
}

void message_write_error(struct buffer *buffer, uint64_t msgid, const struct problem *problem)
{
    bool has_field = problem->field[0] != '\0', has_retry = problem->retry_after_ms != 0;
    enum status code = wire_code(problem->code);
    write_array(buffer, 4);
    write_u64(buffer, MESSAGE_REPLY);
    write_u64(buffer, msgid);
    write_map(buffer, 2 + has_field + has_retry);
    write_str(buffer, "code");
    write_str(buffer, status_name(code));
    write_str(buffer, "message");
    write_shown(buffer, problem->message[0] != '\0' ? problem->message : status_text(code));
    if (has_field) {
        write_str(buffer, "field");
        write_shown(buffer, problem->field);
    }
    if (has_retry) {
        write_str(buffer, "retry_after_ms");
        write_u64(buffer, problem->retry_after_ms);
    }
    write_nil(buffer);
}

void message_write_notify(struct buffer *buffer, const char *method, uint64_t msgid,
                          struct span map)
{
    write_array(buffer, 3);
    write_u64(buffer, MESSAGE_NOTIFY);
    write_str(buffer, method);
    write_array(buffer, 2);
    write_u64(buffer, msgid);
    write_object(buffer, map);
}

void message_write_request(struct buffer *buffer, uint64_t msgid, const char *method,
                           struct span map, struct span request_id, struct span token)
{
    struct reader reader = reader_of(map);
    uint32_t count = 0;
    if (reader_map(&reader, &count) != STATUS_OK)
        buffer->is_exhausted = true; /* the map itself did not fit into its buffer */
    write_array(buffer, 4);
    write_u64(buffer, MESSAGE_REQUEST);
    write_u64(buffer, msgid);
    write_str(buffer, method);
    write_array(buffer, 1);
    write_map(buffer, (size_t)count + (request_id.size > 0) + (token.size > 0));
    write_object(buffer, reader.rest);
    if (request_id.size > 0) {
        write_str(buffer, "request_id");
        write_text(buffer, request_id);
    }
    if (token.size > 0) {
        write_str(buffer, "token");
        write_text(buffer, token);
    }
}
