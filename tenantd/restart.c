/* The restart policy, without a clock of its own. */
#include "tenantd/restart.h"

#include "common/base/clock.h"

/* Whether the exit ends the service for good, and how. */
static bool is_final(enum restart_policy policy, const struct restart_exit *exit,
                     enum restart_verdict *verdict)
{
    if (policy == RESTART_NEVER) {
        *verdict = exit->is_signalled ? RESTART_FAIL : RESTART_COMPLETE;
        return true;
    }
    *verdict = RESTART_COMPLETE;
    return policy == RESTART_ON_FAILURE && !exit->is_signalled && exit->code == 0;
}

static uint64_t delay_after(const struct restart_settings *settings, uint64_t last_ms)
{
    uint64_t delay_ms = last_ms > UINT64_MAX / 2 ? UINT64_MAX : last_ms * 2;
    if (delay_ms < settings->initial_ms)
        delay_ms = settings->initial_ms;
    return delay_ms > settings->max_ms ? settings->max_ms : delay_ms;
}

struct restart_decision restart_decide(const struct restart_settings *settings,
                                       struct restart_history *history,
                                       const struct restart_exit *exit, uint64_t now_ns)
{
    struct restart_decision decision = { .is_first_crash = history->crashes == 0 };
    if (is_final(settings->policy, exit, &decision.verdict))
        return decision;
    uint64_t window_ns = settings->window_ms * NS_PER_MS;
    if (exit->ran_ns > window_ns) {
        *history = (struct restart_history){ 0 };
        decision.is_first_crash = true;
    }
    if (history->crashes == 0 || now_ns - history->window_began_ns > window_ns) {
        history->window_began_ns = now_ns;
        history->crashes = 0;
    }
    history->crashes++;
    decision.crashes = history->crashes;
    if (history->crashes > settings->max_restarts) {
        decision.verdict = RESTART_PARK;
        return decision;
    }
    history->delay_ms = delay_after(settings, history->delay_ms);
    decision.verdict = RESTART_AGAIN;
    decision.delay_ms = history->delay_ms;
    return decision;
}
