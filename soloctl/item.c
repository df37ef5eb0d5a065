/* Key by key into a buffer; the count is written in front at the end. */
#include "soloctl/item.h"

#include "common/base/clock.h"
#include "common/wire/writer.h"

static struct buffer *begin(struct item *item, const char *key)
{
    item->count++;
    write_str(&item->body, key);
    return &item->body;
}

void item_text(struct item *item, const char *key, const char *text)
{
    write_str(begin(item, key), text);
}

void item_text_or_null(struct item *item, const char *key, const char *text)
{
    if (text == NULL || text[0] == '\0')
        item_null(item, key);
    else
        item_text(item, key, text);
}

void item_number(struct item *item, const char *key, uint64_t number)
{
    write_u64(begin(item, key), number);
}

void item_number_or_null(struct item *item, const char *key, uint64_t number)
{
    if (number == 0)
        item_null(item, key);
    else
        item_number(item, key, number);
}

void item_signed(struct item *item, const char *key, int64_t number)
{
    write_i64(begin(item, key), number);
}

void item_bool(struct item *item, const char *key, bool flag)
{
    write_bool(begin(item, key), flag);
}

void item_null(struct item *item, const char *key)
{
    write_nil(begin(item, key));
}

void item_time(struct item *item, const char *key, uint64_t wall_ns)
{
    char text[TIME_TEXT_BYTES];
    item_text_or_null(item, key, wall_ns == 0 ? "" : time_text(text, wall_ns));
}

void item_hash(struct item *item, const char *key, const struct hash *hash)
{
    char text[HASH_TEXT_BYTES];
    bool is_zero = hash_is_zero(hash);
    item_text_or_null(item, key, is_zero ? "" : hex_text(text, hash->bytes, HASH_BYTES));
}

void item_object(struct item *item, const char *key, struct span object)
{
    if (object.size == 0)
        item_null(item, key);
    else
        write_object(begin(item, key), object);
}

void item_item(struct item *item, const char *key, const struct item *inner)
{
    item_pack(inner, begin(item, key));
}

void item_pack(const struct item *item, struct buffer *packed)
{
    write_map(packed, item->count);
    write_object(packed, buffer_span(&item->body));
}

void item_clear(struct item *item)
{
    buffer_clear(&item->body);
    item->count = 0;
}

void item_close(struct item *item)
{
    buffer_close(&item->body);
    item->count = 0;
}
