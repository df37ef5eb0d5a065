/* The request tables of every method on any bytes: refused with a reason, or complete; and what was
 * decoded is written and read back the same. The first byte chooses the table. */
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#include "common/api/api.h"
#include "common/base/ensure.h"
#include "common/base/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_texts(const struct field_table *table, const struct problem *problem)
{
    ensure(table != NULL);
    ensure(problem->message[0] != '\0');
    ensure(problem->code != STATUS_OK);
    ensure(utf8_is_valid(span_of_text(problem->field)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    alignas(max_align_t) char first[FIELDS_STRUCT_BYTES_MAX] = { 0 };
    alignas(max_align_t) char second[FIELDS_STRUCT_BYTES_MAX] = { 0 };
    size_t methods = 0;
    while (all_methods[methods] != NULL)
        methods++;
    if (size == 0)
        return 0;
    const struct field_table *table = all_methods[data[0] % methods]->request;
    struct arena arena = { .limit = 1 << 20 };
    struct problem problem = { 0 };
    enum status status = fields_decode(table, span_of(data + 1, size - 1), &arena, first, &problem);
    if (status == STATUS_OK) {
        struct buffer once = { .limit = 4 << 20 }, twice = { .limit = 4 << 20 };
        fields_encode(table, first, &once);
        ensure(!once.is_exhausted);
        /* A required map of no bytes cannot be: it was read from one at least. */
        ensure(fields_decode(table, buffer_span(&once), &arena, second, &problem) == STATUS_OK);
        fields_encode(table, second, &twice);
        ensure(span_equal(buffer_span(&once), buffer_span(&twice)));
        buffer_close(&once);
        buffer_close(&twice);
    } else {
        static const char untouched[FIELDS_STRUCT_BYTES_MAX];
        check_texts(table, &problem);
        ensure(memcmp(first, untouched, table->struct_bytes) == 0);
    }
    arena_close(&arena);
    return 0;
}
