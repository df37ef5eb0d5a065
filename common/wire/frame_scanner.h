#ifndef SOLO_COMMON_WIRE_FRAME_SCANNER_H
#define SOLO_COMMON_WIRE_FRAME_SCANNER_H

#include "common/base/limits.h"
#include "common/base/span.h"
#include "common/base/status.h"

/* Finds the end of one msgpack object in bytes that arrive piece by piece, allocating nothing and
 * looking at each byte once. A zeroed scanner is ready for the first byte of an object.
 *
 * Refuses (invalid_argument): depth over FRAME_DEPTH_MAX, ext types, the byte 0xc1, announced
 * element or byte counts that cannot fit into what is left of `bytes_max`. */
struct frame_scanner {
    size_t position;                   /* bytes looked at so far */
    size_t depth;                      /* open containers */
    uint64_t missing[FRAME_DEPTH_MAX]; /* elements that each still lacks */
};

/* `data` holds the object from its first byte on, and more with each call. *is_complete when the
 * object ends at scanner->position; otherwise call again when there is more. The first bytes may
 * not change between the calls; bytes_max may grow. */
enum status frame_scan(struct frame_scanner *scanner, struct span data, size_t bytes_max,
                       bool *is_complete, const char **rule);

/* The same for bytes that must be exactly one object. */
enum status frame_check(struct span data, size_t bytes_max, const char **rule);

#endif
