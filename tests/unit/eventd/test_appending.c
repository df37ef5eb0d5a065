/* Who may append what, and what a repeated request gets. */
#include "eventd/appending.h"

#include <stdio.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/db/requests.h"
#include "common/db/table.h"
#include "eventd/sources.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_fixture.h"

TestSuite(appending, .init = fixture_open, .fini = fixture_close);

static const struct span nothing;

static void expect_refused(struct rpc_call call, struct event_append_request request,
                           enum status expected, const char *field)
{
    struct append_outcome outcome;
    uint64_t before = store.committed_id;
    enum status status = append_one(&call, &request, &outcome);
    cr_expect_eq(status, expected, "%s by %d: %s instead of %s (%s)", request.type,
                 call.caller.kind, status_name(status), status_name(expected),
                 call.problem.message);
    cr_expect_str_eq(call.problem.field, field);
    cr_expect_neq(call.problem.message[0], '\0');
    cr_expect_eq(store.committed_id, before);
}

/* --- who may write what --- */

Test(appending, each_type_has_one_writer)
{
    static const char *const daemons[] = { "eventd", "tokend", "vaultd", "deployd", "solod" };
    for (int type = 0; type < EVENT_TYPES; type++) {
        const char *name = event_type_name((enum event_type)type);
        struct event_append_request request =
            request_of(name, "acme", "service/acme/api", payload_deploy("spec"));
        expect_refused(call_of_operator(), request, STATUS_PERMISSION_DENIED, "type");
        expect_refused(call_of_token("acme"), request, STATUS_PERMISSION_DENIED, "type");
        for (size_t i = 0; i < COUNT_OF(daemons); i++)
            if (!event_type_is_written_by((enum event_type)type, daemons[i]))
                expect_refused(call_of_daemon(daemons[i]), request, STATUS_PERMISSION_DENIED,
                               "type");
    }
    struct rpc_call call = call_of_daemon("deployd");
    struct event_append_request request = request_of("system_started", "", "system", nothing);
    cr_expect_eq(must_append(&call, &request), 1);
}

Test(appending, types_that_are_nobodys_are_refused)
{
    static const char *const types[] = { "",        "bogus",  "app",     "app.",
                                         "App.x",   "app.X",  "app. ",   "app.\n",
                                         "app.a/b", "apps.x", "service", "app.\xc3\xa9" };
    for (size_t i = 0; i < COUNT_OF(types); i++)
        expect_refused(call_of_operator(), request_of(types[i], "", "", nothing),
                       STATUS_INVALID_ARGUMENT, "type");
}

Test(appending, only_daemons_speak_for_others)
{
    const struct event_append_request plain = request_of("app.x", "acme", "", nothing);
    struct event_append_request request;
    request = plain, request.source = "me";
    expect_refused(call_of_operator(), request, STATUS_PERMISSION_DENIED, "source");
    request = plain, request.incarnation = span_of("one incarnation!", 16);
    expect_refused(call_of_operator(), request, STATUS_PERMISSION_DENIED, "incarnation");
    request = plain, request.source_number = 1;
    expect_refused(call_of_token("acme"), request, STATUS_PERMISSION_DENIED, "source_number");
    request = plain, request.causation_id = 1;
    expect_refused(call_of_token("acme"), request, STATUS_PERMISSION_DENIED, "causation_id");
    request = plain, request.intent = "service.deploy";
    expect_refused(call_of_operator(), request, STATUS_PERMISSION_DENIED, "intent");
    request = plain, request.body_hash.bytes[31] = 1;
    expect_refused(call_of_operator(), request, STATUS_PERMISSION_DENIED, "body_hash");
}

Test(appending, a_token_writes_for_its_own_tenant_only)
{
    struct rpc_call call = call_of_token("acme");
    struct event_append_request request = request_of("app.x", "", "", nothing);
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t id = must_append(&call, &request), head;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_head(&txn, HEAD_OF_TENANT, "acme", &head), STATUS_OK);
    cr_expect_eq(head, id);
    expect_refused(call_of_token("acme"), request_of("app.x", "beta", "", nothing),
                   STATUS_UNAUTHENTICATED, "token");
}

