/* The request ids are of this moment, drawn anew each time. */
#include "tests/support/secret_fill.h"

#include <stdio.h>

#include "common/base/uuid.h"
#include "common/wire/writer.h"
#include "tests/support/caller.h"
#include "tests/support/command.h"

enum { BATCH = 200, ANSWER_MS_MAX = 60000 };

static void write_put(struct buffer *frames, uint64_t tenants, uint64_t number)
{
    static const uint8_t value[SECRET_FILL_BYTES] = SECRET_FILL_VALUE;
    char tenant[32], name[32], request_id[UUID_TEXT_BYTES];
    struct uuid uuid = uuid_draw();
    snprintf(tenant, sizeof tenant, "t%llu", (unsigned long long)(number % tenants));
    snprintf(name, sizeof name, "s%llu", (unsigned long long)(number / tenants));
    write_array(frames, 4);
    write_u64(frames, 0);
    write_u64(frames, number & 0xffffffff);
    write_str(frames, "secret.put");
    write_array(frames, 1);
    write_map(frames, 4);
    write_str(frames, "tenant");
    write_str(frames, tenant);
    write_str(frames, "name");
    write_str(frames, name);
    write_str(frames, "value");
    write_bin(frames, span_of(value, sizeof value));
    write_str(frames, "request_id");
    write_str(frames, uuid_text(request_id, &uuid));
}

void secret_fill(const struct testbed *bed, uint64_t tenants, uint64_t count)
{
    char path[4096];
    struct caller caller;
    testbed_socket(bed, "vaultd", path);
    if (caller_open(&caller, path) != STATUS_OK)
        test_fail("cannot connect to %s", path);
    for (uint64_t sent = 0, answered = 0; answered < count;) {
        struct buffer frames = { .limit = 1 << 20 };
        for (int i = 0; i < BATCH && sent < count; i++)
            write_put(&frames, tenants, sent++);
        if (!caller_send(&caller, buffer_span(&frames)))
            test_fail("vaultd has closed the connection");
        buffer_close(&frames);
        for (; answered < sent; answered++) {
            json_t *answer = caller_receive(&caller, ANSWER_MS_MAX, NULL);
            if (!json_is_null(json_array_get(answer, 2)))
                test_fail("%s", json_dumps(answer, 0));
            json_decref(answer);
        }
    }
    caller_close(&caller);
}
