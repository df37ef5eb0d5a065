#include "common/api/records/event_record.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/fields.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"

static struct buffer record = { .limit = EVENT_RECORD_BYTES_MAX };
static struct arena arena = { .limit = 64 * 1024 };

static void setup(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
}

static void teardown(void)
{
    buffer_close(&record);
    arena_close(&arena);
}

TestSuite(event_record, .init = setup, .fini = teardown);

/* {"key": "value"} */
static const uint8_t payload[] = "\x81\xa3key\xa5value";

static struct event full_event(void)
{
    return (struct event){
        .log_id = "sixteen bytes id",
        .epoch = 3,
        .id = 42,
        .wall_ns = 1795298052723989224u,
        .boottime_ns = 123456789,
        .previous_hash.bytes = "thirty-two bytes of another hash",
        .previous_of_tenant = 40,
        .previous_of_type = 30,
        .previous_of_subject = 20,
        .type = "service_started",
        .tenant = "acme",
        .subject = "service/acme/api",
        .causation_id = 41,
        .request_id.bytes = "\x01\x93\x00\x00\x00\x00\x70\x00\x80",
        .has_request_id = true,
        .request_hash.bytes = "thirty-two bytes of a request...",
        .request_count = 5,
        .source = "tenantd/acme",
        .incarnation = "one incarnation!",
        .source_number = 7,
        .payload = { payload, sizeof payload - 1 },
    };
}

static void expect_same(const struct event *a, const struct event *b)
{
    cr_expect_eq(memcmp(a->log_id, b->log_id, sizeof a->log_id), 0);
    cr_expect_eq(a->epoch, b->epoch);
    cr_expect_eq(a->id, b->id);
    cr_expect_eq(a->wall_ns, b->wall_ns);
    cr_expect_eq(a->boottime_ns, b->boottime_ns);
    cr_expect(hash_equal(&a->previous_hash, &b->previous_hash));
    cr_expect_eq(a->previous_of_tenant, b->previous_of_tenant);
    cr_expect_eq(a->previous_of_type, b->previous_of_type);
    cr_expect_eq(a->previous_of_subject, b->previous_of_subject);
    cr_expect_str_eq(a->type, b->type);
    cr_expect_str_eq(a->tenant, b->tenant);
    cr_expect_str_eq(a->subject, b->subject);
    cr_expect_eq(a->causation_id, b->causation_id);
    cr_expect_eq(a->has_request_id, b->has_request_id);
    cr_expect_eq(memcmp(&a->request_id, &b->request_id, sizeof a->request_id), 0);
    cr_expect(hash_equal(&a->request_hash, &b->request_hash));
    cr_expect_eq(a->request_count, b->request_count);
    cr_expect_str_eq(a->source, b->source);
    cr_expect_eq(memcmp(a->incarnation, b->incarnation, sizeof a->incarnation), 0);
    cr_expect_eq(a->source_number, b->source_number);
    cr_expect(span_equal(a->payload, b->payload));
    cr_expect(hash_equal(&a->hash, &b->hash));
}

Test(event_record, a_full_event_comes_back)
{
    struct event event = full_event(), decoded;
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    cr_assert_eq(event_decode(buffer_span(&record), &arena, &decoded), STATUS_OK);
    expect_same(&event, &decoded);
}

Test(event_record, an_event_with_nothing_but_a_type_comes_back)
{
    struct event event = { .type = "app.x", .tenant = "", .subject = "", .source = "" }, decoded;
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    cr_assert_eq(event_decode(buffer_span(&record), &arena, &decoded), STATUS_OK);
    expect_same(&event, &decoded);
}

