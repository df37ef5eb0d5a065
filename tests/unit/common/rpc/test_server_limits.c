/* Every bound of a server, made small: past it comes the documented answer, and memory stays flat.
 */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/unix_socket.h"
#include "common/rpc/connection.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/rpc/fixture.h"

static struct rpc_groups own_group;

static void find_own_group(void)
{
    own_group = (struct rpc_groups){ { getegid() }, 1 };
}

TestSuite(server_limits, .init = find_own_group);

static void expect_exhausted(struct fixture *fixture, struct peer *peer, uint64_t msgid)
{
    struct problem problem;
    peer_wait_error(fixture, peer, msgid, &problem);
    cr_expect_eq(problem.code, STATUS_RESOURCE_EXHAUSTED, "%s", problem.message);
    cr_expect_gt(problem.retry_after_ms, 0, "%s", problem.message);
}

static void expect_answer(struct fixture *fixture, struct peer *peer, uint64_t msgid)
{
    struct message message = { 0 };
    peer_wait(fixture, peer, &message);
    cr_expect_eq(message.msgid, msgid, "it is %u", (unsigned)message.msgid);
    cr_expect_eq(message.error.size, 0);
}

static void answer(struct fixture *fixture, size_t index)
{
    const struct echo_reply reply = { .number = 1 };
    struct rpc_call *call = fixture->deferred[index];
    fixture->deferred[index] = fixture->deferred[--fixture->deferred_count];
    rpc_call_reply(call, &reply);
}

Test(server_limits, connections_in_total)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.connections_max = 2;
    FIXTURE(&limits);
    AUTO(peer_close) struct peer first = peer_open(fixture);
    AUTO(peer_close) struct peer second = peer_open(fixture);
    AUTO(peer_close) struct peer third = peer_open(fixture);
    expect_exhausted(fixture, &third, 0);
    peer_wait_end(fixture, &third);
    peer_call(&second, 1, "test.read", "x", 1);
    expect_answer(fixture, &second, 1);
    peer_close(&first);
    RUN_UNTIL(fixture, rpc_server_connections(fixture->server) == 1);
    AUTO(peer_close) struct peer fourth = peer_open(fixture);
    peer_call(&fourth, 1, "test.read", "x", 1);
    expect_answer(fixture, &fourth, 1);
    cr_expect_eq(rpc_server_stats(fixture->server).refused, 1);
}

Test(server_limits, connections_of_one_user)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.connections_per_uid_max = 1;
    FIXTURE(&limits);
    AUTO(peer_close) struct peer first = peer_open(fixture);
    (void)first; /* it only stays open */
    AUTO(peer_close) struct peer second = peer_open(fixture);
    peer_call(&second, 1, "test.read", "x", 1);
    expect_answer(fixture, &second, 1); /* our own uid is not bound by it */
    fixture->server->limits.only_groups_are_privileged = true;
    AUTO(peer_close) struct peer third = peer_open(fixture);
    expect_exhausted(fixture, &third, 0);
    peer_wait_end(fixture, &third);
}

Test(server_limits, connections_kept_free_for_operators)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.connections_max = 4;
    limits.connections_reserved = 3;
    limits.only_groups_are_privileged = true;
    FIXTURE(&limits);
    AUTO(peer_close) struct peer first = peer_open(fixture);
    (void)first; /* it only stays open */
    AUTO(peer_close) struct peer second = peer_open(fixture);
    expect_exhausted(fixture, &second, 0);
    fixture->service.privileged = &own_group;
    AUTO(peer_close) struct peer third = peer_open(fixture);
    peer_call(&third, 1, "test.read", "x", 1);
    expect_answer(fixture, &third, 1);
    fixture->service.privileged = NULL;
    fixture->server->limits.only_groups_are_privileged = false;
    AUTO(peer_close) struct peer fourth = peer_open(fixture);
    peer_call(&fourth, 1, "test.read", "x", 1);
    expect_answer(fixture, &fourth, 1);
}

