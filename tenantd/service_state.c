/* Where a service may go from where it is. The flow itself is service_step in service.c. */
#include "tenantd/service_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "tenantd/supervisor.h"

#define TO(state) (1u << SERVICE_##state)
static const unsigned next_states[SERVICE_STATES] = {
    [SERVICE_starting] = TO(running) | TO(backoff) | TO(parked) | TO(completed) | TO(failed) |
                         TO(stopping) | TO(waiting_for_secret),
    [SERVICE_waiting_for_secret] = TO(waiting_for_secret) | TO(starting) | TO(stopping),
    [SERVICE_running] = TO(backoff) | TO(parked) | TO(completed) | TO(failed) | TO(stopping),
    [SERVICE_backoff] = TO(starting) | TO(stopping),
    [SERVICE_parked] = TO(stopping),
    [SERVICE_completed] = TO(stopping),
    [SERVICE_failed] = TO(stopping),
    [SERVICE_stopping] = TO(starting),
};

void service_touch(struct service *service)
{
    supervisor_changed(service->supervisor, service);
}

void service_move(struct service *service, enum service_state state, const char *format, ...)
{
    ensure((next_states[service->state] & (1u << state)) != 0);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(service->reason, sizeof service->reason, format, arguments);
    va_end(arguments);
    log_debug("service moves", "service", service->name, "from", service_state_name(service->state),
              "to", service_state_name(state), "reason", service->reason);
    service->state = state;
    if (state != SERVICE_backoff) /* its own is set before it */
        service_timer_stop(service);
    service_touch(service);
}

char *service_what(char text[WHAT_BYTES], const char *what)
{
    snprintf(text, WHAT_BYTES, "%s", what);
    for (size_t size = strlen(text); size > 0 && !utf8_is_valid(span_of(text, size));)
        text[--size] = '\0';
    return text;
}

void service_timer_start(struct service *service, uint64_t delay_ms)
{
    struct ev_loop *loop = service->supervisor->loop;
    ev_timer_stop(loop, &service->timer);
    ev_now_update(loop);
    ev_timer_set(&service->timer, (double)delay_ms / 1000.0, 0.0);
    ev_timer_start(loop, &service->timer);
    service->is_due = false;
    service->due_wall_ns = clock_wall_ns() + delay_ms * NS_PER_MS;
}

uint64_t service_timer_left_ms(const struct service *service)
{
    struct ev_loop *loop = service->supervisor->loop;
    if (!ev_is_active(&service->timer))
        return 0;
    double left_s = ev_timer_remaining(loop, (struct ev_timer *)&service->timer);
    return left_s > 0 ? (uint64_t)(left_s * 1000.0) : 0;
}

void service_timer_stop(struct service *service)
{
    ev_timer_stop(service->supervisor->loop, &service->timer);
    service->is_due = false;
    service->due_wall_ns = 0;
}
