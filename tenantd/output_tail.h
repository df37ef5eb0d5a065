#ifndef SOLO_TENANTD_OUTPUT_TAIL_H
#define SOLO_TENANTD_OUTPUT_TAIL_H

#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/span.h"

/* The last EXIT_OUTPUT_BYTES_MAX bytes that an instance printed, oldest first. Zeroed is empty. */
struct output_tail {
    uint8_t *bytes; /* NULL until something was printed */
    uint32_t size;
};

/* Without memory nothing is kept. */
void output_tail_keep(struct output_tail *tail, struct span data);
void output_tail_reset(struct output_tail *tail);

/* As valid UTF-8 without control characters (newline and tab stay); `text`, terminated. */
char *output_tail_text(const struct output_tail *tail, char text[EXIT_OUTPUT_BYTES_MAX + 1]);

#endif
