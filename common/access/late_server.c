/* Whichever comes first, the owner or the end of patience, opens the server. */
#include "common/access/late_server.h"

#include "common/daemon/parent.h"

enum { SERVE_AFTER_S = 1 };

void late_server_serve(struct late_server *late)
{
    if (late->has_begun || late->lifecycle->is_stopping)
        return;
    late->has_begun = true;
    ev_timer_stop(late->lifecycle->loop, &late->patience);
    const struct rpc_limits limits = late->limits == NULL ? rpc_limits_default() : *late->limits;
    enum status status = rpc_server_open_with(late->server, late->lifecycle->loop, late->service,
                                              late->listener, &limits);
    if (status != STATUS_OK) {
        lifecycle_end(late->lifecycle, status);
        return;
    }
    parent_ready();
}

static void on_patience(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    late_server_serve(timer->data);
}

void late_server_begin(struct late_server *late, bool at_once)
{
    ev_timer_init(&late->patience, on_patience, SERVE_AFTER_S, 0);
    late->patience.data = late;
    if (at_once)
        late_server_serve(late);
    else
        ev_timer_start(late->lifecycle->loop, &late->patience);
}
