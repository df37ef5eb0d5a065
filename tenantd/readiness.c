/* Attempts one after the other, each bounded, with pauses between them that grow: 20 ms at first,
 * so that what is quick is seen soon, one second at most, so that what is slow costs nothing. */
#include "tenantd/readiness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/spec/printable.h"
#include "common/spec/signal_name.h"

static void timer_start(struct readiness *readiness, uint64_t delay_ms)
{
    ev_timer_stop(readiness->loop, &readiness->timer);
    ev_now_update(readiness->loop);
    ev_timer_set(&readiness->timer, (double)delay_ms / 1000.0, 0.0);
    ev_timer_start(readiness->loop, &readiness->timer);
}

static void stop(struct readiness *readiness)
{
    ev_timer_stop(readiness->loop, &readiness->timer);
    ev_io_stop(readiness->loop, &readiness->on_connected);
    fd_close(&readiness->socket);
}

static void is_now_ready(struct readiness *readiness)
{
    stop(readiness);
    readiness->is_ready = true;
    readiness->changed(readiness->context);
}

static void pause_now(struct readiness *readiness)
{
    uint64_t pause_ms = readiness->pause_ms;
    readiness->pause_ms =
        pause_ms * 2 < READINESS_PAUSE_MAX_MS ? pause_ms * 2 : READINESS_PAUSE_MAX_MS;
    timer_start(readiness, pause_ms);
    readiness->changed(readiness->context);
}

/* ---- tcp ---- */

/* A port that nobody listens on may be drawn as our own: then we are connected to ourselves. */
static bool is_connected(int socket)
{
    struct sockaddr_storage own = { 0 }, peer = { 0 };
    socklen_t own_size = sizeof own, peer_size = sizeof peer;
    if (getpeername(socket, (struct sockaddr *)&peer, &peer_size) < 0 ||
        getsockname(socket, (struct sockaddr *)&own, &own_size) < 0)
        return false;
    return own_size != peer_size || memcmp(&own, &peer, own_size) != 0;
}

/* Begins to connect: true when it is connected at once. Otherwise on_connected is active, or it has
 * failed. */
static bool connect_begin(struct readiness *readiness)
{
    uint16_t port = htons(readiness->settings->port);
    struct sockaddr_in first = { .sin_family = AF_INET,
                                 .sin_port = port,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 second = { .sin6_family = AF_INET6,
                                   .sin6_port = port,
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    bool is_second = readiness->is_second_address;
    const struct sockaddr *address =
        is_second ? (const struct sockaddr *)&second : (const struct sockaddr *)&first;
    readiness->socket =
        socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (readiness->socket < 0)
        return false;
    if (connect(readiness->socket, address, is_second ? sizeof second : sizeof first) == 0)
        return is_connected(readiness->socket);
    if (errno == EINPROGRESS) {
        ev_io_set(&readiness->on_connected, readiness->socket, EV_WRITE);
        ev_io_start(readiness->loop, &readiness->on_connected);
        timer_start(readiness, READINESS_CONNECT_MS);
    }
    return false;
}

static void connect_next(struct readiness *readiness)
{
    for (;;) {
        if (connect_begin(readiness)) {
            is_now_ready(readiness);
            return;
        }
        if (ev_is_active(&readiness->on_connected))
            return;
        fd_close(&readiness->socket);
        if (readiness->is_second_address)
            break;
        readiness->is_second_address = true;
    }
    pause_now(readiness);
}

/* An attempt that was under way is over: was it the one, or is it the other address's turn? */
static void connect_end(struct readiness *readiness, const char *why)
{
    bool has_worked = is_connected(readiness->socket);
    stop(readiness);
    snprintf(readiness->lack, sizeof readiness->lack, "%s port %u", why, readiness->settings->port);
    if (has_worked) {
        is_now_ready(readiness);
    } else if (!readiness->is_second_address) {
        readiness->is_second_address = true;
        connect_next(readiness);
    } else {
        pause_now(readiness);
    }
}

static void on_connected(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop, (void)events;
    connect_end(OWNER_OF(watcher, struct readiness, on_connected), "nothing listens on");
}

/* ---- exec ---- */

static void on_probe_exit(struct helper *helper, int exit_status)
{
    struct readiness *readiness = OWNER_OF(helper, struct readiness, helper);
    char *lack = readiness->lack;
    ev_timer_stop(readiness->loop, &readiness->timer);
    if (WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 0) {
        is_now_ready(readiness);
        return;
    }
    if (readiness->was_killed)
        snprintf(lack, READINESS_LACK_BYTES, "its probe did not end within %d s",
                 READINESS_PROBE_MS / 1000);
    else if (WIFSIGNALED(exit_status))
        snprintf(lack, READINESS_LACK_BYTES, "its probe was killed by SIG%s",
                 signal_text(WTERMSIG(exit_status)));
    else
        snprintf(lack, READINESS_LACK_BYTES, "its probe exited with code %d",
                 WEXITSTATUS(exit_status));
    pause_now(readiness);
}

static void probe_begin(struct readiness *readiness)
{
    readiness->was_killed = false;
    readiness->helper = (struct helper){ .on_exit = on_probe_exit };
    if (readiness->probe(readiness->context, &readiness->helper, readiness->lack) == STATUS_OK)
        timer_start(readiness, READINESS_PROBE_MS);
    else
        pause_now(readiness);
}

/* ---- all ---- */

static void attempt(struct readiness *readiness)
{
    readiness->is_second_address = false;
    if (readiness->settings->by == READY_TCP)
        connect_next(readiness);
    else if (readiness->settings->by == READY_EXEC)
        probe_begin(readiness);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct readiness *readiness = OWNER_OF(timer, struct readiness, timer);
    if (readiness->socket >= 0) {
        connect_end(readiness, "no connection is taken on");
    } else if (readiness->helper.pid != 0) {
        readiness->was_killed = true;
        readiness->probe_kill(readiness->context, &readiness->helper);
    } else {
        attempt(readiness);
    }
}

void readiness_begin(struct readiness *readiness)
{
    static const char *const lacks[] = {
        [READY_STARTED] = "",
        [READY_NOTIFY] = "it has not said READY=1",
        [READY_TCP] = "nothing listens on its port",
        [READY_EXEC] = "its probe has not succeeded",
    };
    readiness->socket = -1;
    readiness->pause_ms = READINESS_PAUSE_FIRST_MS;
    snprintf(readiness->lack, sizeof readiness->lack, "%s", lacks[readiness->settings->by]);
    ev_timer_init(&readiness->timer, on_timer, 0, 0);
    ev_io_init(&readiness->on_connected, on_connected, -1, EV_WRITE);
    if (readiness->settings->by != READY_NOTIFY)
        timer_start(readiness, 0);
}

void readiness_tell(struct readiness *readiness, bool is_ready, const char *status)
{
    char text[READINESS_LACK_BYTES - 8];
    if (status != NULL) {
        text_printable(text, sizeof text, span_of_text(status));
        snprintf(readiness->lack, sizeof readiness->lack, "it says: %s", text);
    }
    if (is_ready && readiness->settings->by == READY_NOTIFY)
        is_now_ready(readiness);
    else if (status != NULL)
        readiness->changed(readiness->context);
}

void readiness_end(struct readiness *readiness)
{
    stop(readiness);
}
