#include "common/outbox/outbox_state.h"

#include "common/base/auto.h"
#include "common/base/ensure.h"

bool outbox_is_older(const struct outbox *outbox)
{
    return outbox->is_older;
}

bool outbox_has_siblings(const struct outbox *outbox)
{
    return outbox->siblings_id > 0;
}

uint64_t outbox_newer_sibling(const struct outbox *outbox)
{
    return outbox->siblings_id > outbox->newest_id ? outbox->siblings_id : 0;
}

bool outbox_is_foreign(const struct outbox *outbox)
{
    return outbox->is_foreign;
}

enum outbox_state outbox_state(const struct outbox *outbox)
{
    if (outbox_waiting(outbox) == 0)
        return OUTBOX_EMPTY;
    if (outbox->problem_state != OUTBOX_EMPTY)
        return outbox->problem_state;
    bool is_on_its_way =
        outbox->is_connected && outbox->question == OUTBOX_RELEASED && !outbox->witness.is_refused;
    return is_on_its_way ? OUTBOX_SENDING : OUTBOX_WAITING;
}

bool outbox_is_settled(const struct outbox *outbox)
{
    bool is_flushing = ev_is_active(&outbox->flush) && outbox_waiting(outbox) > 0 &&
                       outbox->problem_state == OUTBOX_EMPTY;
    return outbox_state(outbox) != OUTBOX_SENDING && !is_flushing;
}

const char *outbox_state_name(enum outbox_state state)
{
    static const char *const names[] = {
        [OUTBOX_EMPTY] = "empty",
        [OUTBOX_SENDING] = "sending",
        [OUTBOX_WAITING] = "waiting",
        [OUTBOX_REFUSED] = "refused",
    };
    ensure((unsigned)state < COUNT_OF(names));
    return names[state];
}