Test(event_record, the_header_lies_where_a_raw_scan_looks)
{
    struct event event = full_event();
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    cr_expect_eq(memcmp(record.data, "SoloEvt1", 8), 0);
    cr_expect_eq(record.data[8], EVENT_FORMAT);
    cr_expect_eq(record.data[12] | record.data[13] << 8, (int)record.size);
    cr_expect_eq(memcmp(record.data + 16, "sixteen bytes id", 16), 0);
    cr_expect_eq(record.data[32], 3);
    cr_expect_eq(record.data[40], 42);
    cr_expect_eq(memcmp(record.data + 64, "thirty-two bytes", 16), 0);
    cr_expect_eq(record.data[96], 40);
    cr_expect_eq(record.data[104], 30);
    cr_expect_eq(record.data[112], 20);
    struct hash hash = hash_of(span_of(record.data, record.size - HASH_BYTES));
    cr_expect_eq(memcmp(hash.bytes, record.data + record.size - HASH_BYTES, HASH_BYTES), 0);
}

static bool begins_in(const char *bytes, size_t size)
{
    return event_begins_in(span_of((const uint8_t *)bytes, size));
}

Test(event_record, a_beginning_of_a_record_is_found_anywhere)
{
    static const char twice[] = "x" EVENT_MAGIC EVENT_MAGIC "\1\0\0\0";
    struct event event = full_event();
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    cr_expect(event_begins_in(buffer_span(&record)));
    cr_expect(begins_in(EVENT_MAGIC "\1\0\0\0", 12));
    cr_expect(begins_in(twice, sizeof twice - 1));
    cr_expect(begins_in(EVENT_MAGIC "\xff\0\0\0", 12), "a later format");
    cr_expect_not(begins_in(twice, sizeof twice - 2), "cut off");
    cr_expect_not(begins_in(EVENT_MAGIC "\1\0\0\1", 12));
    cr_expect_not(begins_in("the magic is " EVENT_MAGIC ", they say", 30));
    cr_expect_not(begins_in("", 0));
}

