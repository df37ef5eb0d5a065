/* JSON of any bytes, from the text to the stored spec: refused with a reason, or packed; and what
 * was packed, shown as JSON and read again, is packed to the same bytes. A spec that is accepted is
 * stored in a form that is read back to the same bytes, and thus has one hash. */
#include <stdint.h>

#include "common/base/ensure.h"
#include "common/spec/spec_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void store(const struct spec *spec)
{
    struct buffer stored = { .limit = SPEC_BYTES_MAX }, again = { .limit = SPEC_BYTES_MAX };
    struct arena arena = { .limit = 16 << 20 };
    struct problem problem = { 0 };
    struct spec read;
    if (spec_encode(spec, &stored) == STATUS_OK) {
        ensure(spec_decode(buffer_span(&stored), &arena, &read, &problem) == STATUS_OK);
        ensure(spec_encode(&read, &again) == STATUS_OK);
        ensure(span_equal(buffer_span(&stored), buffer_span(&again)));
    }
    arena_close(&arena);
    buffer_close(&stored);
    buffer_close(&again);
}

static enum status take(void *context, struct span map, const char *place, struct problem *problem)
{
    size_t *count = context;
    struct arena arena = { .limit = 16 << 20 };
    struct spec spec;
    ensure(place != NULL);
    if (spec_decode(map, &arena, &spec, problem) == STATUS_OK)
        store(&spec);
    else
        ensure(problem->message[0] != '\0');
    arena_close(&arena);
    ++*count;
    return STATUS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer map = { .limit = SPEC_BYTES_MAX }, again = { .limit = SPEC_BYTES_MAX };
    struct buffer text = { .limit = 16 << 20 };
    struct problem problem = { 0 };
    size_t count = 0;
    if (spec_from_json(span_of(data, size), &map, &problem) == STATUS_OK) {
        ensure(json_from_wire(buffer_span(&map), &text) == STATUS_OK);
        ensure(spec_from_json(buffer_span(&text), &again, &problem) == STATUS_OK);
        ensure(span_equal(buffer_span(&map), buffer_span(&again)));
    } else {
        ensure(problem.message[0] != '\0');
        ensure(utf8_is_valid(span_of_text(problem.message)));
    }
    (void)specs_from_json(span_of(data, size), take, &count, &problem);
    ensure(count <= size);
    buffer_close(&map);
    buffer_close(&again);
    buffer_close(&text);
    return 0;
}
