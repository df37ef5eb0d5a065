/* The bytes that the load consists of. */
#include "bench/protocols.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/wire/frame_scanner.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tests/support/command.h"

/* The payload is a map of one text: {"data": "..."} is this much longer than its text. */
enum { PAYLOAD_FRAME_BYTES = 8, REQUEST_BYTES_MAX = 2048 };

char *protocol_request_id(char text[37], uint64_t number)
{
    uint64_t ms = clock_wall_ns() / 1000000;
    snprintf(text, 37, "%08x-%04x-7%03x-8%03x-%04x%08x", (unsigned)(ms >> 16),
             (unsigned)(ms & 0xffff), (unsigned)(number >> 32) & 0xfff, (unsigned)getpid() & 0xfff,
             (unsigned)(getpid() >> 12) & 0xffff, (unsigned)number);
    return text;
}

static void append_pack(struct buffer *out, uint64_t number)
{
    static char data[BENCH_PAYLOAD_BYTES - PAYLOAD_FRAME_BYTES + 1];
    if (data[0] == '\0')
        memset(data, 'x', sizeof data - 1);
    char request_id[37], subject[64];
    snprintf(subject, sizeof subject, "bench/%u", (unsigned)(number % 1000));
    write_array(out, 4);
    write_u64(out, 0);
    write_u64(out, number & 0xffffffff);
    write_str(out, "event.append");
    write_array(out, 1);
    write_map(out, 5);
    write_str(out, "type");
    write_str(out, "app.bench");
    write_str(out, "tenant");
    write_str(out, "bench");
    write_str(out, "subject");
    write_str(out, subject);
    write_str(out, "request_id");
    write_str(out, protocol_request_id(request_id, number));
    write_str(out, "payload");
    write_map(out, 1);
    write_str(out, "data");
    write_str(out, data);
}

static size_t append_take(struct span in)
{
    struct frame_scanner scanner = { 0 };
    bool is_complete = false;
    const char *rule = "";
    if (frame_scan(&scanner, in, FRAME_BYTES_MAX, &is_complete, &rule) != STATUS_OK)
        test_fail("the daemon sent what is no message: %s", rule);
    if (!is_complete)
        return 0;
    struct reader reader = reader_of(span_of(in.data, scanner.position));
    uint32_t count;
    uint64_t type, msgid;
    if (reader_array(&reader, &count) != STATUS_OK || count != 4 ||
        reader_u64(&reader, &type) != STATUS_OK || type != 1 ||
        reader_u64(&reader, &msgid) != STATUS_OK)
        test_fail("the daemon sent what is no answer");
    if (reader_nil(&reader) != STATUS_OK) {
        char code[64], message[512];
        test_fail("the daemon refused: %s: %s", map_text(reader.rest, "code", code, sizeof code),
                  map_text(reader.rest, "message", message, sizeof message));
    }
    return scanner.position;
}

/* A token of an hour, named by a hash that no other request names. */
static void grant_pack(struct buffer *out, uint64_t number)
{
    char request_id[37];
    const uint64_t drawn[] = { number, (uint64_t)getpid(), clock_wall_ns() };
    struct hash hash = hash_of(span_of(drawn, sizeof drawn));
    write_array(out, 4);
    write_u64(out, 0);
    write_u64(out, number & 0xffffffff);
    write_str(out, "token.grant");
    write_array(out, 1);
    write_map(out, 5);
    write_str(out, "token_hash");
    write_bin(out, span_of(hash.bytes, HASH_BYTES));
    write_str(out, "tenant");
    write_str(out, "bench");
    write_str(out, "permissions");
    write_array(out, 1);
    write_str(out, "read");
    write_str(out, "ttl_ms");
    write_u64(out, 3600000);
    write_str(out, "request_id");
    write_str(out, protocol_request_id(request_id, number));
}

static void xadd_pack(struct buffer *out, uint64_t number)
{
    static char request[REQUEST_BYTES_MAX];
    static int size;
    (void)number;
    if (size == 0) {
        char data[BENCH_PAYLOAD_BYTES + 1];
        memset(data, 'x', BENCH_PAYLOAD_BYTES);
        data[BENCH_PAYLOAD_BYTES] = '\0';
        size = snprintf(request, sizeof request,
                        "*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$4\r\ndata\r\n$%d\r\n%s\r\n",
                        BENCH_PAYLOAD_BYTES, data);
    }
    buffer_append(out, request, (size_t)size);
}

/* "$15\r\n1700000000000-0\r\n" */
static size_t xadd_take(struct span in)
{
    const uint8_t *end = memchr(in.data, '\n', in.size);
    if (end == NULL)
        return 0;
    if (in.data[0] != '$')
        test_fail("Redis refused: %.*s", (int)(end - in.data), (const char *)in.data);
    size_t first = (size_t)(end - in.data) + 1;
    end = memchr(in.data + first, '\n', in.size - first);
    return end == NULL ? 0 : (size_t)(end - in.data) + 1;
}

const struct load_protocol protocol_event_append = { "eventd", append_pack, append_take };
const struct load_protocol protocol_token_grant = { "tokend", grant_pack, append_take };
const struct load_protocol protocol_redis_xadd = { "redis", xadd_pack, xadd_take };
