#ifndef SOLO_EVENTD_RECENT_REQUESTS_H
#define SOLO_EVENTD_RECENT_REQUESTS_H

#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/uuid.h"

/* Outcomes of requests that are not in the table of requests yet. The first event of each has in
 * its record what stands here, so that nothing is lost with the process. */

enum { RECENT_REQUESTS_MAX = LATE_EVENTS_MAX };

struct recent_request {
    struct uuid id;
    struct hash body_hash;
    uint64_t first_id;
    uint32_t count; /* of its events */
};

struct recent_requests {
    struct recent_request *items; /* in the order in which they came */
    size_t count;
    uint16_t *places; /* by the hash of the id: the item's number, from 1 */
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
};

enum status recent_requests_init(struct recent_requests *recent);
void recent_requests_reset(struct recent_requests *recent);

/* NULL: not here. */
const struct recent_request *recent_requests_find(const struct recent_requests *recent,
                                                  const struct uuid *id);
/* Of an id that is not here. resource_exhausted (not logged): there is no room for more. */
enum status recent_requests_add(struct recent_requests *recent,
                                const struct recent_request *request);
/* By their ids, for who writes all of them: then recent_requests_clear comes next. */
void recent_requests_sort(struct recent_requests *recent);
void recent_requests_clear(struct recent_requests *recent);

#endif
