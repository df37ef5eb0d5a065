/* What arrived in one turn of the loop is committed once, and then answered. */
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/rpc/fixture.h"

static struct peer *watched_peer;

static void nothing_was_sent(struct fixture *fixture)
{
    struct message message;
    cr_expect_eq(fixture->handled, 100);
    cr_expect_not(peer_next(watched_peer, &message), "answered before the commit");
}

Test(server, commits_all_writes_of_a_turn_at_once_and_then_answers)
{
    FIXTURE(NULL);
    PEER(fixture);
    watched_peer = &peer;
    fixture->on_commit = nothing_was_sent;
    for (uint64_t i = 0; i < 100; i++)
        peer_call(&peer, i + 1, "test.write", "x", i);
    settle(fixture);
    for (uint64_t i = 0; i < 100; i++)
        expect_number(fixture, &peer, i + 1, i + 1);
    cr_expect_eq(fixture->begins, 1);
    cr_expect_eq(fixture->commits, 1);
    cr_expect_eq(fixture->committed, 1);
    cr_expect_eq(fixture->aborts, 0);
}

Test(server, commits_for_several_connections_together)
{
    FIXTURE(NULL);
    AUTO(peer_close) struct peer first = peer_open(fixture);
    AUTO(peer_close) struct peer second = peer_open(fixture);
    peer_call(&first, 1, "test.write", "x", 1);
    peer_call(&second, 1, "test.write", "x", 2);
    expect_number(fixture, &first, 1, 2);
    expect_number(fixture, &second, 1, 3);
    cr_expect_eq(fixture->commits, 1);
}

Test(server, a_refusal_does_not_break_the_batch)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.write", "x", 1);
    peer_call(&peer, 2, "test.write", "refuse", 1);
    peer_call(&peer, 3, "test.write", "x", 3);
    expect_number(fixture, &peer, 1, 2);
    expect_error(fixture, &peer, 2, STATUS_FAILED_PRECONDITION, "text");
    expect_number(fixture, &peer, 3, 4);
    cr_expect_eq(fixture->commits, 1);
}

Test(server, a_failed_commit_is_unknown_to_all_of_the_batch)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->commit_status = STATUS_IO;
    peer_call(&peer, 1, "test.write", "x", 1);
    peer_call(&peer, 2, "test.write", "x", 1);
    peer_call(&peer, 3, "test.read", "x", 1);
    peer_call(&peer, 4, "test.write", "x", 1000001);
    expect_number(fixture, &peer, 3, 2); /* what did not write is not concerned */
    expect_error(fixture, &peer, 4, STATUS_INVALID_ARGUMENT, "number");
    expect_error(fixture, &peer, 1, STATUS_UNKNOWN, "");
    expect_error(fixture, &peer, 2, STATUS_UNKNOWN, "");
    cr_expect_eq(fixture->committed, 0);
    fixture->commit_status = STATUS_OK;
    peer_call(&peer, 5, "test.write", "x", 1);
    expect_number(fixture, &peer, 5, 2);
}

Test(server, a_commit_without_space_changes_nothing_and_says_when_to_retry)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->commit_status = STATUS_RESOURCE_EXHAUSTED;
    peer_call(&peer, 1, "test.write", "x", 1);
    struct problem problem;
    peer_wait_error(fixture, &peer, 1, &problem);
    cr_expect_eq(problem.code, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_gt(problem.retry_after_ms, 0);
    cr_expect_eq(fixture->commits, 2, "once more, and not again");
}

/* The first commit finds no room. */
static void be_full(struct fixture *fixture)
{
    fixture->commit_status = fixture->is_full ? STATUS_OK : STATUS_RESOURCE_EXHAUSTED;
    fixture->is_full = true;
}

Test(server, what_does_not_grow_is_done_also_when_it_came_with_what_finds_no_room)
{
    FIXTURE(NULL);
    PEER(fixture);
    struct peer second = peer_open(fixture), gone = peer_open(fixture);
    fixture->on_commit = be_full;
    peer_call(&peer, 1, "test.write", "grow", 1);
    peer_call(&peer, 2, "test.write", "kill", 6);
    peer_call(&peer, 3, "test.write", "grow", 2);
    peer_call(&second, 7, "test.write", "kill", 8);
    expect_error(fixture, &peer, 1, STATUS_RESOURCE_EXHAUSTED, "");
    expect_number(fixture, &peer, 2, 7);
    expect_error(fixture, &peer, 3, STATUS_RESOURCE_EXHAUSTED, "");
    expect_number(fixture, &second, 7, 9);
    cr_expect_eq(fixture->begins, 2);
    cr_expect_eq(fixture->commits, 2);
    cr_expect_eq(fixture->committed, 1);
    cr_expect_eq(fixture->handled, 8, "each of the four twice");
    peer_call(&second, 8, "test.write", "kill", 1);
    expect_number(fixture, &second, 8, 2);
    cr_expect_eq(fixture->commits, 3);
    peer_close(&second);
    peer_close(&gone);
}

Test(server, a_full_batch_that_finds_no_room_leaves_the_request_behind_it_as_it_came)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.batch_answer_bytes_max = 24; /* full with the second answer */
    FIXTURE(&limits);
    PEER(fixture);
    fixture->on_commit = be_full;
    peer_call(&peer, 1, "test.write", "grow", 1);
    peer_call(&peer, 2, "test.write", "kill", 2);
    peer_call(&peer, 3, "test.write", "mine", 6);
    expect_error(fixture, &peer, 1, STATUS_RESOURCE_EXHAUSTED, "");
    expect_number(fixture, &peer, 2, 3);
    expect_number(fixture, &peer, 3, 7);
    cr_expect_str_eq(fixture->last_text, "mine");
    cr_expect_eq(fixture->handled, 5, "the first two twice");
}

