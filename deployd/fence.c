/* `since` only grows for as long as a log is what it was. */
#include "deployd/fence.h"

static enum fence judge_start(const struct fence_case *fence)
{
    const struct live_row *wanted = fence->wanted;
    if (wanted->generation == 0 || wanted->since > fence->since)
        return FENCE_OVERTAKEN;
    if (wanted->since < fence->since)
        return FENCE_LOG_WENT_BACK; /* it was read from the log before */
    if (wanted->generation != fence->generation)
        return FENCE_OVERTAKEN;
    if (!fence->is_refused)
        return FENCE_ACT;
    /* What it holds is just that: it is being stopped, by its own or a person's doing. */
    bool is_same = fence->is_held && fence->held_generation == fence->generation &&
                   fence->held_since == fence->since;
    return is_same ? FENCE_OVERTAKEN : FENCE_LOG_WENT_BACK;
}

/* It names what its supervisor said that it holds: whatever else that is to hold by now, another
 * one sees to. */
static enum fence judge_stop(const struct fence_case *fence)
{
    bool is_other = fence->is_held && fence->held_generation != fence->generation;
    return fence->wanted->generation != 0 || is_other || fence->is_refused ? FENCE_OVERTAKEN
                                                                           : FENCE_ACT;
}

/* It ends everything before its event: only a deploy after it may be in its way. That one may have
 * been killed as well: then that kill ends it. */
static enum fence judge_kill(const struct fence_case *fence)
{
    const struct live_row *wanted = fence->wanted;
    if (!fence->is_refused)
        return FENCE_ACT;
    bool is_known =
        fence->is_held && fence->held_since > fence->since && fence->held_since <= fence->newest;
    bool is_wanted_since = wanted->generation != 0 && wanted->since > fence->since;
    return is_wanted_since || is_known ? FENCE_OVERTAKEN : FENCE_LOG_WENT_BACK;
}

enum fence fence_judge(const struct fence_case *fence)
{
    switch (fence->what) {
    case FENCE_START:
        return judge_start(fence);
    case FENCE_STOP:
        return judge_stop(fence);
    case FENCE_KILL:
        break;
    }
    return judge_kill(fence);
}
