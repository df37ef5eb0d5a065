/* Event records made of any bytes: refused, or read into an event that packs and reads the same
 * again. The input is tried as a record, and as the body of a record whose header and hash are
 * right, because no fuzzer finds a hash. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/event_record.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each refusal is logged; here that is all there is. */
static void be_quiet(void)
{
    static bool is_quiet;
    if (!is_quiet && getenv("SOLO_FUZZ_VERBOSE") == NULL)
        is_quiet = freopen("/dev/null", "w", stderr) != NULL;
}

static void check(struct span record)
{
    AUTO(arena_close) struct arena arena = { .limit = 64 * 1024 };
    AUTO(buffer_close) struct buffer packed = { .limit = EVENT_RECORD_BYTES_MAX };
    struct event event, again;
    if (event_decode(record, &arena, &event) != STATUS_OK)
        return;
    ensure(event_begins_in(record));
    ensure(event.type[0] != '\0');
    ensure(strlen(event.type) <= EVENT_TYPE_BYTES_MAX);
    ensure(strlen(event.subject) <= EVENT_SUBJECT_BYTES_MAX);
    ensure(event.payload.size <= record.size);
    ensure(event_encode(&event, &packed) == STATUS_OK);
    ensure(event_decode(buffer_span(&packed), &arena, &again) == STATUS_OK);
    ensure(strcmp(event.type, again.type) == 0);
    ensure(strcmp(event.tenant, again.tenant) == 0);
    ensure(strcmp(event.subject, again.subject) == 0);
    ensure(event.causation_id == again.causation_id);
    ensure(event.source_number == again.source_number || event.source[0] == '\0');
    ensure(span_equal(event.payload, again.payload));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    be_quiet();
    check(span_of(data, size));
    if (size + EVENT_HEADER_BYTES + HASH_BYTES > EVENT_RECORD_BYTES_MAX)
        return 0;
    AUTO(buffer_close) struct buffer record = { .limit = EVENT_RECORD_BYTES_MAX };
    uint8_t header[EVENT_HEADER_BYTES] = { 0 };
    uint32_t length = (uint32_t)(EVENT_HEADER_BYTES + size + HASH_BYTES);
    memcpy(header, EVENT_MAGIC, 8);
    header[8] = EVENT_FORMAT;
    for (int i = 0; i < 4; i++)
        header[12 + i] = (uint8_t)(length >> (8 * i));
    buffer_append(&record, header, sizeof header);
    buffer_append(&record, data, size);
    struct hash hash = hash_of(buffer_span(&record));
    buffer_append(&record, hash.bytes, HASH_BYTES);
    check(buffer_span(&record));
    return 0;
}
