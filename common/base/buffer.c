/* Grows by doubling up to the bound; running out of memory is treated like the bound. One byte more
 * than the capacity is allocated: for the NUL that vsnprintf puts behind text that fills it
 * exactly. */
#include "common/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 256 };

uint8_t *buffer_grow(struct buffer *buffer, size_t size)
{
    if (size > buffer->limit - buffer->size) {
        buffer->is_exhausted = true;
        return NULL;
    }
    size_t capacity = buffer->capacity < CAPACITY_FIRST ? CAPACITY_FIRST : buffer->capacity;
    while (capacity - buffer->size < size)
        capacity *= 2;
    if (capacity > buffer->limit)
        capacity = buffer->limit;
    uint8_t *data = realloc(buffer->data, capacity + 1);
    if (data == NULL) {
        buffer->is_exhausted = true;
        return NULL;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return data + buffer->size;
}

enum status buffer_append_text(struct buffer *buffer, const char *text)
{
    return buffer_append(buffer, text, strlen(text));
}

enum status buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *room = (char *)buffer_reserve(buffer, (size_t)length);
    if (room != NULL) {
        vsnprintf(room, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
    return room == NULL ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    buffer->size -= size;
    if (size > 0 && buffer->size > 0)
        memmove(buffer->data, buffer->data + size, buffer->size);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->is_exhausted = false;
}

void buffer_shrink(struct buffer *buffer, size_t keep)
{
    if (buffer->size > keep || buffer->capacity <= keep)
        return;
    uint8_t *data = realloc(buffer->data, keep + 1);
    if (data == NULL)
        return;
    buffer->data = data;
    buffer->capacity = keep;
}

void buffer_close(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){ .limit = buffer->limit };
}
