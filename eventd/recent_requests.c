/* An array and an open hash table of places in it, never more than half full; nothing is taken out
 * but all at once. */
#include "eventd/recent_requests.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"

enum { PLACES = 2 * RECENT_REQUESTS_MAX };
_Static_assert((PLACES & (PLACES - 1)) == 0, "a hash is cut to a place by its low bits");
_Static_assert(RECENT_REQUESTS_MAX <= UINT16_MAX, "an item's number fits into its place");

enum status recent_requests_init(struct recent_requests *recent)
{
    *recent = (struct recent_requests){ 0 };
    random_fill(recent->hash_key, sizeof recent->hash_key);
    recent->items = calloc(RECENT_REQUESTS_MAX, sizeof *recent->items);
    recent->places = calloc(PLACES, sizeof *recent->places);
    return recent->items == NULL || recent->places == NULL
               ? log_failure(STATUS_RESOURCE_EXHAUSTED, "allocate recent requests")
               : STATUS_OK;
}

void recent_requests_reset(struct recent_requests *recent)
{
    free(recent->items);
    free(recent->places);
    recent->items = NULL;
    recent->places = NULL;
    recent->count = 0;
}

/* The place of this id, or the free one where it belongs. Callers choose the ids: with a secret key
 * they cannot choose the places. */
static size_t place_of(const struct recent_requests *recent, const struct uuid *id)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, id->bytes, sizeof id->bytes, recent->hash_key);
    size_t place = hash % PLACES;
    while (recent->places[place] != 0 &&
           memcmp(recent->items[recent->places[place] - 1].id.bytes, id->bytes, UUID_BYTES) != 0)
        place = (place + 1) % PLACES;
    return place;
}

const struct recent_request *recent_requests_find(const struct recent_requests *recent,
                                                  const struct uuid *id)
{
    uint16_t number = recent->places[place_of(recent, id)];
    return number == 0 ? NULL : &recent->items[number - 1];
}

enum status recent_requests_add(struct recent_requests *recent,
                                const struct recent_request *request)
{
    if (recent->count == RECENT_REQUESTS_MAX)
        return STATUS_RESOURCE_EXHAUSTED;
    recent->items[recent->count] = *request;
    recent->places[place_of(recent, &request->id)] = (uint16_t)++recent->count;
    return STATUS_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const struct recent_request *left = a, *right = b;
    return memcmp(left->id.bytes, right->id.bytes, UUID_BYTES);
}

void recent_requests_sort(struct recent_requests *recent)
{
    qsort(recent->items, recent->count, sizeof *recent->items, compare_ids);
}

void recent_requests_clear(struct recent_requests *recent)
{
    recent->count = 0;
    memset(recent->places, 0, PLACES * sizeof *recent->places);
}
