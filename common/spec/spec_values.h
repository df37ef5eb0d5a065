#ifndef SOLO_COMMON_SPEC_SPEC_VALUES_H
#define SOLO_COMMON_SPEC_SPEC_VALUES_H

#include "common/base/arena.h"
#include "common/base/problem.h"
#include "common/spec/printable.h"
#include "common/wire/reader.h"

/* Single values of a spec, each read with its rule and refused with its place. Internal to
 * common/spec. */
struct spec_values {
    struct arena *arena;
    struct problem *problem;
    size_t text_bytes; /* of all texts so far: bounds the canonical form */
};

/* The place of a value: "restart", "argv[3]", "env.PATH". */
enum { PLACE_BYTES = 96 };
char *place_join(char place[PLACE_BYTES], const char *outer, const char *key);
char *place_index(char place[PLACE_BYTES], const char *outer, size_t index);

/* One key of a map: its name, and what reads its value to `out`. */
struct spec_key {
    const char *name;
    enum status (*read)(struct spec_values *values, struct reader *reader, const char *place,
                        void *out);
};
enum { SPEC_KEYS_MAX = 32 };

/* Reads a map by its keys. Unknown keys (with the nearest known one, when it is a typo away) and
 * duplicates are refused at outer.KEY; `outer` is "" for the spec itself. */
enum status value_map(struct spec_values *values, struct reader *reader, const char *outer,
                      const struct spec_key *keys, size_t count, void *out);

/* UTF-8 without NUL of at most `most` bytes, copied and ended by NUL. */
enum status value_text(struct spec_values *values, struct reader *reader, const char *place,
                       size_t most, const char **text);
/* The same, not copied. */
enum status value_text_in_place(struct spec_values *values, struct reader *reader,
                                const char *place, size_t most, struct span *text);
enum status value_text_list(struct spec_values *values, struct reader *reader, const char *place,
                            struct str_list *list);
enum status value_count(struct spec_values *values, struct reader *reader, const char *place,
                        uint64_t least, uint64_t most, uint64_t *count);
/* "5s", or milliseconds. */
enum status value_duration(struct spec_values *values, struct reader *reader, const char *place,
                           uint64_t least_ms, uint64_t most_ms, uint64_t *milliseconds);
/* "10MiB", or bytes. */
enum status value_size(struct spec_values *values, struct reader *reader, const char *place,
                       uint64_t least, uint64_t most, uint64_t *bytes);

/* invalid_argument: `place` must be WANTED, and what stands there. */
enum status value_refuse_type(struct spec_values *values, const struct reader *reader,
                              const char *place, const char *wanted);

#endif