Test(event_record, every_flipped_bit_is_refused)
{
    struct event event = full_event(), decoded;
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    for (size_t i = 0; i < record.size * 8; i++) {
        record.data[i / 8] ^= (uint8_t)(1 << i % 8);
        cr_expect_eq(event_decode(buffer_span(&record), &arena, &decoded), STATUS_DATA_LOSS,
                     "bit %zu", i);
        cr_expect_eq(event_decode_header(buffer_span(&record), &decoded), STATUS_DATA_LOSS,
                     "bit %zu", i);
        /* Whoever leaves the hash to somebody else reads what is damaged, and survives it. */
        arena_reset(&arena);
        enum status status = event_decode_unproven(buffer_span(&record), &arena, &decoded);
        cr_expect(status == STATUS_OK || status == STATUS_DATA_LOSS, "bit %zu", i);
        record.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

Test(event_record, every_other_length_is_refused)
{
    struct event event = full_event(), decoded;
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    size_t whole = record.size;
    cr_assert_eq(buffer_append(&record, "more", 4), STATUS_OK);
    for (size_t size = 0; size <= record.size; size++)
        if (size != whole)
            cr_expect_eq(event_decode(span_of(record.data, size), &arena, &decoded),
                         STATUS_DATA_LOSS, "%zu bytes", size);
}

/* A record around any body, with a hash that matches: what only a bug or an attack would write. */
static void seal_body(struct span body)
{
    struct event event = full_event();
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    record.size = EVENT_HEADER_BYTES;
    cr_assert_eq(buffer_append(&record, body.data, body.size), STATUS_OK);
    uint32_t length = (uint32_t)record.size + HASH_BYTES;
    for (int i = 0; i < 4; i++)
        record.data[12 + i] = (uint8_t)(length >> (8 * i));
    struct hash hash = hash_of(buffer_span(&record));
    cr_assert_eq(buffer_append(&record, hash.bytes, HASH_BYTES), STATUS_OK);
}

Test(event_record, a_body_that_is_no_event_is_refused)
{
    static const struct {
        const char *what;
        const char *bytes;
        size_t size;
    } bodies[] = {
#define BODY(what, bytes) { what, bytes, sizeof bytes - 1 }
        BODY("empty", ""),
        BODY("no map", "\x01"),
        BODY("no type", "\x80"),
        BODY("empty type", "\x81\xa4type\xa0"),
        BODY("NUL in the type", "\x81\xa4type\xa3"
                                "a\0b"),
        BODY("type is a number", "\x81\xa4type\x01"),
        BODY("unknown key", "\x82\xa4type\xa1x\xa5other\x01"),
        BODY("payload is no map", "\x82\xa4type\xa1x\xa7payload\x01"),
        BODY("short request_id", "\x82\xa4type\xa1x\xaarequest_id\xc4\x01x"),
        BODY("source is no map", "\x82\xa4type\xa1x\xa6source\xa1x"),
        BODY("map ends early", "\x82\xa4type\xa1x"),
        BODY("bytes behind the map", "\x81\xa4type\xa1x\x01"),
#undef BODY
    };
    struct event decoded;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        seal_body(span_of(bodies[i].bytes, bodies[i].size));
        cr_expect_eq(event_decode_header(buffer_span(&record), &decoded), STATUS_OK);
        cr_expect_eq(event_decode(buffer_span(&record), &arena, &decoded), STATUS_DATA_LOSS, "%s",
                     bodies[i].what);
    }
    seal_body(span_of("\x81\xa4type\xa1x", 8));
    cr_expect_eq(event_decode(buffer_span(&record), &arena, &decoded), STATUS_OK,
                 "the rule itself");
}

Test(event_record, a_record_that_is_too_large_is_not_packed)
{
    static uint8_t big[EVENT_RECORD_BYTES_MAX];
    AUTO(buffer_close) struct buffer map = { .limit = 2 * EVENT_RECORD_BYTES_MAX };
    write_map(&map, 1);
    write_str(&map, "b");
    write_bin(&map, span_of(big, EVENT_PAYLOAD_BYTES_MAX - 16));
    struct event event = full_event();
    event.payload = buffer_span(&map);
    cr_expect_eq(event_encode(&event, &record), STATUS_OK, "the largest payload has room");
    buffer_clear(&map);
    write_map(&map, 1);
    write_str(&map, "b");
    write_bin(&map, span_of(big, sizeof big));
    event.payload = buffer_span(&map);
    cr_expect_eq(event_encode(&event, &record), STATUS_RESOURCE_EXHAUSTED);
}

Test(event_record, an_item_has_what_the_event_has)
{
    struct event event = full_event();
    struct event_item item, decoded = { 0 };
    struct problem problem = { 0 };
    char request_text[UUID_TEXT_BYTES];
    AUTO(buffer_close) struct buffer packed = { .limit = 4096 };
    event_to_item(&event, &item, request_text);
    cr_expect_str_eq(item.request_id, "01930000-0000-7000-8000-000000000000");
    fields_encode(&record_event_item, &item, &packed);
    cr_assert_eq(
        fields_decode(&record_event_item, buffer_span(&packed), &arena, &decoded, &problem),
        STATUS_OK, "%s %s", problem.field, problem.message);
    cr_expect_eq(decoded.id, 42);
    cr_expect_str_eq(decoded.subject, "service/acme/api");
    cr_expect(span_equal(decoded.payload, event.payload));
    event.has_request_id = false;
    event_to_item(&event, &item, request_text);
    cr_expect_str_eq(item.request_id, "");
}

Test(event_record, subjects_of_services_go_both_ways)
{
    char subject[SUBJECT_BYTES], tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    char longest[NAME_BYTES_MAX + 1];
    cr_expect_str_eq(subject_of_service(subject, "acme", "api"), "service/acme/api");
    cr_assert(subject_to_service(subject, tenant, name));
    cr_expect_str_eq(tenant, "acme");
    cr_expect_str_eq(name, "api");
    memset(longest, 'a', NAME_BYTES_MAX);
    longest[NAME_BYTES_MAX] = '\0';
    cr_expect(subject_to_service(subject_of_service(subject, longest, longest), tenant, name));
    cr_expect_str_eq(name, longest);
    static const char *const others[] = {
        "",          "system",        "service/",     "service/acme",
        "token/x/y", "service/acme/", "service//api", "service/A/b"
    };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        cr_expect_not(subject_to_service(others[i], tenant, name), "%s", others[i]);
}
