/* Watches without a server: the functions of common/rpc that a watch calls are played here, so that
 * a client can be as slow as a test wants. */
#include "eventd/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/wire/fields.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_cutting.h"
#include "tests/unit/eventd/log_fixture.h"

/* One client: what it was sent, and how it stands. */
struct client {
    struct rpc_call call;
    struct event_filter filter;
    uint64_t ids[5000];
    size_t count;
    size_t notifications;
    uint64_t last_id;
    size_t unread; /* bytes it has not read: grows when it is asleep */
    bool is_asleep, is_full;
    void (*on_drained)(struct rpc_call *call);
    bool is_deferred, has_ended, is_dropped;
    enum status ended_with;
};

static struct client clients[40];
static const struct access no_access;
static struct watch_list list;
static struct ev_loop *loop;

static struct client *client_of(const struct rpc_call *call)
{
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        if (&clients[i].call == call)
            return &clients[i];
    abort();
}

/* What common/access says of a token. */
static enum status token_verdict;

enum status access_still_allows(const struct access *access, const struct caller *caller,
                                struct problem *problem)
{
    (void)access;
    bool is_token = caller->kind == CALLER_TOKEN;
    return is_token && token_verdict != STATUS_OK
               ? problem_set(problem, token_verdict, "token", "is void; resume after a new one")
               : STATUS_OK;
}

enum status access_check_tenant(const struct caller *caller, const char *tenant,
                                struct problem *problem)
{
    (void)caller, (void)tenant, (void)problem;
    return STATUS_OK;
}

void rpc_call_defer(struct rpc_call *call)
{
    client_of(call)->is_deferred = true;
}

enum status rpc_call_notify(struct rpc_call *call, const char *method, struct span params)
{
    struct client *client = client_of(call);
    AUTO(arena_close) struct arena arena = { .limit = 4 << 20 };
    struct reader value;
    uint32_t count;
    if (client->is_full)
        return STATUS_RESOURCE_EXHAUSTED;
    cr_assert_str_eq(method, "event.batch");
    cr_assert_leq(params.size, FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES / 2);
    cr_assert_eq(map_find(params, "events", &value), STATUS_OK);
    cr_assert_eq(reader_array(&value, &count), STATUS_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        struct event_item item = { 0 };
        struct problem problem;
        cr_assert_eq(reader_any(&value, &map), STATUS_OK);
        cr_assert_eq(fields_decode(&record_event_item, map, &arena, &item, &problem), STATUS_OK);
        cr_assert_lt(client->count, COUNT_OF(client->ids));
        client->ids[client->count++] = item.id;
    }
    client->notifications++;
    client->last_id = map_u64(params, "last_id", 0);
    if (client->is_asleep)
        client->unread += params.size;
    return STATUS_OK;
}

size_t rpc_call_unread(const struct rpc_call *call)
{
    return client_of(call)->unread;
}

void rpc_call_on_drained(struct rpc_call *call, void (*on_drained)(struct rpc_call *call))
{
    client_of(call)->on_drained = on_drained;
}

void rpc_call_fail(struct rpc_call *call, enum status status, const struct problem *problem)
{
    struct client *client = client_of(call);
    cr_assert_not(client->has_ended);
    cr_expect_not_null(strstr(problem->message, "resume after"));
    client->has_ended = true;
    client->ended_with = status;
}

void rpc_call_drop(struct rpc_call *call)
{
    client_of(call)->is_dropped = true;
}

/* --- helpers --- */

static void setup(void)
{
    fixture_open();
    memset(clients, 0, sizeof clients);
    loop = ev_loop_new(EVFLAG_AUTO);
    watch_list_open(&list, loop, &store, &no_access);
}

static void teardown(void)
{
    watch_list_close(&list);
    ev_loop_destroy(loop);
    fixture_close();
}

TestSuite(watch, .init = setup, .fini = teardown);

static void append_events(int count, const char *type, const char *tenant)
{
    static char text[2000];
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    memset(text, 'x', sizeof text - 1);
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    for (int i = 0; i < count; i++) {
        struct event_append_request request = request_of(type, tenant, "", payload_text(text));
        cr_assert_eq(appending_run(&store, &call, &request, 1, &outcome), STATUS_OK);
    }
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    watch_list_wake(&list);
}

/* As many turns as there is something to do in. */
static int run_turns(void)
{
    int turns = 0;
    while (ev_is_active(&list.slice) && turns < 10000) {
        ev_run(loop, EVRUN_ONCE);
        turns++;
    }
    return turns;
}

static void begin(struct client *client, const char *type, const char *tenant, uint64_t after)
{
    snprintf(client->filter.type, sizeof client->filter.type, "%s", type);
    snprintf(client->filter.tenant, sizeof client->filter.tenant, "%s", tenant);
    cr_assert_eq(watch_begin(&list, &client->call, &client->filter, after, after), STATUS_OK);
    cr_expect(client->is_deferred);
}

