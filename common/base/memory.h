#ifndef SOLO_COMMON_BASE_MEMORY_H
#define SOLO_COMMON_BASE_MEMORY_H

#include <stddef.h>

/* Where buffers and arenas take their memory from when it is not the heap: locked, and wiped when
 * it is given back (common/secret). Whoever has a `memory` wipes what it forgets, too. */
struct memory {
    /* NULL when there is none left. */
    void *(*take)(struct memory *memory, size_t size);
    /* `size` as it was taken. */
    void (*give)(struct memory *memory, void *data, size_t size);
};

#endif
