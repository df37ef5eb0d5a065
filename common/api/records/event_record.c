/* Packing and reading event records. Reading trusts nothing: whatever is not exactly what
 * event_encode makes is data_loss, and the hash at the end covers every byte before it. */
#include "common/api/records/event_record.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

enum {
    AT_FORMAT = 8,
    AT_LENGTH = 12,
    AT_LOG_ID = 16,
    AT_EPOCH = 32,
    AT_ID = 40,
    AT_WALL = 48,
    AT_BOOTTIME = 56,
    AT_PREVIOUS_HASH = 64,
    AT_OF_TENANT = 96,
    AT_OF_TYPE = 104,
    AT_OF_SUBJECT = 112,
};

static void put_u32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof value);
}

static void put_u64(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

/* --- packing --- */

static void write_body(const struct event *event, struct buffer *record)
{
    bool has_source = event->source != NULL && event->source[0] != '\0';
    bool has_tenant = event->tenant != NULL && event->tenant[0] != '\0';
    bool has_subject = event->subject != NULL && event->subject[0] != '\0';
    bool has_outcome = event->has_request_id && event->request_count > 0;
    write_map(record, 1 + (size_t)has_tenant + (size_t)has_subject +
                          (size_t)(event->causation_id != 0) + (size_t)event->has_request_id +
                          2 * (size_t)has_outcome + (size_t)has_source +
                          (size_t)(event->payload.size > 0));
    write_str(record, "type");
    write_str(record, event->type);
    if (has_tenant) {
        write_str(record, "tenant");
        write_str(record, event->tenant);
    }
    if (has_subject) {
        write_str(record, "subject");
        write_str(record, event->subject);
    }
    if (event->causation_id != 0) {
        write_str(record, "causation_id");
        write_u64(record, event->causation_id);
    }
    if (event->has_request_id) {
        write_str(record, "request_id");
        write_bin(record, span_of(event->request_id.bytes, UUID_BYTES));
    }
    if (has_outcome) {
        write_str(record, "request_hash");
        write_bin(record, span_of(event->request_hash.bytes, HASH_BYTES));
        write_str(record, "request_count");
        write_u64(record, event->request_count);
    }
    if (has_source) {
        write_str(record, "source");
        write_map(record, 3);
        write_str(record, "name");
        write_str(record, event->source);
        write_str(record, "incarnation");
        write_bin(record, span_of(event->incarnation, sizeof event->incarnation));
        write_str(record, "number");
        write_u64(record, event->source_number);
    }
    if (event->payload.size > 0) {
        write_str(record, "payload");
        write_object(record, event->payload);
    }
}

enum status event_encode(struct event *event, struct buffer *record)
{
    buffer_clear(record);
    uint8_t header[EVENT_HEADER_BYTES] = { 0 };
    if (buffer_append(record, header, sizeof header) != STATUS_OK)
        return STATUS_RESOURCE_EXHAUSTED;
    write_body(event, record);
    if (record->is_exhausted || record->size + HASH_BYTES > EVENT_RECORD_BYTES_MAX ||
        buffer_reserve(record, HASH_BYTES) == NULL)
        return STATUS_RESOURCE_EXHAUSTED;

    uint8_t *at = record->data;
    memcpy(at, EVENT_MAGIC, 8);
    put_u32(at + AT_FORMAT, EVENT_FORMAT);
    put_u32(at + AT_LENGTH, (uint32_t)(record->size + HASH_BYTES));
    memcpy(at + AT_LOG_ID, event->log_id, sizeof event->log_id);
    put_u64(at + AT_EPOCH, event->epoch);
    put_u64(at + AT_ID, event->id);
    put_u64(at + AT_WALL, event->wall_ns);
    put_u64(at + AT_BOOTTIME, event->boottime_ns);
    memcpy(at + AT_PREVIOUS_HASH, event->previous_hash.bytes, HASH_BYTES);
    put_u64(at + AT_OF_TENANT, event->previous_of_tenant);
    put_u64(at + AT_OF_TYPE, event->previous_of_type);
    put_u64(at + AT_OF_SUBJECT, event->previous_of_subject);
    event->hash = hash_of(buffer_span(record));
    return buffer_append(record, event->hash.bytes, HASH_BYTES);
}

/* --- reading --- */

static enum status refuse(const char *reason, uint64_t id)
{
    return log_failure(STATUS_DATA_LOSS, "read event", "event", NUMBER(id), "reason", reason);
}

bool event_begins_in(struct span bytes)
{
    enum { BEGIN_BYTES = AT_FORMAT + 4 };
    const uint8_t *at = bytes.data;
    size_t left = bytes.size;
    while (left >= BEGIN_BYTES) {
        const uint8_t *found = memmem(at, left, EVENT_MAGIC, AT_FORMAT);
        if (found == NULL || left - (size_t)(found - at) < BEGIN_BYTES)
            return false;
        if (get_u32(found + AT_FORMAT) <= UINT8_MAX)
            return true;
        left -= (size_t)(found - at) + 1;
        at = found + 1;
    }
    return false;
}

static enum status read_header(struct span record, bool is_compared, struct event *event)
{
    if (record.size < EVENT_HEADER_BYTES + HASH_BYTES || record.size > EVENT_RECORD_BYTES_MAX)
        return refuse("not the size of a record", 0);
    const uint8_t *at = record.data;
    uint64_t id = get_u64(at + AT_ID);
    if (memcmp(at, EVENT_MAGIC, 8) != 0)
        return refuse("no magic", id);
    if (get_u32(at + AT_FORMAT) != EVENT_FORMAT)
        return refuse("a format that is not known here", id);
    if (get_u32(at + AT_LENGTH) != record.size)
        return refuse("another length than it says", id);
    struct hash hash;
    memcpy(hash.bytes, at + record.size - HASH_BYTES, HASH_BYTES);
    if (is_compared) {
        const struct hash expected = hash_of(span_of(at, record.size - HASH_BYTES));
        if (memcmp(hash.bytes, expected.bytes, HASH_BYTES) != 0)
            return refuse("its hash does not match", id);
    }

    memset(event, 0, sizeof *event);
    memcpy(event->log_id, at + AT_LOG_ID, sizeof event->log_id);
    event->epoch = get_u64(at + AT_EPOCH);
    event->id = id;
    event->wall_ns = get_u64(at + AT_WALL);
    event->boottime_ns = get_u64(at + AT_BOOTTIME);
    memcpy(event->previous_hash.bytes, at + AT_PREVIOUS_HASH, HASH_BYTES);
    event->previous_of_tenant = get_u64(at + AT_OF_TENANT);
    event->previous_of_type = get_u64(at + AT_OF_TYPE);
    event->previous_of_subject = get_u64(at + AT_OF_SUBJECT);
    event->type = event->tenant = event->subject = event->source = "";
    event->hash = hash;
    return STATUS_OK;
}

enum status event_decode_header(struct span record, struct event *event)
{
    return read_header(record, true, event);
}

static enum status read_text(struct reader *reader, struct arena *arena, size_t bytes_max,
                             const char **text)
{
    struct span span;
    TRY(reader_str(reader, &span));
    if (span.size > bytes_max || memchr(span.data, '\0', span.size) != NULL)
        return STATUS_INVALID_ARGUMENT;
    *text = arena_text(arena, span);
    return *text == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

static enum status read_bytes(struct reader *reader, void *bytes, size_t size)
{
    struct span span;
    TRY(reader_bin(reader, &span));
    if (span.size != size)
        return STATUS_INVALID_ARGUMENT;
    memcpy(bytes, span.data, size);
    return STATUS_OK;
}

static enum status read_source(struct reader *reader, struct arena *arena, struct event *event)
{
    uint32_t count;
    TRY(reader_map(reader, &count));
    if (count != 3)
        return STATUS_INVALID_ARGUMENT;
    for (uint32_t i = 0; i < count; i++) {
        struct span key;
        TRY(reader_str(reader, &key));
        if (span_equal(key, span_of_text("name")))
            TRY(read_text(reader, arena, EVENT_SOURCE_BYTES_MAX, &event->source));
        else if (span_equal(key, span_of_text("incarnation")))
            TRY(read_bytes(reader, event->incarnation, sizeof event->incarnation));
        else if (span_equal(key, span_of_text("number")))
            TRY(reader_u64(reader, &event->source_number));
        else
            return STATUS_INVALID_ARGUMENT;
    }
    return STATUS_OK;
}

static enum status read_field(struct span key, struct reader *reader, struct arena *arena,
                              struct event *event)
{
    if (span_equal(key, span_of_text("type")))
        return read_text(reader, arena, EVENT_TYPE_BYTES_MAX, &event->type);
    if (span_equal(key, span_of_text("tenant")))
        return read_text(reader, arena, NAME_BYTES_MAX, &event->tenant);
    if (span_equal(key, span_of_text("subject")))
        return read_text(reader, arena, EVENT_SUBJECT_BYTES_MAX, &event->subject);
    if (span_equal(key, span_of_text("causation_id")))
        return reader_u64(reader, &event->causation_id);
    if (span_equal(key, span_of_text("request_id"))) {
        event->has_request_id = true;
        return read_bytes(reader, event->request_id.bytes, UUID_BYTES);
    }
    if (span_equal(key, span_of_text("request_hash")))
        return read_bytes(reader, event->request_hash.bytes, HASH_BYTES);
    if (span_equal(key, span_of_text("request_count")))
        return reader_u64(reader, &event->request_count);
    if (span_equal(key, span_of_text("source")))
        return read_source(reader, arena, event);
    if (span_equal(key, span_of_text("payload"))) {
        if (reader_peek(reader) != WIRE_MAP)
            return STATUS_INVALID_ARGUMENT;
        return reader_any(reader, &event->payload);
    }
    return STATUS_INVALID_ARGUMENT;
}

static enum status decode(struct span record, bool is_compared, struct arena *arena,
                          struct event *event)
{
    struct event decoded;
    TRY(read_header(record, is_compared, &decoded));
    struct reader reader = reader_of(
        span_of(record.data + EVENT_HEADER_BYTES, record.size - EVENT_HEADER_BYTES - HASH_BYTES));
    uint32_t count;
    enum status status = reader_map(&reader, &count);
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        struct span key;
        status = reader_str(&reader, &key);
        if (status == STATUS_OK)
            status = read_field(key, &reader, arena, &decoded);
    }
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return status;
    if (status != STATUS_OK || reader.rest.size != 0 || decoded.type[0] == '\0')
        return refuse("its body is not what an event has", decoded.id);
    *event = decoded;
    return STATUS_OK;
}

enum status event_decode(struct span record, struct arena *arena, struct event *event)
{
    return decode(record, true, arena, event);
}

enum status event_decode_unproven(struct span record, struct arena *arena, struct event *event)
{
    return decode(record, false, arena, event);
}

/* --- for readers of events --- */

void event_to_item(const struct event *event, struct event_item *item,
                   char request_text[UUID_TEXT_BYTES])
{
    request_text[0] = '\0';
    if (event->has_request_id)
        uuid_text(request_text, &event->request_id);
    *item = (struct event_item){
        .id = event->id,
        .wall_ns = event->wall_ns,
        .type = event->type,
        .tenant = event->tenant,
        .subject = event->subject,
        .causation_id = event->causation_id,
        .request_id = request_text,
        .payload = event->payload,
        .hash = event->hash,
    };
}

char *subject_of_service(char subject[SUBJECT_BYTES], const char *tenant, const char *name)
{
    snprintf(subject, SUBJECT_BYTES, "service/%s/%s", tenant, name);
    return subject;
}

bool subject_to_service(const char *subject, char tenant[NAME_BYTES_MAX + 1],
                        char name[NAME_BYTES_MAX + 1])
{
    static const char prefix[] = "service/";
    return strncmp(subject, prefix, sizeof prefix - 1) == 0 &&
           service_key_split(subject + sizeof prefix - 1, tenant, name) == STATUS_OK;
}
