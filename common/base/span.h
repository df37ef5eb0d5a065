#ifndef SOLO_COMMON_BASE_SPAN_H
#define SOLO_COMMON_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that somebody else owns. A zeroed span is "nothing". */
struct span {
    const uint8_t *data;
    size_t size;
};

static inline struct span span_of(const void *data, size_t size)
{
    return (struct span){ data, size };
}

static inline struct span span_of_text(const char *text)
{
    return (struct span){ (const uint8_t *)text, strlen(text) };
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* A list of texts, each ended by NUL. */
struct str_list {
    const char *const *items;
    size_t count;
};

#endif
