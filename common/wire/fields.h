#ifndef SOLO_COMMON_WIRE_FIELDS_H
#define SOLO_COMMON_WIRE_FIELDS_H

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/problem.h"
#include "common/base/span.h"

/* A struct and the msgpack map it travels as, described by one table. Requests, replies and rows of
 * every store are read and written through these tables; common/api makes them from its .def files.
 *
 *   kind       C type            bound
 *   bool       bool              -
 *   u64        uint64_t          greatest value, 0 for any
 *   i64        int64_t           greatest absolute value, 0 for any
 *   str        const char *      most bytes; UTF-8 without NUL inside, ended by NUL in memory
 *   name       const char *      (NAME_PATTERN)
 *   secret     const char *      (SECRET_NAME_PATTERN)
 *   bytes      struct span       most bytes
 *   hash       struct hash       exactly 32 bytes; all zero in memory when absent
 *   str_list   struct str_list   most elements
 *   map, list  struct span       most bytes; one map, one array, checked by the scanner, not read
 *
 * An optional field that is absent is zero: "", as str and name never become NULL by decoding.
 * A required str may be empty, a required name may not. When writing, optional fields that are zero
 * (and maps and lists without bytes) are left out.
 *
 * A table holds no offsets: the members stand in the struct in the table's order, so each place
 * follows from the kinds before it (a .def row cannot name the struct it belongs to). struct_bytes
 * is compared with the place after the last member, padded, each time a table is used. */
enum field_kind {
    FIELD_bool,
    FIELD_u64,
    FIELD_i64,
    FIELD_str,
    FIELD_name,
    FIELD_secret,
    FIELD_bytes,
    FIELD_hash,
    FIELD_str_list,
    FIELD_map,
    FIELD_list,
};

struct field {
    const char *name;
    enum field_kind kind;
    bool is_required;
    uint64_t bound;
    const char *meaning;
};

/* What one table may describe. */
enum { FIELDS_MAX = 64, FIELDS_STRUCT_BYTES_MAX = 2048 };

struct field_table {
    const char *name;
    const struct field *fields;
    size_t count;
    size_t struct_bytes;
    /* What an answer consists of may come from a newer program: keys that are not in the table are
     * passed over. A request is refused instead: what it asks for must not be half understood. */
    bool is_open;
};

const char *field_kind_name(enum field_kind kind);

/* Reads `map` into the zeroed struct at `out`. Refuses unknown keys (unless the table is open),
 * duplicate keys, wrong types and what is out of bounds, with the key in problem->field. Strings
 * and lists are copied into the arena; bytes, maps and lists point into `map`. `out` is complete or
 * untouched. */
enum status fields_decode(const struct field_table *table, struct span map, struct arena *arena,
                          void *out, struct problem *problem);

/* The member of a decoded struct that a field of kind `name`, `secret` or `str` is read into; NULL
 * when the table has no such field. */
const char **fields_text(const struct field_table *table, void *decoded, const char *name);

/* Writes the struct as a map, keys in the table's order. Check buffer->is_exhausted at the end. */
void fields_encode(const struct field_table *table, const void *in, struct buffer *buffer);

#endif
