/* A handle is serial and slot; the msgid is its lower 32 bits, so both lead to the slot at once and
 * a late answer to an older call of the same slot is not taken for the newer one's. */
#include "common/rpc/pending.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/base/file.h"
#include "common/base/limits.h"

enum { SLOT_BITS = 14, SLOTS_FIRST = 16 };
_Static_assert(CLIENT_PENDING_MAX == 1 << SLOT_BITS, "a slot fits into its bits");

static enum status grow(struct pending *pending)
{
    size_t capacity = pending->capacity == 0 ? SLOTS_FIRST : 2 * pending->capacity;
    struct pending_call **slots = realloc(pending->slots, capacity * sizeof(struct pending_call *));
    if (slots == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    pending->slots = slots;
    uint16_t *free_slots = realloc(pending->free_slots, capacity * sizeof *free_slots);
    if (free_slots == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    pending->free_slots = free_slots;
    /* All of the old ones are in use, so the stack of free ones is empty: it holds the new ones. */
    for (size_t i = pending->capacity; i < capacity; i++) {
        slots[i] = NULL;
        free_slots[i - pending->capacity] = (uint16_t)(capacity + pending->capacity - 1 - i);
    }
    pending->capacity = capacity;
    return STATUS_OK;
}

enum status pending_add(struct pending *pending, struct pending_call **call)
{
    if (pending->count == CLIENT_PENDING_MAX)
        return STATUS_RESOURCE_EXHAUSTED;
    if (pending->count == pending->capacity)
        TRY(grow(pending));
    struct pending_call *added = calloc(1, sizeof *added);
    if (added == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    uint16_t slot = pending->free_slots[pending->capacity - pending->count - 1];
    /* Msgid 0 speaks of the connection and the last one is daemon.hello's. */
    do {
        pending->serial++;
        added->handle = pending->serial << SLOT_BITS | slot;
        added->msgid = (uint32_t)added->handle;
    } while (added->msgid == 0 || added->msgid == UINT32_MAX);
    pending->slots[slot] = added;
    pending->count++;
    DL_APPEND2(pending->first, added, previous, next);
    added->is_queued = true;
    added->file = -1;
    if (pending->queued == NULL)
        pending->queued = added;
    *call = added;
    return STATUS_OK;
}

uint64_t pending_serial(uint64_t handle)
{
    return handle >> SLOT_BITS;
}

static struct pending_call *in_slot(const struct pending *pending, uint64_t number)
{
    size_t slot = number & (CLIENT_PENDING_MAX - 1);
    return slot < pending->capacity ? pending->slots[slot] : NULL;
}

struct pending_call *pending_find(const struct pending *pending, uint64_t msgid)
{
    struct pending_call *call = in_slot(pending, msgid);
    return call != NULL && call->msgid == msgid ? call : NULL;
}

struct pending_call *pending_find_handle(const struct pending *pending, uint64_t handle)
{
    struct pending_call *call = in_slot(pending, handle);
    return call != NULL && call->handle == handle ? call : NULL;
}

void pending_take(struct pending *pending, struct pending_call *call)
{
    uint16_t slot = call->handle & (CLIENT_PENDING_MAX - 1);
    pending->slots[slot] = NULL;
    pending->count--;
    pending->free_slots[pending->capacity - pending->count - 1] = slot;
    if (pending->queued == call)
        pending->queued = call->next;
    DL_DELETE2(pending->first, call, previous, next);
}

void pending_free(struct pending_call *call)
{
    buffer_close(&call->frame);
    fd_close(&call->file);
    free(call);
}

void pending_close(struct pending *pending)
{
    while (pending->first != NULL) {
        struct pending_call *call = pending->first;
        pending_take(pending, call);
        pending_free(call);
    }
    free(pending->slots);
    free(pending->free_slots);
    *pending = (struct pending){ 0 };
}
