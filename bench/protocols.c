/* The bytes that the load consists of. Appends of Solo and of Redis are made beforehand, so that
 * neither server is measured by what its requests cost to write. */
#include "bench/protocols.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tests/support/command.h"

/* The payload is a map of one text: {"data": "..."} is this much longer than its text. */
enum { PAYLOAD_FRAME_BYTES = 8, REQUEST_BYTES_MAX = 2048, NIL = 0xc0 };

/* Ids are made while the load runs, which shares the processors with what it measures: without
 * divisions and calls of the kernel. */
static void put_hex(char *at, unsigned count, uint64_t value)
{
    for (unsigned i = count; i-- > 0; value >>= 4)
        at[i] = "0123456789abcdef"[value & 0xf];
}

static void put_decimal(char *at, unsigned count, uint64_t value)
{
    for (unsigned i = count; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
}

char *protocol_request_id(char text[37], uint64_t number)
{
    static uint64_t pid;
    if (pid == 0)
        pid = (uint64_t)getpid();
    uint64_t ms = clock_wall_ns() / 1000000;
    memcpy(text, "00000000-0000-7000-8000-000000000000", 37);
    put_hex(text, 8, ms >> 16);
    put_hex(text + 9, 4, ms);
    put_hex(text + 15, 3, number >> 32);
    put_hex(text + 20, 3, pid);
    put_hex(text + 24, 4, pid >> 12);
    put_hex(text + 28, 8, number);
    return text;
}

/* A request, and where in it those bytes stand that differ from one to the next. */
struct append_template {
    struct buffer bytes;
    size_t msgid, subject_number, request_id;
};

static void template_make(struct append_template *template)
{
    char data[BENCH_PAYLOAD_BYTES - PAYLOAD_FRAME_BYTES + 1] = "", request_id[37];
    memset(data, 'x', sizeof data - 1);
    template->bytes.limit = REQUEST_BYTES_MAX;
    struct buffer *out = &template->bytes;
    write_array(out, 4);
    write_u64(out, 0);
    write_u64(out, UINT32_MAX);
    template->msgid = out->size - 4;
    write_str(out, "event.append");
    write_array(out, 1);
    write_map(out, 5);
    write_str(out, "type");
    write_str(out, "app.bench");
    write_str(out, "tenant");
    write_str(out, "bench");
    write_str(out, "subject");
    write_str(out, "bench/000");
    template->subject_number = out->size - 3;
    write_str(out, "request_id");
    write_str(out, protocol_request_id(request_id, 0));
    template->request_id = out->size - 36;
    write_str(out, "payload");
    write_map(out, 1);
    write_str(out, "data");
    write_str(out, data);
}

static void append_pack(struct buffer *out, uint64_t number)
{
    static struct append_template template;
    char request_id[37];
    if (template.bytes.size == 0)
        template_make(&template);
    char *bytes = (char *)template.bytes.data;
    for (int i = 0; i < 4; i++)
        bytes[template.msgid + (size_t)i] = (char)(number >> (24 - 8 * i));
    put_decimal(bytes + template.subject_number, 3, number);
    memcpy(bytes + template.request_id, protocol_request_id(request_id, number), 36);
    buffer_append(out, bytes, template.bytes.size);
}

static size_t append_take(struct span in)
{
    struct reader reader = reader_of(in);
    uint32_t count;
    uint64_t type, msgid;
    struct span error, result;
    if (reader_array(&reader, &count) != STATUS_OK || reader_u64(&reader, &type) != STATUS_OK ||
        reader_u64(&reader, &msgid) != STATUS_OK || reader_any(&reader, &error) != STATUS_OK ||
        reader_any(&reader, &result) != STATUS_OK)
        return 0;
    if (count != 4 || type != 1)
        test_fail("the daemon sent what is no answer");
    if (error.data[0] != NIL) {
        char code[64], message[512];
        test_fail("the daemon refused: %s: %s", map_text(error, "code", code, sizeof code),
                  map_text(error, "message", message, sizeof message));
    }
    return in.size - reader.rest.size;
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

static struct {
    const char (*accessors)[REVOKED_TEXT_BYTES];
    size_t count, next;
} revoked;

void protocol_revoke_these(const char (*accessors)[REVOKED_TEXT_BYTES], size_t count)
{
    revoked.accessors = accessors;
    revoked.count = count;
    revoked.next = 0;
}

static void revoke_pack(struct buffer *out, uint64_t number)
{
    char request_id[37];
    if (revoked.next == revoked.count)
        test_fail("there are no more tokens to revoke");
    write_array(out, 4);
    write_u64(out, 0);
    write_u64(out, number & 0xffffffff);
    write_str(out, "token.revoke");
    write_array(out, 1);
    write_map(out, 2);
    write_str(out, "accessor");
    write_str(out, revoked.accessors[revoked.next++]);
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
const struct load_protocol protocol_token_revoke = { "tokend", revoke_pack, append_take };
const struct load_protocol protocol_redis_xadd = { "redis", xadd_pack, xadd_take };
