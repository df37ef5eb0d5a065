#ifndef SOLO_COMMON_WIRE_WRITER_H
#define SOLO_COMMON_WIRE_WRITER_H

#include "common/base/buffer.h"

/* Packs msgpack into a buffer by way of msgpack-c, always in the shortest encoding. A buffer that
 * overflows remembers it: check buffer->is_exhausted once, at the end. */
void write_nil(struct buffer *buffer);
void write_bool(struct buffer *buffer, bool value);
void write_u64(struct buffer *buffer, uint64_t value);
void write_i64(struct buffer *buffer, int64_t value);
void write_f64(struct buffer *buffer, double value);
void write_str(struct buffer *buffer, const char *text); /* NULL is written as "" */
void write_text(struct buffer *buffer, struct span text);
void write_bin(struct buffer *buffer, struct span bytes);
void write_array(struct buffer *buffer, size_t count);
void write_map(struct buffer *buffer, size_t count);
/* An object that is already packed. */
void write_object(struct buffer *buffer, struct span object);

/* A key of a map and what stands there. */
void write_key_str(struct buffer *buffer, const char *key, const char *text);
void write_key_u64(struct buffer *buffer, const char *key, uint64_t value);
void write_key_bool(struct buffer *buffer, const char *key, bool value);

#endif