Test(appending, subjects_of_others_are_refused)
{
    expect_refused(call_of_token("acme"), request_of("app.x", "", "service/beta/api", nothing),
                   STATUS_PERMISSION_DENIED, "subject");
    expect_refused(call_of_token("acme"), request_of("app.x", "", "service/acme2/api", nothing),
                   STATUS_PERMISSION_DENIED, "subject");
    expect_refused(call_of_token("acme"), request_of("app.x", "", "secret/beta/key", nothing),
                   STATUS_PERMISSION_DENIED, "subject");
    expect_refused(call_of_operator(), request_of("app.x", "", "service/beta/api", nothing),
                   STATUS_PERMISSION_DENIED, "subject");
    expect_refused(call_of_operator(), request_of("app.x", "", "system", nothing),
                   STATUS_PERMISSION_DENIED, "subject");
    expect_refused(call_of_operator(), request_of("app.x", "", "token/tok_x", nothing),
                   STATUS_PERMISSION_DENIED, "subject");
    struct rpc_call call = call_of_token("acme");
    struct event_append_request request = request_of("app.x", "", "service/acme/api", nothing);
    cr_expect_eq(must_append(&call, &request), 1);
}

/* Salvage has nothing but bytes to go by: nobody writes a record into another one. */
Test(appending, a_payload_holds_no_record)
{
    uint8_t payload[] = "\xc4\x0ex" EVENT_MAGIC "\1\0\0\0x"; /* msgpack: 14 bytes */
    struct rpc_call token = call_of_token("acme");
    struct append_outcome outcome;
    struct event_append_request request =
        request_of("app.x", "", "", span_of(payload, sizeof payload - 1));
    cr_expect_eq(append_one(&token, &request, &outcome), STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(token.problem.field, "payload");
    payload[12] = 1; /* no format that can be */
    must_append(&token, &request);
}

Test(appending, a_cause_must_have_happened)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct event_append_request request = request_of("system_started", "", "system", nothing);
    must_append(&call, &request);
    request.causation_id = 2;
    expect_refused(call, request, STATUS_INVALID_ARGUMENT, "causation_id");
    request.causation_id = 1;
    must_append(&call, &request);
}

Test(appending, what_folds_must_have_what_the_fold_needs)
{
    struct rpc_call call = call_of_daemon("deployd");
    static const char service[] = "service/acme/api";
    expect_refused(call, request_of("service_deployed", "acme", service, nothing),
                   STATUS_INVALID_ARGUMENT, "payload.spec");
    expect_refused(call, request_of("service_deployed", "beta", service, payload_deploy("x")),
                   STATUS_INVALID_ARGUMENT, "tenant");
    expect_refused(call, request_of("service_deployed", "acme", "system", payload_deploy("x")),
                   STATUS_INVALID_ARGUMENT, "subject");
    expect_refused(call, request_of("service_completed", "acme", service, nothing),
                   STATUS_INVALID_ARGUMENT, "payload.generation");
    expect_refused(call, request_of("service_deployment_failed", "acme", service, payload_index(3)),
                   STATUS_INVALID_ARGUMENT, "payload.generation");
    expect_refused(call, request_of("tenant_created", "acme", "tenant/acme", nothing),
                   STATUS_INVALID_ARGUMENT, "payload.index");
    expect_refused(call, request_of("tenant_created", "", "", payload_index(1)),
                   STATUS_INVALID_ARGUMENT, "tenant");
}

Test(appending, a_tenant_and_its_index_are_created_once)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct event_append_request request =
        request_of("tenant_created", "acme", "tenant/acme", payload_index(1));
    must_append(&call, &request);
    expect_refused(call, request_of("tenant_created", "acme", "tenant/acme", payload_index(2)),
                   STATUS_ALREADY_EXISTS, "tenant");
    expect_refused(call, request_of("tenant_created", "beta", "tenant/beta", payload_index(1)),
                   STATUS_ALREADY_EXISTS, "payload.index");
    const struct event_append_request two[] = {
        request_of("tenant_created", "beta", "tenant/beta", payload_index(2)),
        request_of("tenant_created", "gamma", "tenant/gamma", payload_index(2)),
    };
    struct append_outcome outcome;
    cr_expect_eq(append_many(&call, two, 2, &outcome), STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(call.problem.field, "events[1].type");
}

/* Its map is used up: whoever looks for room finds none. */
static void be_short_of_space(bool is_short)
{
    static const struct db_schema *whole;
    static struct db_schema used_up;
    if (whole == NULL)
        whole = store.db.schema;
    used_up = *whole;
    used_up.map_bytes = 1;
    store.db.schema = is_short ? &used_up : whole;
    store.db.is_short_of_space = true;
}

