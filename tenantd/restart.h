#ifndef SOLO_TENANTD_RESTART_H
#define SOLO_TENANTD_RESTART_H

#include <stdbool.h>
#include <stdint.h>

#include "common/spec/spec.h"

/* What follows an exit that nobody asked for. Pure: times come in, a decision comes out.
 *
 * A delay doubles from `initial_ms` to `max_ms`. `max_restarts` restarts are allowed within
 * `window_ms`, counted from the first crash of that window; the crash after the last of them parks
 * the service. A run longer than the window was healthy: counting begins anew. */
struct restart_settings {
    enum restart_policy policy;
    uint64_t initial_ms, max_ms, max_restarts, window_ms;
};

/* Zeroed at the first start and at each start on request. */
struct restart_history {
    uint64_t window_began_ns;
    uint64_t crashes;  /* since then */
    uint64_t delay_ms; /* the last one given, 0 for none */
};

enum restart_verdict { RESTART_AGAIN, RESTART_PARK, RESTART_COMPLETE, RESTART_FAIL };

struct restart_exit {
    bool is_signalled;
    int code; /* exit code or signal number */
    uint64_t ran_ns;
};

struct restart_decision {
    enum restart_verdict verdict;
    uint64_t delay_ms;   /* RESTART_AGAIN */
    uint64_t crashes;    /* within the window, this one included */
    bool is_first_crash; /* since it was healthy or started on request */
};

struct restart_decision restart_decide(const struct restart_settings *settings,
                                       struct restart_history *history,
                                       const struct restart_exit *exit, uint64_t now_ns);

#endif