/* Daemons with a uid of their own, and operators, have the group besides their first. */
Test(server_limits, a_supplementary_group_makes_privileged)
{
    if (geteuid() != 0)
        cr_skip_test("only root chooses its groups");
    static const struct rpc_groups others = { { 54321, 54322 }, 2 };
    static const gid_t mine[] = { 54320, 54322 };
    struct rpc_limits limits = rpc_limits_default();
    limits.connections_per_uid_max = 0;
    limits.only_groups_are_privileged = true;
    FIXTURE(&limits);
    fixture->service.privileged = &others;
    cr_assert_eq(setgroups(1, mine), 0);
    AUTO(peer_close) struct peer stranger = peer_open(fixture);
    expect_exhausted(fixture, &stranger, 0);
    cr_assert_eq(setgroups(2, mine), 0);
    AUTO(peer_close) struct peer member = peer_open(fixture);
    cr_assert_eq(setgroups(0, NULL), 0);
    peer_call(&member, 1, "test.read", "x", 1);
    expect_answer(fixture, &member, 1);
}

Test(server_limits, calls_of_one_connection_push_back)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.calls_per_connection_max = 2;
    FIXTURE(&limits);
    PEER(fixture);
    for (uint64_t i = 1; i <= 3; i++)
        peer_call(&peer, i, "test.defer", "x", 0);
    peer_call(&peer, 4, "test.read", "x", 0);
    run_for(fixture->loop, 20);
    cr_expect_eq(fixture->handled, 2, "the third waits");
    AUTO(peer_close) struct peer other = peer_open(fixture);
    peer_call(&other, 1, "test.read", "x", 1);
    expect_answer(fixture, &other, 1);
    answer(fixture, 0);
    expect_answer(fixture, &peer, 1);
    RUN_UNTIL(fixture, fixture->handled == 4);
    answer(fixture, 0);
    answer(fixture, 0);
    struct message message = { 0 };
    for (int i = 0; i < 3; i++) {
        peer_wait(fixture, &peer, &message);
        cr_expect_eq(message.error.size, 0);
    }
    cr_expect_eq(fixture->handled, 5);
}

Test(server_limits, calls_waiting_for_a_commit_count_too)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.calls_per_connection_max = 2;
    FIXTURE(&limits);
    PEER(fixture);
    for (uint64_t i = 1; i <= 5; i++)
        peer_call(&peer, i, "test.write", "x", 0);
    for (uint64_t i = 1; i <= 5; i++)
        expect_answer(fixture, &peer, i);
    cr_expect_eq(fixture->commits, 3);
}

Test(server_limits, calls_in_total_with_a_reserve_for_urgent_ones)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.calls_max = 2;
    limits.calls_reserved = 1;
    FIXTURE(&limits);
    PEER(fixture);
    peer_call(&peer, 1, "test.defer", "x", 0);
    peer_call(&peer, 2, "test.defer", "x", 0);
    peer_call(&peer, 3, "test.read", "x", 0);
    expect_exhausted(fixture, &peer, 3);
    peer_call(&peer, 4, "test.urgent", "x", 0);
    expect_answer(fixture, &peer, 4);
    answer(fixture, 0);
    expect_answer(fixture, &peer, 1);
    peer_call(&peer, 5, "test.read", "x", 0);
    expect_answer(fixture, &peer, 5);
    cr_expect_eq(fixture->handled, 4);
}

static void defer(struct fixture *fixture, struct peer *peer, const char *tenant)
{
    size_t before = fixture->deferred_count;
    fixture->tenant = tenant;
    peer_call(peer, 1, "test.defer", "x", 0);
    RUN_UNTIL(fixture, fixture->deferred_count > before);
}

static void refuse(struct fixture *fixture, struct peer *peer, const char *tenant)
{
    fixture->tenant = tenant;
    peer_call(peer, 2, "test.read", "x", 0);
    expect_exhausted(fixture, peer, 2);
}