static void expect_ids(const struct client *client, uint64_t first, uint64_t last)
{
    cr_assert_eq(client->count, last - first + 1, "%zu events", client->count);
    for (uint64_t id = first; id <= last; id++)
        cr_assert_eq(client->ids[id - first], id);
}

/* --- the promises --- */

Test(watch, what_was_there_and_what_comes_is_sent_once_each)
{
    append_events(500, "app.x", "acme");
    begin(&clients[0], "", "", 0);
    run_turns();
    expect_ids(&clients[0], 1, 500);
    for (int i = 0; i < 20; i++) {
        append_events(7, "app.x", "acme");
        run_turns();
    }
    expect_ids(&clients[0], 1, 640);
    cr_expect_eq(clients[0].last_id, 640);
}

Test(watch, it_resumes_after_a_number)
{
    append_events(100, "app.x", "acme");
    begin(&clients[0], "", "", 42);
    run_turns();
    expect_ids(&clients[0], 43, 100);
}

Test(watch, a_number_beyond_the_end_is_refused)
{
    append_events(3, "app.x", "acme");
    cr_expect_eq(watch_begin(&list, &clients[0].call, &clients[0].filter, 4, 4),
                 STATUS_FAILED_PRECONDITION);
    cr_expect_str_eq(clients[0].call.problem.field, "after");
    cr_expect_not(clients[0].is_deferred);
    begin(&clients[1], "", "", 3);
    append_events(1, "app.x", "acme");
    run_turns();
    expect_ids(&clients[1], 4, 4);
}

Test(watch, a_number_before_the_log_begins_is_out_of_range)
{
    append_events(100, "app.x", "acme");
    begin(&clients[0], "", "", 0); /* and is not served before they go */
    fixture_cut(40);
    cr_expect_eq(watch_begin(&list, &clients[1].call, &clients[1].filter, 39, 39),
                 STATUS_OUT_OF_RANGE);
    cr_expect_str_eq(clients[1].call.problem.field, "after");
    run_turns();
    cr_expect(clients[0].has_ended);
    cr_expect_eq(clients[0].ended_with, STATUS_OUT_OF_RANGE);
    begin(&clients[2], "", "", 40);
    clients[3].call.caller.kind = CALLER_TOKEN;
    begin(&clients[3], "", "acme", 0); /* is not told where that is */
    run_turns();
    expect_ids(&clients[2], 41, 100);
    expect_ids(&clients[3], 41, 100);
}

Test(watch, filters_hold_for_old_and_new_events)
{
    begin(&clients[0], "app.a", "", 0);
    begin(&clients[1], "", "beta", 0);
    append_events(3, "app.a", "acme");
    append_events(2, "app.b", "beta");
    append_events(1, "app.a", "beta");
    run_turns();
    cr_expect_eq(clients[0].count, 4);
    cr_expect_eq(clients[0].ids[3], 6);
    cr_expect_eq(clients[1].count, 3);
    cr_expect_eq(clients[1].ids[0], 4);
}

Test(watch, catching_up_is_done_in_slices)
{
    append_events(2000, "app.x", "acme");
    begin(&clients[0], "", "", 0);
    int turns = run_turns();
    expect_ids(&clients[0], 1, 2000);
    cr_expect_gt(turns, 10, "%d turns", turns);
    cr_expect_gt(clients[0].notifications, 10);
}

Test(watch, many_share_the_bytes_of_one_turn)
{
    static char text[500 * 1024];
    struct rpc_call call = call_of_operator();
    memset(text, 'x', sizeof text - 1);
    struct event_append_request request = request_of("app.x", "acme", "", payload_text(text));
    for (int i = 0; i < 4; i++)
        must_append(&call, &request);
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        begin(&clients[i], "", "", 0);
    for (bool is_over = false; !is_over;) {
        size_t before = 0, after = 0;
        for (size_t i = 0; i < COUNT_OF(clients); i++)
            before += clients[i].count;
        ev_run(loop, EVRUN_ONCE);
        for (size_t i = 0; i < COUNT_OF(clients); i++)
            after += clients[i].count;
        cr_expect_leq((after - before) * sizeof text, 6 * 1024 * 1024);
        is_over = !ev_is_active(&list.slice);
    }
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        expect_ids(&clients[i], 1, 4);
}

Test(watch, a_client_that_does_not_read_is_waited_for_and_goes_on)
{
    append_events(2000, "app.x", "acme");
    clients[0].is_asleep = true;
    begin(&clients[0], "", "", 0);
    begin(&clients[1], "", "", 0);
    run_turns();
    cr_expect_lt(clients[0].unread, 2 * 1024 * 1024, "what waits is bounded");
    cr_expect_lt(clients[0].count, 2000);
    expect_ids(&clients[1], 1, 2000);
    cr_assert_not_null(clients[0].on_drained);
    clients[0].is_asleep = false;
    clients[0].unread = 0;
    clients[0].on_drained(&clients[0].call);
    run_turns();
    expect_ids(&clients[0], 1, 2000);
    cr_expect_not(clients[0].has_ended);
}