Test(appending, without_space_nothing_that_grows_is_taken)
{
    static const char service[] = "service/acme/api";
    struct rpc_call call = call_of_daemon("deployd");
    be_short_of_space(true);
    expect_refused(call, request_of("service_deployed", "acme", service, payload_deploy("x")),
                   STATUS_RESOURCE_EXHAUSTED, "");
    expect_refused(call_of_operator(), request_of("app.x", "", "", nothing),
                   STATUS_RESOURCE_EXHAUSTED, "");
    struct event_append_request request = request_of("service_killed", "acme", service, nothing);
    must_append(&call, &request);
    be_short_of_space(false);
    request = request_of("service_deployed", "acme", service, payload_deploy("x"));
    must_append(&call, &request);
    cr_expect_not(store.db.is_short_of_space, "the first who asks finds the room");
}

/* Behind a report that is refused, the later ones of its source could not come. */
Test(appending, without_space_what_a_source_reports_and_a_recovery_is_taken)
{
    static const char *const types[] = { "service_started", "service_crashed", "service_restarted",
                                         "service_completed" };
    struct rpc_call call = call_of_daemon("deployd");
    be_short_of_space(true);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        struct event_append_request request =
            request_of(types[i], "acme", "service/acme/api", payload_generation(7));
        request.source = "tenantd/acme";
        request.incarnation = span_of("0123456789abcdef", 16);
        request.source_number = i + 1;
        must_append(&call, &request);
    }
    /* A kill, a start of Solo and a recovery of what is wanted already need no source. */
    static const char *const others[] = { "system_started", "recovery_started",
                                          "service_recovery_failed", "recovery_completed" };
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct event_append_request request =
            request_of(others[i], "acme", "service/acme/api", payload_generation(7));
        must_append(&call, &request);
    }
}

/* --- batches --- */

Test(appending, a_batch_is_all_or_nothing_and_stays_together)
{
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome;
    const struct event_append_request good[] = {
        request_of("app.a", "", "", nothing),
        request_of("app.b", "acme", "x", nothing),
        request_of("app.c", "", "x", nothing),
    };
    cr_assert_eq(append_many(&call, good, 3, &outcome), STATUS_OK);
    cr_expect_eq(outcome.first_id, 1);
    cr_expect_eq(outcome.count, 3);
    const struct event_append_request bad[] = {
        request_of("app.a", "", "", nothing),
        request_of("app.b", "", "", nothing),
        request_of("service_killed", "acme", "service/acme/api", nothing),
    };
    cr_expect_eq(append_many(&call, bad, 3, &outcome), STATUS_PERMISSION_DENIED);
    cr_expect_str_eq(call.problem.field, "events[2].type");
    cr_expect_eq(store.committed_id, 3);
}

/* --- repeated requests --- */

Test(appending, a_repeated_request_gets_its_first_outcome)
{
    struct rpc_call call = call_of_operator();
    struct uuid id = uuid_draw();
    struct append_outcome first, again;
    struct event_append_request request = request_of("app.x", "acme", "", payload_text("a"));
    call_identify(&call, &id, "body");
    cr_assert_eq(append_one(&call, &request, &first), STATUS_OK);
    cr_expect_not(first.is_repeat);
    cr_assert_eq(append_one(&call, &request, &again), STATUS_OK);
    cr_expect(again.is_repeat);
    cr_expect_eq(again.first_id, first.first_id);
    cr_expect_eq(again.count, 1);
    fixture_reopen();
    cr_assert_eq(append_one(&call, &request, &again), STATUS_OK);
    cr_expect(again.is_repeat, "also after a restart");
    cr_expect_eq(store.committed_id, 1);
    cr_expect_eq(store.repeats, 1);
}

