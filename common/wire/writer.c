/* msgpack-c chooses the encodings; the buffer remembers when it is full. */
#include "common/wire/writer.h"

#include <msgpack/pack.h>

enum { FIXSTR = 0xa0, FIXSTR_BYTES_MAX = 31 };

static int append(void *data, const char *bytes, size_t size)
{
    return buffer_append(data, bytes, size) == STATUS_OK ? 0 : -1;
}

static msgpack_packer packer_of(struct buffer *buffer)
{
    return (msgpack_packer){ .data = buffer, .callback = append };
}

void write_nil(struct buffer *buffer)
{
    msgpack_packer packer = packer_of(buffer);
    msgpack_pack_nil(&packer);
}

void write_bool(struct buffer *buffer, bool value)
{
    msgpack_packer packer = packer_of(buffer);
    if (value)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

void write_u64(struct buffer *buffer, uint64_t value)
{
    msgpack_packer packer = packer_of(buffer);
    msgpack_pack_uint64(&packer, value);
}

void write_i64(struct buffer *buffer, int64_t value)
{
    msgpack_packer packer = packer_of(buffer);
    msgpack_pack_int64(&packer, value);
}

void write_f64(struct buffer *buffer, double value)
{
    msgpack_packer packer = packer_of(buffer);
    msgpack_pack_double(&packer, value);
}

void write_str(struct buffer *buffer, const char *text)
{
    write_text(buffer, text == NULL ? (struct span){ 0 } : span_of_text(text));
}

void write_text(struct buffer *buffer, struct span text)
{
    /* Nearly every key and name is short: its length stands in the type byte. */
    if (text.size <= FIXSTR_BYTES_MAX) {
        uint8_t *room = buffer_reserve(buffer, 1 + text.size);
        if (room == NULL)
            return;
        room[0] = (uint8_t)(FIXSTR | text.size);
        if (text.size > 0)
            memcpy(room + 1, text.data, text.size);
        buffer->size += 1 + text.size;
        return;
    }
    msgpack_packer packer = packer_of(buffer);
    if (msgpack_pack_str(&packer, text.size) == 0 && text.size > 0)
        msgpack_pack_str_body(&packer, text.data, text.size);
}

void write_bin(struct buffer *buffer, struct span bytes)
{
    msgpack_packer packer = packer_of(buffer);
    if (msgpack_pack_bin(&packer, bytes.size) == 0 && bytes.size > 0)
        msgpack_pack_bin_body(&packer, bytes.data, bytes.size);
}

void write_array(struct buffer *buffer, size_t count)
{
    msgpack_packer packer = packer_of(buffer);
    msgpack_pack_array(&packer, count);
}

void write_map(struct buffer *buffer, size_t count)
{
    msgpack_packer packer = packer_of(buffer);
    msgpack_pack_map(&packer, count);
}

void write_object(struct buffer *buffer, struct span object)
{
    buffer_append(buffer, object.data, object.size);
}

void write_key_str(struct buffer *buffer, const char *key, const char *text)
{
    write_str(buffer, key);
    write_str(buffer, text);
}

void write_key_u64(struct buffer *buffer, const char *key, uint64_t value)
{
    write_str(buffer, key);
    write_u64(buffer, value);
}

void write_key_bool(struct buffer *buffer, const char *key, bool value)
{
    write_str(buffer, key);
    write_bool(buffer, value);
}
