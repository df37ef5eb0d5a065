/* Attempts and pauses, on a loop of the test's own. */
#include "tenantd/readiness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "tests/support/criterion.h"

static struct watched {
    struct readiness readiness;
    unsigned changes, probes, kills;
    enum status probe_status;
} watched;

static void on_changed(void *context)
{
    ((struct watched *)context)->changes++;
}

static enum status probe(void *context, struct helper *helper, char lack[READINESS_LACK_BYTES])
{
    struct watched *seen = context;
    seen->probes++;
    if (seen->probe_status != STATUS_OK) {
        strcpy(lack, "no such probe");
        return seen->probe_status;
    }
    helper->pid = 4711;
    return STATUS_OK;
}

static void probe_kill(void *context, struct helper *helper)
{
    (void)helper;
    ((struct watched *)context)->kills++;
}

static void begin(struct readiness_settings settings)
{
    static struct readiness_settings kept;
    kept = settings;
    watched = (struct watched){ .readiness = { .settings = &kept,
                                               .loop = ev_default_loop(0),
                                               .changed = on_changed,
                                               .probe = probe,
                                               .probe_kill = probe_kill,
                                               .context = &watched } };
    readiness_begin(&watched.readiness);
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void turn_for(int milliseconds)
{
    struct ev_loop *loop = ev_default_loop(0);
    struct ev_timer timer;
    ev_timer_init(&timer, on_tick, milliseconds / 1e3, 0);
    ev_now_update(loop);
    ev_timer_start(loop, &timer);
    ev_run(loop, 0);
    ev_timer_stop(loop, &timer);
}

/* A socket that is bound to a free port of this address; not listening yet. */
static int bound(int family, uint16_t *port)
{
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr *address =
        family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    socklen_t size = family == AF_INET ? sizeof four : sizeof six;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, address, size), 0);
    cr_assert_eq(getsockname(fd, address, &size), 0);
    *port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
    return fd;
}

static void ready_at_port(int family)
{
    uint16_t port;
    int fd = bound(family, &port);
    begin((struct readiness_settings){ READY_TCP, 1000, port });
    turn_for(100);
    cr_assert_not(watched.readiness.is_ready, "ready before anybody listens");
    cr_assert_not_null(strstr(watched.readiness.lack, "nothing listens on port"), "%s",
                       watched.readiness.lack);
    cr_assert_eq(listen(fd, 8), 0);
    for (int i = 0; i < 200 && !watched.readiness.is_ready; i++)
        turn_for(300);
    cr_assert(watched.readiness.is_ready);
    readiness_end(&watched.readiness);
    close(fd);
}

Test(readiness, tcp_is_ready_when_somebody_listens)
{
    ready_at_port(AF_INET);
}

Test(readiness, tcp_tries_the_other_loopback_too)
{
    ready_at_port(AF_INET6);
}

Test(readiness, tcp_does_not_try_more_often_than_its_pauses_say)
{
    uint16_t port;
    int fd = bound(AF_INET, &port);
    uint64_t began_ns = clock_boottime_ns();
    begin((struct readiness_settings){ READY_TCP, 1000, port });
    unsigned most = 1;
    turn_for(700);
    for (int i = 0; i < 200 && watched.changes < 3; i++)
        turn_for(100);
    uint64_t passed_ms = (clock_boottime_ns() - began_ns) / NS_PER_MS;
    while (20u * ((1u << most) - 1) <= passed_ms) /* 20 + 40 + 80 + 160 + 320 */
        most++;
    cr_assert_leq(watched.changes, most, "%u attempts", watched.changes);
    cr_assert_geq(watched.changes, 3, "%u attempts", watched.changes);
    readiness_end(&watched.readiness);
    close(fd);
}

Test(readiness, tcp_is_not_ready_by_a_connection_to_itself)
{
    /* In the range that our own ports are drawn from: hundreds of attempts may meet themselves. */
    uint16_t port;
    int fd = bound(AF_INET, &port);
    close(fd);
    for (int i = 0; i < 20; i++) {
        begin((struct readiness_settings){ READY_TCP, 1000, port });
        turn_for(5);
        cr_assert_not(watched.readiness.is_ready);
        readiness_end(&watched.readiness);
    }
}

Test(readiness, notify_is_ready_when_told_and_shows_its_status)
{
    begin((struct readiness_settings){ READY_NOTIFY, 1000, 0 });
    turn_for(30);
    cr_assert_eq(watched.changes, 0);
    readiness_tell(&watched.readiness, false, "loading \x1b[2J 3 of 9");
    cr_assert_not(watched.readiness.is_ready);
    cr_assert_str_eq(watched.readiness.lack, "it says: loading \\x1b[2J 3 of 9");
    readiness_tell(&watched.readiness, true, NULL);
    cr_assert(watched.readiness.is_ready);
    cr_assert_eq(watched.changes, 2);
}

Test(readiness, a_status_of_any_length_is_cut)
{
    char text[4096];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    begin((struct readiness_settings){ READY_NOTIFY, 1000, 0 });
    readiness_tell(&watched.readiness, false, text);
    cr_assert_lt(strlen(watched.readiness.lack), READINESS_LACK_BYTES);
}

Test(readiness, who_is_probed_is_not_ready_by_saying_so)
{
    begin((struct readiness_settings){ READY_EXEC, 1000, 0 });
    readiness_tell(&watched.readiness, true, NULL);
    cr_assert_not(watched.readiness.is_ready);
    readiness_end(&watched.readiness);
}

static void probe_exits(int exit_status)
{
    struct helper *helper = &watched.readiness.helper;
    helper->pid = 0;
    helper->on_exit(helper, exit_status);
}

Test(readiness, exec_probes_until_one_succeeds)
{
    begin((struct readiness_settings){ READY_EXEC, 1000, 0 });
    turn_for(10);
    cr_assert_eq(watched.probes, 1);
    probe_exits(3 << 8);
    cr_assert_str_eq(watched.readiness.lack, "its probe exited with code 3");
    cr_assert_eq(watched.probes, 1, "no pause between two probes");
    turn_for(50);
    cr_assert_eq(watched.probes, 2);
    probe_exits(9);
    cr_assert_str_eq(watched.readiness.lack, "its probe was killed by SIGKILL");
    turn_for(80);
    cr_assert_eq(watched.probes, 3);
    probe_exits(0);
    cr_assert(watched.readiness.is_ready);
    turn_for(100);
    cr_assert_eq(watched.probes, 3, "probed after it was ready");
}

Test(readiness, a_probe_that_cannot_be_started_is_tried_again)
{
    begin((struct readiness_settings){ READY_EXEC, 1000, 0 });
    watched.probe_status = STATUS_FAILED_PRECONDITION;
    turn_for(60);
    cr_assert_str_eq(watched.readiness.lack, "no such probe");
    cr_assert_leq(watched.probes, 3);
    for (int i = 0; i < 200 && watched.probes < 2; i++)
        turn_for(60);
    cr_assert_geq(watched.probes, 2);
    readiness_end(&watched.readiness);
}
