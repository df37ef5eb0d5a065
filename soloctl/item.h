#ifndef SOLO_SOLOCTL_ITEM_H
#define SOLO_SOLOCTL_ITEM_H

#include "common/base/buffer.h"
#include "common/base/hash.h"

/* One JSON document under construction, kept as a packed map: one renderer (json_from_wire) then
 * writes whatever soloctl prints as JSON. Starts as { .body = { .limit = ITEM_BYTES_MAX } }. */
enum { ITEM_BYTES_MAX = 64 * 1024 * 1024 };

struct item {
    struct buffer body; /* keys and values */
    size_t count;
};
#define ITEM_EMPTY                                                                                 \
    {                                                                                              \
        .body = {.limit = ITEM_BYTES_MAX }                                                         \
    }

void item_text(struct item *item, const char *key, const char *text);
void item_text_or_null(struct item *item, const char *key, const char *text); /* "" is null */
void item_number(struct item *item, const char *key, uint64_t number);
void item_number_or_null(struct item *item, const char *key, uint64_t number); /* 0 is null */
void item_signed(struct item *item, const char *key, int64_t number);
void item_bool(struct item *item, const char *key, bool flag);
void item_null(struct item *item, const char *key);
/* RFC 3339 in UTC; 0 is null. */
void item_time(struct item *item, const char *key, uint64_t wall_ns);
/* Hexadecimal; all zero is null. */
void item_hash(struct item *item, const char *key, const struct hash *hash);
/* A packed object; null when there are no bytes. */
void item_object(struct item *item, const char *key, struct span object);
void item_item(struct item *item, const char *key, const struct item *inner);

/* Appends the map to `packed`. */
void item_pack(const struct item *item, struct buffer *packed);
void item_clear(struct item *item);
void item_close(struct item *item);

#endif
