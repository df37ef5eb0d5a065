#ifndef SOLO_COMMON_BASE_AUTO_H
#define SOLO_COMMON_BASE_AUTO_H

/* AUTO(thing_close) struct thing thing = { 0 }; closes it at the end of the block. Every closer
 * takes a pointer to the variable and accepts a zeroed or half-opened one. */
#define AUTO(closer) __attribute__((cleanup(closer)))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The struct that a member lies in. */
#define OWNER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#endif
