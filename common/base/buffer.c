/* Grows by doubling up to the bound; running out of memory is treated like the bound. One byte more
 * than the capacity is allocated: for the NUL that vsnprintf puts behind text that fills it
 * exactly. realloc(3) would leave the old bytes behind, so memory that is wiped is moved by hand.
 */
#include "common/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { CAPACITY_FIRST = 256 };

/* Moves the content to `capacity` bytes; NULL leaves everything as it was. */
static uint8_t *resize(struct buffer *buffer, size_t capacity)
{
    struct memory *memory = buffer->memory;
    uint8_t *data =
        memory == NULL ? realloc(buffer->data, capacity + 1) : memory->take(memory, capacity + 1);
    if (data == NULL)
        return NULL;
    if (memory != NULL && buffer->data != NULL) {
        memcpy(data, buffer->data, buffer->size);
        memory->give(memory, buffer->data, buffer->capacity + 1);
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return data;
}

static void wipe(struct buffer *buffer, size_t from, size_t to)
{
    if (buffer->memory != NULL && from < to)
        sodium_memzero(buffer->data + from, to - from);
}

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
    if (resize(buffer, capacity) == NULL) {
        buffer->is_exhausted = true;
        return NULL;
    }
    return buffer->data + buffer->size;
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
    wipe(buffer, buffer->size, buffer->size + size);
}

void buffer_cut(struct buffer *buffer, size_t size)
{
    wipe(buffer, size, buffer->size);
    buffer->size = size;
}

void buffer_clear(struct buffer *buffer)
{
    wipe(buffer, 0, buffer->size);
    buffer->size = 0;
    buffer->is_exhausted = false;
}

void buffer_shrink(struct buffer *buffer, size_t keep)
{
    if (buffer->size > keep || buffer->capacity <= keep)
        return;
    /* Memory that was mapped once stays so however small it is made, and is mapped anew for
     * whatever comes next: nothing kept is nothing held. */
    if (keep == 0)
        buffer_close(buffer);
    else
        resize(buffer, keep);
}

void buffer_close(struct buffer *buffer)
{
    if (buffer->memory == NULL)
        free(buffer->data);
    else if (buffer->data != NULL)
        buffer->memory->give(buffer->memory, buffer->data, buffer->capacity + 1);
    *buffer = (struct buffer){ .limit = buffer->limit, .memory = buffer->memory };
}
