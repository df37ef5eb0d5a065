/* A ring: the oldest one is forgotten. */
#include "deployd/restarts.h"

#include <string.h>

static struct {
    struct uuid request_id;
    struct hash body_hash;
} ring[RESTARTS_KEPT];
static unsigned noted;

enum status restarts_find(struct operation *operation, bool *is_done)
{
    *is_done = false;
    if (!operation->has_request_id)
        return STATUS_OK;
    unsigned count = noted < RESTARTS_KEPT ? noted : RESTARTS_KEPT;
    for (unsigned i = 0; i < count; i++) {
        if (memcmp(ring[i].request_id.bytes, operation->request_id.bytes, UUID_BYTES) != 0)
            continue;
        if (!hash_equal(&ring[i].body_hash, &operation->body_hash))
            return problem_set(&operation->problem, STATUS_ABORTED, "request_id",
                               "was used for another request");
        *is_done = true;
        return STATUS_OK;
    }
    return STATUS_OK;
}

void restarts_note(const struct operation *operation)
{
    if (!operation->has_request_id)
        return;
    ring[noted % RESTARTS_KEPT].request_id = operation->request_id;
    ring[noted % RESTARTS_KEPT].body_hash = operation->body_hash;
    noted++;
}