Test(server, a_transaction_that_cannot_begin_is_the_answer)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->begin_status = STATUS_DATA_LOSS;
    peer_call(&peer, 1, "test.write", "x", 1);
    expect_error(fixture, &peer, 1, STATUS_DATA_LOSS, "");
    cr_expect_eq(fixture->handled, 0);
    cr_expect_eq(fixture->commits, 0);
}

Test(server, what_cannot_be_served_is_refused_before_the_transaction_unless_every_daemon_has_it)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->may_serve_status = STATUS_DATA_LOSS;
    peer_call(&peer, 1, "test.read", "x", 0);
    expect_error(fixture, &peer, 1, STATUS_DATA_LOSS, "");
    peer_call(&peer, 2, "test.write", "x", 0);
    expect_error(fixture, &peer, 2, STATUS_DATA_LOSS, "");
    cr_expect_eq(fixture->handled, 0);
    cr_expect_eq(fixture->begins + fixture->commits, 0, "the store is not touched");
    peer_call(&peer, 3, "test.urgent", "x", 4);
    expect_number(fixture, &peer, 3, 5);
}

Test(server, a_batch_that_grows_too_big_is_committed_early)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.calls_per_connection_max = 100000;
    FIXTURE(&limits);
    enum { PEERS = 8, CALLS = 800 };
    static const char frame[] = "\x94\x00\x01\xaatest.write\x91\x82\xa4text\xa1x\xa6number\x01";
    AUTO(buffer_close) struct buffer frames = { .limit = 100000 };
    for (int n = 0; n < CALLS; n++)
        buffer_append(&frames, frame, sizeof frame - 1);
    struct peer peers[PEERS];
    for (int i = 0; i < PEERS; i++) {
        peers[i] = peer_open(fixture);
        peer_send(&peers[i], buffer_span(&frames));
    }
    RUN_UNTIL(fixture, fixture->handled == PEERS * CALLS);
    settle(fixture);
    cr_expect_gt(fixture->commits, 1);
    cr_expect_lt(fixture->commits, 10);
    for (int i = 0; i < PEERS; i++) {
        for (int n = 0; n < CALLS; n++)
            expect_number(fixture, &peers[i], 1, 2);
        peer_close(&peers[i]);
    }
}

static void commit_slowly(struct fixture *fixture)
{
    (void)fixture;
    usleep(16000); /* the next batch may collect for a part of that */
}

/* One turn in which a request is handled, and the beginning of the next. */
static void run_to_next_turn(struct fixture *fixture, unsigned handled)
{
    while (fixture->handled < handled)
        ev_run(fixture->loop, EVRUN_ONCE);
    ev_run(fixture->loop, EVRUN_NOWAIT);
}

Test(server, a_client_alone_is_not_kept_waiting)
{
    FIXTURE(NULL);
    PEER(fixture);
    fixture->on_commit = commit_slowly;
    for (unsigned i = 1; i <= 5; i++) {
        peer_call(&peer, i, "test.write", "x", 1);
        run_to_next_turn(fixture, i);
        cr_expect_eq(fixture->commits, i);
    }
}

/* What is waited is a part of what a commit takes: a machine that does something else for that long
 * may spoil some rounds, not all. */
Test(server, a_commit_waits_for_the_clients_of_the_last_ones)
{
    FIXTURE(NULL);
    fixture->on_commit = commit_slowly;
    AUTO(peer_close) struct peer first = peer_open(fixture);
    AUTO(peer_close) struct peer second = peer_open(fixture);
    unsigned together = 0;
    for (unsigned i = 0; i < 50; i++) {
        unsigned commits = fixture->commits, handled = fixture->handled;
        peer_call(&first, 1, "test.write", "x", 1);
        run_to_next_turn(fixture, handled + 1);
        peer_call(&second, 1, "test.write", "x", 1);
        expect_number(fixture, &first, 1, 2);
        expect_number(fixture, &second, 1, 2);
        together += fixture->commits == commits + 1;
    }
    cr_expect_gt(together, 5);
    peer_call(&first, 1, "test.write", "x", 1);
    expect_number(fixture, &first, 1, 2); /* and in the end not for one that does not come */
}

Test(server, a_client_that_goes_before_the_commit_breaks_nothing)
{
    FIXTURE(NULL);
    fixture->on_commit = commit_slowly;
    AUTO(peer_close) struct peer stays = peer_open(fixture);
    for (int round = 0; round < 5; round++) {
        AUTO(peer_close) struct peer gone = peer_open(fixture);
        for (int i = 0; i < 8; i++)
            peer_call(&stays, 1, "test.write", "x", 1);
        for (int i = 0; i < 8; i++)
            expect_number(fixture, &stays, 1, 2);
        peer_call(&gone, 1, "test.write", "x", 1);
        peer_close(&gone);
        RUN_UNTIL(fixture, rpc_server_connections(fixture->server) == 1);
        settle(fixture);
    }
    RUN_UNTIL(fixture, rpc_server_owed(fixture->server) == 0);
    cr_expect_eq(fixture->handled, 5 * 9);
    cr_expect_eq(fixture->commits, fixture->begins);
}

Test(server, closing_in_a_batch_aborts_it)
{
    FIXTURE(NULL);
    PEER(fixture);
    peer_call(&peer, 1, "test.write", "x", 1);
    while (fixture->handled == 0)
        ev_run(fixture->loop, EVRUN_ONCE); /* returns before the commit of the next turn */
    rpc_server_close(&fixture->server);
    cr_expect_eq(fixture->aborts, 1);
    cr_expect_eq(fixture->commits, 0);
    struct message message;
    cr_expect_not(peer_next(&peer, &message), "nothing was promised");
}