Test(server_limits, a_tenant_has_a_quarter_of_the_calls_and_operators_the_last_one)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.calls_max = 8;
    limits.calls_reserved = 4;
    FIXTURE(&limits);
    PEER(fixture);
    defer(fixture, &peer, "acme");
    defer(fixture, &peer, "acme");
    refuse(fixture, &peer, "acme");
    peer_call(&peer, 3, "test.urgent", "x", 0); /* a kill has its reserve */
    expect_answer(fixture, &peer, 3);
    defer(fixture, &peer, "beta");
    defer(fixture, &peer, "beta");
    defer(fixture, &peer, "gamma");
    answer(fixture, 0);
    expect_answer(fixture, &peer, 1);
    defer(fixture, &peer, "acme"); /* has given one back */
    defer(fixture, &peer, "gamma");
    refuse(fixture, &peer, "delta");
    defer(fixture, &peer, NULL);
    defer(fixture, &peer, NULL);
    refuse(fixture, &peer, NULL);
    peer_close(&peer);
    RUN_UNTIL(fixture, fixture->gone == 8);
    while (fixture->deferred_count > 0)
        rpc_call_drop(fixture->deferred[--fixture->deferred_count]);
    cr_expect_eq(fixture->server->deferred.taken, 0);
    cr_expect_null(fixture->server->deferred.holders);
}

Test(server_limits, a_client_that_does_not_read_is_not_read_either_and_then_cut_off)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.unread_bytes_max = 1000 * 1000;
    limits.unread_ms = 100;
    FIXTURE(&limits);
    PEER(fixture);
    for (uint64_t i = 0; i < 100; i++)
        peer_call(&peer, i, "test.large", "x", 100 * 1000);
    settle(fixture);
    unsigned handled = fixture->handled;
    cr_expect_lt(handled, 20, "reading stopped at %u requests", handled);
    cr_expect_leq(fixture->server->unsent_bytes, limits.unread_bytes_max);
    RUN_UNTIL(fixture, rpc_server_connections(fixture->server) == 0);
    cr_expect_eq(fixture->handled, handled);
    cr_expect_eq(fixture->server->unsent_bytes, 0);
}

Test(server_limits, a_client_that_reads_again_gets_the_rest)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.unread_bytes_max = 1000 * 1000;
    FIXTURE(&limits);
    PEER(fixture);
    for (uint64_t i = 0; i < 50; i++)
        peer_call(&peer, i, "test.large", "x", 100 * 1000);
    run_for(fixture->loop, 10);
    cr_expect_lt(fixture->handled, 50);
    for (uint64_t i = 0; i < 50; i++)
        expect_answer(fixture, &peer, i);
}

Test(server_limits, answers_past_the_bound_end_the_connection)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.unread_bytes_max = 1000 * 1000;
    FIXTURE(&limits);
    PEER(fixture);
    for (int i = 0; i < 4; i++)
        peer_call(&peer, 1, "test.defer", "x", 0);
    RUN_UNTIL(fixture, fixture->deferred_count == 4);
    void *bytes = calloc(1, 900 * 1000);
    const struct echo_reply reply = { .bytes = { bytes, 900 * 1000 } };
    for (int i = 0; i < 3; i++)
        rpc_call_reply(fixture->deferred[--fixture->deferred_count], &reply);
    free(bytes);
    RUN_UNTIL(fixture, rpc_server_connections(fixture->server) == 0);
    cr_expect_eq(fixture->gone, 1, "the fourth call learned it");
}

Test(server_limits, unread_answers_of_all_clients_together)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.unread_bytes_total_max = 500 * 1000;
    limits.only_groups_are_privileged = true;
    FIXTURE(&limits);
    PEER(fixture);
    for (uint64_t i = 0; i < 10; i++)
        peer_call(&peer, i, "test.large", "x", 100 * 1000);
    settle(fixture);
    AUTO(peer_close) struct peer other = peer_open(fixture);
    peer_call(&other, 1, "test.read", "x", 0);
    expect_exhausted(fixture, &other, 1);
    peer_call(&other, 2, "test.urgent", "x", 0);
    expect_answer(fixture, &other, 2);
    fixture->service.privileged = &own_group;
    AUTO(peer_close) struct peer member = peer_open(fixture);
    peer_call(&member, 3, "test.read", "x", 0);
    expect_answer(fixture, &member, 3);
}