Test(appending, a_request_repeated_within_its_turn_is_one)
{
    struct rpc_call call = call_of_operator();
    struct uuid id = uuid_draw();
    struct append_outcome first, again;
    struct event_append_request request = request_of("app.x", "acme", "", nothing);
    call_identify(&call, &id, "body");
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(appending_run(&store, &call, &request, 1, &first), STATUS_OK);
    cr_assert_eq(appending_run(&store, &call, &request, 1, &again), STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
    cr_expect(again.is_repeat);
    cr_expect_eq(again.first_id, first.first_id);
    cr_expect_eq(store.committed_id, 1);
}

Test(appending, the_same_id_with_another_body_or_tenant_is_a_conflict)
{
    struct rpc_call call = call_of_operator();
    struct uuid id = uuid_draw();
    struct event_append_request request = request_of("app.x", "acme", "", nothing);
    call_identify(&call, &id, "body");
    must_append(&call, &request);
    call_identify(&call, &id, "another body");
    expect_refused(call, request, STATUS_ABORTED, "request_id");
    call_identify(&call, &id, "body");
    request.tenant = "beta";
    expect_refused(call, request, STATUS_ABORTED, "request_id");
}

Test(appending, a_refused_request_may_be_mended_under_the_same_id)
{
    struct rpc_call call = call_of_operator();
    struct uuid id = uuid_draw();
    call_identify(&call, &id, "body");
    expect_refused(call, request_of("bogus", "", "", nothing), STATUS_INVALID_ARGUMENT, "type");
    call_identify(&call, &id, "mended");
    struct event_append_request request = request_of("app.x", "", "", nothing);
    must_append(&call, &request);
}

Test(appending, a_daemons_own_caller_is_the_one_compared)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct uuid id = uuid_draw();
    struct append_outcome outcome;
    struct event_append_request request =
        request_of("service_killed", "acme", "service/acme/api", nothing);
    request.body_hash = hash_of(span_of_text("service.kill of acme/api"));
    request.intent = "service.kill";
    call_identify(&call, &id, "one way to say it");
    must_append(&call, &request);
    call_identify(&call, &id, "another way to say it");
    cr_expect_eq(append_one(&call, &request, &outcome), STATUS_OK);
    cr_expect(outcome.is_repeat);
    request.body_hash = hash_of(span_of_text("something else"));
    expect_refused(call, request, STATUS_ABORTED, "request_id");
}

static struct uuid uuid_drawn_at(uint64_t milliseconds)
{
    struct uuid id = uuid_draw();
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(milliseconds >> (40 - 8 * i));
    return id;
}

Test(appending, an_id_too_old_or_from_the_future_is_refused)
{
    uint64_t now_ms = clock_wall_ns() / 1000000;
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.x", "", "", nothing);
    struct uuid id = uuid_drawn_at(now_ms - REQUESTS_KEPT_MS - 1000);
    call_identify(&call, &id, "body");
    expect_refused(call, request, STATUS_INVALID_ARGUMENT, "request_id");
    id = uuid_drawn_at(now_ms + 2 * 60 * 60 * 1000);
    call_identify(&call, &id, "body");
    expect_refused(call, request, STATUS_INVALID_ARGUMENT, "request_id");
    id = uuid_drawn_at(now_ms - REQUESTS_KEPT_MS + 60 * 1000);
    call_identify(&call, &id, "body");
    must_append(&call, &request);
}

static uint64_t rows(unsigned table)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t count;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(table_count(&txn, table, &count), STATUS_OK);
    return count;
}

Test(appending, old_requests_are_forgotten_in_steps)
{
    const uint64_t now_ms = clock_wall_ns() / 1000000;
    const struct request_outcome outcome = { .intent = "", .first_id = 1, .count = 1 };
    struct db_txn txn;
    unsigned pruned;
    bool are_due;
    cr_assert_eq(db_begin_write(&store.db, &txn), STATUS_OK);
    for (int i = 0; i < 20; i++) {
        struct uuid id = uuid_drawn_at(i < 10 ? now_ms - REQUESTS_KEPT_MS - 5 : now_ms);
        cr_assert_eq(requests_put(&txn, EVENTS_REQUESTS, &id, &outcome), STATUS_OK);
    }
    cr_assert_eq(requests_are_due(&txn, EVENTS_REQUESTS, now_ms, &are_due), STATUS_OK);
    cr_expect(are_due);
    cr_assert_eq(requests_prune(&txn, EVENTS_REQUESTS, now_ms, 1000, 4, &pruned), STATUS_OK);
    cr_expect_eq(pruned, 4, "no more than asked");
    cr_assert_eq(requests_prune(&txn, EVENTS_REQUESTS, now_ms, 1000, 100, &pruned), STATUS_OK);
    cr_expect_eq(pruned, 6, "no younger ones");
    cr_assert_eq(requests_prune(&txn, EVENTS_REQUESTS, now_ms, 7, 100, &pruned), STATUS_OK);
    cr_expect_eq(pruned, 3, "down to what is kept at most");
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    cr_expect_eq(rows(EVENTS_REQUESTS), 7);
    cr_expect_eq(event_store_tidy(&store), STATUS_OK);
    cr_expect_eq(rows(EVENTS_REQUESTS), 7);
}