Test(watch, a_client_that_never_reads_is_cut_off, .timeout = 60)
{
    append_events(2000, "app.x", "acme");
    clients[0].is_asleep = true;
    begin(&clients[0], "", "", 0);
    run_turns();
    for (int i = 0; i < 20 && !clients[0].has_ended; i++)
        ev_run(loop, EVRUN_ONCE);
    cr_expect(clients[0].has_ended);
    cr_expect_eq(clients[0].ended_with, STATUS_RESOURCE_EXHAUSTED);
    cr_expect_eq(list.places.taken, 0);
}

Test(watch, a_client_too_far_behind_is_cut_off_at_once)
{
    append_events(10, "app.x", "acme");
    clients[0].is_full = true;
    begin(&clients[0], "", "", 0);
    run_turns();
    cr_expect(clients[0].has_ended);
    cr_expect_eq(clients[0].ended_with, STATUS_RESOURCE_EXHAUSTED);
}

Test(watch, a_client_that_went_away_is_forgotten)
{
    append_events(10, "app.x", "acme");
    begin(&clients[0], "", "", 0);
    begin(&clients[1], "", "", 0);
    clients[0].call.on_gone(&clients[0].call);
    cr_expect(clients[0].is_dropped);
    run_turns();
    cr_expect_eq(clients[0].count, 0);
    expect_ids(&clients[1], 1, 10);
    cr_expect_eq(list.places.taken, 1);
}

Test(watch, closing_ends_every_watch)
{
    begin(&clients[0], "", "", 0);
    begin(&clients[1], "", "", 0);
    watch_list_close(&list);
    cr_expect_eq(clients[0].ended_with, STATUS_UNAVAILABLE);
    cr_expect_eq(clients[1].ended_with, STATUS_UNAVAILABLE);
    cr_expect_eq(watch_begin(&list, &clients[2].call, &clients[2].filter, 0, 0),
                 STATUS_UNAVAILABLE);
}

Test(watch, there_is_a_most)
{
    begin(&clients[0], "", "", 0);
    list.places.taken = WATCHES_MAX;
    cr_expect_eq(watch_begin(&list, &clients[1].call, &clients[1].filter, 0, 0),
                 STATUS_RESOURCE_EXHAUSTED);
    cr_expect_neq(clients[1].call.problem.message[0], '\0');
    list.places.taken = 1;
}

Test(watch, a_tenant_has_a_quarter)
{
    for (int i = 0; i < 2; i++)
        clients[i].call.caller.kind = CALLER_TOKEN;
    begin(&clients[0], "", "", 0);
    struct share *others[WATCHES_MAX / 4 - 1];
    for (size_t i = 0; i < COUNT_OF(others); i++)
        others[i] = shares_take(&list.places, &clients[0].call.caller);
    cr_expect_eq(watch_begin(&list, &clients[1].call, &clients[1].filter, 0, 0),
                 STATUS_RESOURCE_EXHAUSTED);
    clients[2].call.caller.kind = CALLER_OPERATOR;
    begin(&clients[2], "", "", 0);
    for (size_t i = 0; i < COUNT_OF(others); i++)
        shares_give(&list.places, others[i]);
    begin(&clients[1], "", "", 0);
}

/* --- tokens --- */

Test(watch, it_ends_when_its_token_is_void)
{
    clients[0].call.caller.kind = CALLER_TOKEN;
    begin(&clients[0], "", "acme", 0);
    append_events(2, "app.x", "acme");
    run_turns();
    expect_ids(&clients[0], 1, 2);
    token_verdict = STATUS_UNAUTHENTICATED;
    append_events(1, "app.x", "acme");
    run_turns();
    cr_expect_eq(clients[0].count, 2, "not one event more");
    cr_expect(clients[0].has_ended);
    cr_expect_eq(clients[0].ended_with, STATUS_UNAUTHENTICATED);
    cr_expect_eq(list.places.taken, 0);
}

Test(watch, it_ends_when_its_token_is_void_and_nothing_happens)
{
    clients[0].call.caller.kind = CALLER_TOKEN;
    begin(&clients[0], "", "acme", 0);
    begin(&clients[1], "", "", 0);
    token_verdict = STATUS_UNAUTHENTICATED;
    while (!clients[0].has_ended)
        ev_run(loop, EVRUN_ONCE);
    cr_expect_eq(clients[0].ended_with, STATUS_UNAUTHENTICATED);
    cr_expect_not(clients[1].has_ended, "who came without a token stays");
}

Test(watch, a_token_learns_the_numbers_of_its_own_events_only)
{
    clients[0].call.caller.kind = CALLER_TOKEN;
    begin(&clients[0], "", "acme", 0);
    begin(&clients[1], "", "acme", 0);
    append_events(1, "app.x", "acme");
    append_events(5, "app.x", "beta");
    run_turns();
    cr_expect_eq(clients[0].count, 1);
    cr_expect_eq(clients[0].last_id, 1);
    cr_expect_eq(clients[1].last_id, 6);
    append_events(1, "app.x", "acme");
    run_turns();
    cr_expect_eq(clients[0].ids[1], 7);
}