Test(server_limits, a_frame_must_complete_in_time)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.frame_complete_ms = 60;
    FIXTURE(&limits);
    PEER(fixture);
    struct problem problem;
    /* It does not help to send a byte now and then. */
    static const char frame[] = "\x94\x00\x05\xa9test.read\x91\x81\xa4text\xa1x";
    uint64_t start_ns = clock_boottime_ns();
    for (size_t i = 0; i < 15; i++) {
        if (send(peer.fd, frame + i, 1, MSG_NOSIGNAL) < 0)
            break;
        run_for(fixture->loop, 10);
    }
    cr_expect_lt(clock_boottime_ns() - start_ns, UINT64_C(30000000000));
    peer_wait_error(fixture, &peer, 0, &problem);
    cr_expect_eq(problem.code, STATUS_DEADLINE_EXCEEDED);
    peer_wait_end(fixture, &peer);
    cr_expect_eq(fixture->handled, 0);
}

Test(server_limits, a_frame_that_waits_for_its_turn_is_not_late)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.frame_complete_ms = 30;
    limits.calls_per_connection_max = 1;
    FIXTURE(&limits);
    PEER(fixture);
    peer_call(&peer, 1, "test.defer", "x", 0);
    peer_call(&peer, 2, "test.read", "x", 0);
    run_for(fixture->loop, 100);
    answer(fixture, 0);
    expect_answer(fixture, &peer, 1);
    expect_answer(fixture, &peer, 2);
}

Test(server_limits, an_idle_connection_is_closed_but_not_while_a_call_is_open)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.idle_ms = 500;
    FIXTURE(&limits);
    AUTO(peer_close) struct peer silent = peer_open(fixture);
    AUTO(peer_close) struct peer waiting = peer_open(fixture);
    peer_call(&waiting, 1, "test.defer", "x", 0);
    peer_wait_end(fixture, &silent);
    run_for(fixture->loop, 1000);
    cr_expect_eq(rpc_server_connections(fixture->server), 1);
    answer(fixture, 0);
    expect_answer(fixture, &waiting, 1);
    peer_wait_end(fixture, &waiting);
}

Test(server_limits, big_frames_that_arrive_at_once)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.big_frames_max = 1;
    FIXTURE(&limits);
    static const char head[] = "\x94\x00\x05\xa8test.big\x91\x81\xa4text\xdb\x00\x08\x00\x00";
    AUTO(peer_close) struct peer first = peer_open(fixture);
    AUTO(peer_close) struct peer second = peer_open(fixture);
    peer_send(&first, span_of(head, sizeof head - 1));
    settle(fixture);
    cr_expect_eq(fixture->server->big_frames, 1);
    peer_send(&second, span_of(head, sizeof head - 1));
    expect_exhausted(fixture, &second, 5);
    peer_wait_end(fixture, &second);
    peer_close(&first);
    RUN_UNTIL(fixture, rpc_server_connections(fixture->server) == 0);
    cr_expect_eq(fixture->server->big_frames, 0);
}

Test(server_limits, running_out_of_descriptors_pauses_accepting)
{
    FIXTURE(NULL);
    AUTO(peer_close) struct peer first = peer_open(fixture);
    int second, third;
    struct rlimit usual, tight;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    cr_assert_eq(unix_socket_connect(fixture->path, &second), STATUS_OK);
    cr_assert_eq(unix_socket_connect(fixture->path, &third), STATUS_OK);
    int highest = dup(0);
    close(highest);
    tight = usual;
    tight.rlim_cur = (rlim_t)highest;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    settle(fixture);
    struct peer refused = { .fd = second, .received.limit = PEER_BYTES_MAX };
    expect_exhausted(fixture, &refused, 0);
    peer_close(&refused);
    cr_expect_eq(rpc_server_connections(fixture->server), 1);
    peer_call(&first, 1, "test.read", "x", 1);
    expect_answer(fixture, &first, 1);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &usual), 0);
    struct peer late = { .fd = third, .received.limit = PEER_BYTES_MAX };
    peer_call(&late, 1, "test.read", "x", 1);
    expect_answer(fixture, &late, 1);
    peer_close(&late);
}