/* Ten years ahead for two days, and right again: rows and mark of the future refuse nobody. */
Test(appending, after_a_clock_that_was_ahead_requests_are_taken_again)
{
    const uint64_t now_ms = clock_wall_ns() / 1000000, ahead_ms = now_ms + 87600ull * 3600 * 1000;
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.x", "", "", nothing);
    const struct request_outcome outcome = { .intent = "", .first_id = 1, .count = 1 };
    struct uuid before = uuid_drawn_at(now_ms - 1000), then = uuid_drawn_at(ahead_ms);
    struct db_txn txn;
    cr_assert_eq(db_begin_write(&store.db, &txn), STATUS_OK);
    cr_assert_eq(requests_put(&txn, EVENTS_REQUESTS, &then, &outcome), STATUS_OK);
    cr_assert_eq(requests_forget(&txn, ahead_ms - 1), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    fixture_reopen();
    cr_expect_eq(rows(EVENTS_REQUESTS), 0);
    call_identify(&call, &before, "body");
    expect_refused(call, request, STATUS_INVALID_ARGUMENT, "request_id");
    struct uuid after = uuid_drawn_at(clock_wall_ns() / 1000000 + 2);
    call_identify(&call, &after, "body");
    must_append(&call, &request);
    /* Half an hour was enough to keep a start from being recorded. */
    cr_assert_eq(db_begin_write(&store.db, &txn), STATUS_OK);
    cr_assert_eq(requests_forget(&txn, now_ms + 30 * 60 * 1000), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    fixture_reopen();
    struct uuid later = uuid_drawn_at(clock_wall_ns() / 1000000 + 2);
    call_identify(&call, &later, "body");
    must_append(&call, &request);
}

/* Pruned by count, long before they are too old: never carried out a second time. */
Test(appending, a_forgotten_id_is_refused_not_carried_out_again)
{
    const uint64_t now_ms = clock_wall_ns() / 1000000;
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.x", "", "", nothing);
    struct uuid ids[4];
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        ids[i] = uuid_drawn_at(now_ms - 1000 + i);
        call_identify(&call, &ids[i], "body");
        must_append(&call, &request);
    }
    struct db_txn txn;
    unsigned pruned;
    cr_assert_eq(event_store_tidy(&store), STATUS_OK);
    cr_expect_eq(rows(EVENTS_REQUESTS), COUNT_OF(ids));
    cr_assert_eq(db_begin_write(&store.db, &txn), STATUS_OK);
    cr_assert_eq(requests_prune(&txn, EVENTS_REQUESTS, now_ms, 2, 100, &pruned), STATUS_OK);
    cr_expect_eq(pruned, 2);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    for (int restarts = 0; restarts < 2; restarts++) {
        for (size_t i = 0; i < 2; i++) {
            call_identify(&call, &ids[i], "body");
            expect_refused(call, request, STATUS_INVALID_ARGUMENT, "request_id");
        }
        struct append_outcome outcome;
        call_identify(&call, &ids[2], "body");
        cr_assert_eq(append_one(&call, &request, &outcome), STATUS_OK);
        cr_expect(outcome.is_repeat);
        cr_expect_eq(outcome.first_id, 3);
        fixture_reopen();
    }
    struct uuid fresh = uuid_drawn_at(now_ms - 998);
    call_identify(&call, &fresh, "body");
    must_append(&call, &request);
}

/* An id that was drawn before the mark, but whose row came behind it. */
Test(appending, forgetting_an_older_id_does_not_take_a_younger_one_back)
{
    const uint64_t now_ms = clock_wall_ns() / 1000000;
    const struct request_outcome outcome = { .intent = "", .first_id = 1, .count = 1 };
    const struct uuid ids[] = { uuid_drawn_at(now_ms - 1000), uuid_drawn_at(now_ms - 2000) };
    struct uuid forgotten;
    struct db_txn txn;
    unsigned pruned;
    cr_assert_eq(db_begin_write(&store.db, &txn), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        cr_assert_eq(requests_put(&txn, EVENTS_REQUESTS, &ids[i], &outcome), STATUS_OK);
        cr_assert_eq(requests_prune(&txn, EVENTS_REQUESTS, now_ms, 0, 100, &pruned), STATUS_OK);
        cr_expect_eq(pruned, 1);
        cr_assert_eq(requests_forgotten(&txn, &forgotten), STATUS_OK);
        cr_expect_arr_eq(forgotten.bytes, ids[0].bytes, UUID_BYTES);
    }
    db_end(&txn);
}

Test(appending, requests_without_an_id_leave_no_row)
{
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.x", "", "", nothing);
    must_append(&call, &request);
    cr_expect_eq(rows(EVENTS_REQUESTS), 0);
}
