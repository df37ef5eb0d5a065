/* What a service said last, for the record of its exit. */
#include "tenantd/output_tail.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/name.h"

void output_tail_keep(struct output_tail *tail, struct span data)
{
    if (tail->bytes == NULL && (tail->bytes = malloc(EXIT_OUTPUT_BYTES_MAX)) == NULL)
        return;
    if (data.size > EXIT_OUTPUT_BYTES_MAX)
        data = span_of(data.data + data.size - EXIT_OUTPUT_BYTES_MAX, EXIT_OUTPUT_BYTES_MAX);
    size_t excess = tail->size + data.size > EXIT_OUTPUT_BYTES_MAX
                        ? tail->size + data.size - EXIT_OUTPUT_BYTES_MAX
                        : 0;
    memmove(tail->bytes, tail->bytes + excess, tail->size - excess);
    memcpy(tail->bytes + tail->size - excess, data.data, data.size);
    tail->size = (uint32_t)(tail->size - excess + data.size);
}

void output_tail_reset(struct output_tail *tail)
{
    free(tail->bytes);
    *tail = (struct output_tail){ 0 };
}

/* The bytes of a valid UTF-8 sequence that begins here, 0 for none. */
static size_t sequence_bytes(const uint8_t *data, size_t size)
{
    for (size_t length = 1; length <= 4 && length <= size; length++)
        if (utf8_is_valid(span_of(data, length)))
            return length;
    return 0;
}

char *output_tail_text(const struct output_tail *tail, char text[EXIT_OUTPUT_BYTES_MAX + 1])
{
    size_t used = 0;
    for (size_t at = 0; at < tail->size;) {
        const uint8_t *byte = tail->bytes + at;
        size_t length = sequence_bytes(byte, tail->size - at);
        bool is_control = (*byte < ' ' && *byte != '\n' && *byte != '\t') || *byte == 0x7f;
        if (length == 0 || is_control) {
            text[used++] = '?';
            at++;
            continue;
        }
        memcpy(text + used, byte, length);
        used += length;
        at += length;
    }
    text[used] = '\0';
    return text;
}
