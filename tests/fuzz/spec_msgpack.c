/* A packed spec of any bytes: refused with a reason that can be shown, or complete; and its
 * canonical form is read back to the same bytes. The same bytes as any object are shown as JSON. */
#include <stdint.h>

#include "common/base/ensure.h"
#include "common/spec/spec_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_canonical(const struct spec *spec, struct arena *arena)
{
    struct buffer first = { .limit = SPEC_BYTES_MAX }, second = { .limit = SPEC_BYTES_MAX };
    struct spec again;
    struct problem problem = { 0 };
    struct str_list command;
    ensure(spec_encode(spec, &first) == STATUS_OK);
    ensure(spec_decode(buffer_span(&first), arena, &again, &problem) == STATUS_OK);
    ensure(spec_encode(&again, &second) == STATUS_OK);
    ensure(span_equal(buffer_span(&first), buffer_span(&second)));
    ensure(spec_program(spec)[0] != '\0');
    ensure(spec_path(spec) != NULL);
    if (spec_command(spec, &(struct spec_files){ "/run/code", "/run/out" }, arena, &command) ==
        STATUS_OK)
        ensure(command.count > 0 && command.items[command.count] == NULL);
    buffer_close(&first);
    buffer_close(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = { .limit = 16 << 20 };
    struct buffer text = { .limit = 16 << 20 };
    struct problem problem = { 0 };
    struct spec spec;
    enum status status = spec_decode(span_of(data, size), &arena, &spec, &problem);
    if (status == STATUS_OK) {
        check_canonical(&spec, &arena);
    } else {
        ensure(problem.code == status);
        ensure(problem.message[0] != '\0');
        ensure(utf8_is_valid(span_of_text(problem.field)));
        ensure(utf8_is_valid(span_of_text(problem.message)));
    }
    if (json_from_wire(span_of(data, size), &text) == STATUS_OK)
        ensure(utf8_is_valid(buffer_span(&text)));
    buffer_close(&text);
    arena_close(&arena);
    return 0;
}
