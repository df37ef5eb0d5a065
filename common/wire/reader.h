#ifndef SOLO_COMMON_WIRE_READER_H
#define SOLO_COMMON_WIRE_READER_H

#include "common/base/span.h"
#include "common/base/status.h"

/* Walks msgpack that frame_check has accepted, without copying: a cursor. Each function consumes
 * one object, or returns invalid_argument and consumes nothing. It is memory-safe on any bytes. */
struct reader {
    struct span rest;
};

enum wire_type {
    WIRE_NIL,
    WIRE_BOOL,
    WIRE_INTEGER,
    WIRE_FLOAT,
    WIRE_STR,
    WIRE_BIN,
    WIRE_ARRAY,
    WIRE_MAP,
    WIRE_NONE
};

static inline struct reader reader_of(struct span data)
{
    return (struct reader){ data };
}

/* What comes next; WIRE_NONE at the end or on a byte that begins nothing. */
enum wire_type reader_peek(const struct reader *reader);

enum status reader_nil(struct reader *reader);
enum status reader_bool(struct reader *reader, bool *value);
enum status reader_u64(struct reader *reader, uint64_t *value);
enum status reader_i64(struct reader *reader, int64_t *value);
enum status reader_f64(struct reader *reader, double *value);
enum status reader_str(struct reader *reader, struct span *text);
enum status reader_bin(struct reader *reader, struct span *bytes);
enum status reader_array(struct reader *reader, uint32_t *count);
enum status reader_map(struct reader *reader, uint32_t *count);

/* Any one object, whole. */
enum status reader_any(struct reader *reader, struct span *object);

/* The value of a text key in a map; not_found when it has none. */
enum status map_find(struct span map, const char *key, struct reader *value);
/* Of the right type, or `otherwise`. Text is copied and cut to `size`, always ended by NUL. */
uint64_t map_u64(struct span map, const char *key, uint64_t otherwise);
bool map_bool(struct span map, const char *key, bool otherwise);
char *map_text(struct span map, const char *key, char *text, size_t size);

#endif
