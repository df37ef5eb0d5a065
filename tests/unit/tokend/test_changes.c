#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/db/table.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"
#include "tests/unit/tokend/token_fixture.h"
#include "tokend/listing.h"

TestSuite(changes, .init = fixture_open, .fini = fixture_close, .timeout = 120);

Test(changes, a_grant_is_there_after_a_restart_and_told)
{
    const char *accessor = granted("acme", "read", 0);
    fixture_reopen();
    cr_assert(is_there(accessor));
    cr_assert_eq(store.restored, 1);
    cr_assert_eq(told("capability_granted"), 1);
}

/* A copy of another time knows as little of what was revoked when it holds no token. */
Test(changes, only_a_store_that_was_just_made_is_vouched_for_without_the_log)
{
    cr_assert(token_store_is_vouched(&store));
    fixture_reopen();
    cr_assert(token_store_is_vouched(&store), "it is the one that was left");
    cr_assert_eq(unlink(scratch_path(TOKENS_VOUCHER)), 0);
    fixture_reopen();
    cr_assert_eq(store.restored, 0);
    cr_assert_not(token_store_is_vouched(&store));
    token_store_vouch(&store);
    cr_assert(token_store_is_vouched(&store));
}

/* Neither is looked up: what decides is whether the request was made before. */
Test(changes, a_revoked_token_is_let_to_a_turn_no_sooner_than_an_unknown_one)
{
    struct rpc_call call = call_of_operator();
    struct token_grant_reply reply;
    const char *read = "read";
    char revoked_text[TOKEN_TEXT_BYTES], unknown_text[TOKEN_TEXT_BYTES];
    uint64_t count;
    token_text_draw(revoked_text);
    token_text_draw(unknown_text);
    const struct span revoked = span_of_text(revoked_text), unknown = span_of_text(unknown_text);
    const struct token_grant_request request = { .token_hash = token_text_hash(revoked),
                                                 .tenant = "acme",
                                                 .permissions = { &read, 1 } };
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_OK);
    call.has_request_id = true;
    call.request_id = uuid_draw();
    cr_assert_eq(try_revoke(&call, reply.accessor, &count), STATUS_OK);
    cr_assert(change_may_ask_again(&store, &call, revoked));
    cr_assert(change_may_ask_again(&store, &call, unknown));
    call.request_id = uuid_draw();
    cr_assert_not(change_may_ask_again(&store, &call, revoked));
    cr_assert_not(change_may_ask_again(&store, &call, unknown));
    call.has_request_id = false;
    cr_assert_not(change_may_ask_again(&store, &call, revoked));
}

Test(changes, a_hash_is_granted_once_also_after_it_was_revoked)
{
    struct rpc_call call = call_of_operator();
    struct token_grant_reply reply;
    const char *read = "read";
    uint64_t revoked;
    struct token_grant_request request = { .token_hash = hash_drawn(),
                                           .tenant = "acme",
                                           .permissions = { &read, 1 } };
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_OK);
    char accessor[ACCESSOR_TEXT_BYTES];
    snprintf(accessor, sizeof accessor, "%s", reply.accessor);
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_ALREADY_EXISTS);
    cr_assert_eq(try_revoke(&call, accessor, &revoked), STATUS_OK);
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_ALREADY_EXISTS);
    request.token_hash = (struct hash){ { 0 } };
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_INVALID_ARGUMENT);
}

Test(changes, nobody_grants_what_they_do_not_have)
{
    struct rpc_call call = call_of_token(granted("acme", "tokens:grant", 0));
    struct token_grant_reply reply;
    const char *permission = "deploy";
    struct token_grant_request request = { .token_hash = hash_drawn(),
                                           .tenant = "acme",
                                           .permissions = { &permission, 1 } };
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_PERMISSION_DENIED);
    permission = "operator";
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(call.problem.field, "permissions[0]");
    permission = "tokens:grant";
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_OK);
    request.permissions.count = 0;
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_INVALID_ARGUMENT);
}

Test(changes, a_child_is_never_wider_nor_longer_lived_and_dies_with_its_parent)
{
    char parent[ACCESSOR_TEXT_BYTES], child[ACCESSOR_TEXT_BYTES], grandchild[ACCESSOR_TEXT_BYTES];
    snprintf(parent, sizeof parent, "%s", granted("acme", "read", 60000));
    struct rpc_call call = call_of_token(parent), operator= call_of_operator();
    struct token_attenuate_reply reply;
    const char *permission = "kill";
    struct token_attenuate_request request = { .token_hash = hash_drawn(),
                                               .parent = "",
                                               .permissions = { &permission, 1 } };
    cr_assert_eq(try_attenuate(&call, &request, &reply), STATUS_PERMISSION_DENIED);
    permission = "read";
    request.ttl_ms = 3600000;
    cr_assert_eq(try_attenuate(&call, &request, &reply), STATUS_OK);
    cr_assert_leq(reply.expires_ns, store.now_ns + 60000ull * 1000000u);
    snprintf(child, sizeof child, "%s", reply.accessor);
    snprintf(grandchild, sizeof grandchild, "%s", attenuated(child));

    uint64_t revoked;
    call = call_of_token(child);
    cr_assert_eq(try_revoke(&call, parent, &revoked), STATUS_NOT_FOUND, "not upwards");
    cr_assert_eq(try_revoke(&operator, parent, &revoked), STATUS_OK);
    cr_assert_eq(revoked, 3);
    cr_assert_not(is_there(parent) || is_there(child) || is_there(grandchild));
    cr_assert_eq(told("capability_revoked"), 3);
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    static const unsigned emptied[] = { TOKENS_TOKENS, TOKENS_BY_TENANT, TOKENS_BY_ACCESSOR,
                                        TOKENS_CHILDREN };
    for (size_t i = 0; i < COUNT_OF(emptied); i++) {
        uint64_t count;
        cr_assert_eq(table_count(&txn, emptied[i], &count), STATUS_OK);
        cr_assert_eq(count, 0, "table %u has %lu rows", emptied[i], count);
    }
}

Test(changes, a_token_revokes_itself_and_what_descends_from_it_but_no_other)
{
    char parent[ACCESSOR_TEXT_BYTES], child[ACCESSOR_TEXT_BYTES], other[ACCESSOR_TEXT_BYTES];
    uint64_t revoked;
    snprintf(parent, sizeof parent, "%s", granted("acme", "read", 0));
    snprintf(child, sizeof child, "%s", attenuated(parent));
    snprintf(other, sizeof other, "%s", granted("acme", "read", 0));
    struct rpc_call call = call_of_token(parent);
    cr_assert_eq(try_revoke(&call, other, &revoked), STATUS_NOT_FOUND);
    cr_assert_eq(try_revoke(&call, child, &revoked), STATUS_OK);
    cr_assert_eq(try_revoke(&call, "", &revoked), STATUS_OK);
    cr_assert(is_there(other));
    struct rpc_call grants = call_of_token(granted("beta", "tokens:grant", 0));
    cr_assert_eq(try_revoke(&grants, other, &revoked), STATUS_NOT_FOUND, "another tenant's");
}

Test(changes, depth_and_family_have_bounds)
{
    const char *accessor = granted("acme", "read", 0);
    char root[ACCESSOR_TEXT_BYTES];
    snprintf(root, sizeof root, "%s", accessor);
    for (int depth = 0; depth < TOKEN_DEPTH_MAX; depth++)
        accessor = attenuated(accessor);
    struct rpc_call call = call_of_token(accessor);
    struct token_attenuate_reply reply;
    struct token_attenuate_request request = { .token_hash = hash_drawn(), .parent = "" };
    cr_assert_eq(try_attenuate(&call, &request, &reply), STATUS_RESOURCE_EXHAUSTED);
    for (int i = TOKEN_DEPTH_MAX; i < TOKEN_DESCENDANTS_MAX; i++)
        attenuated(root);
    call = call_of_token(root);
    cr_assert_eq(try_attenuate(&call, &request, &reply), STATUS_RESOURCE_EXHAUSTED);
    uint64_t revoked;
    cr_assert_eq(try_revoke(&call, "", &revoked), STATUS_OK);
    cr_assert_eq(revoked, 1 + TOKEN_DESCENDANTS_MAX);
}

Test(changes, an_end_moves_away_only_and_what_has_expired_stays_so)
{
    struct rpc_call call = call_of_operator();
    struct token_renew_reply reply;
    const char *accessor = granted("acme", "read", 60000);
    uint64_t end = store.now_ns + 60000ull * 1000000u;
    cr_assert_eq(try_renew(&call, accessor, 1000, &reply), STATUS_OK);
    cr_assert_eq(reply.expires_ns, end, "not nearer");
    fixture_pass(30);
    cr_assert_eq(try_renew(&call, accessor, 0, &reply), STATUS_OK);
    cr_assert_geq(reply.expires_ns, end + 30000ull * 1000000u);
    fixture_pass(61);
    cr_assert_eq(try_renew(&call, accessor, 0, &reply), STATUS_FAILED_PRECONDITION);
    cr_assert_eq(told("capability_renewed"), 2);
}

/* What was counted from a time years ahead would live for years once the clock is right again. */
Test(changes, no_ttl_is_counted_from_a_suspect_clock)
{
    const uint64_t ten_years_ns = 3650ull * 86400u * 1000000000u;
    const char *read = "read";
    char with_end[ACCESSOR_TEXT_BYTES], other[ACCESSOR_TEXT_BYTES];
    snprintf(with_end, sizeof with_end, "%s", granted("acme", "read", 1000ull * 86400u * 4000u));
    snprintf(other, sizeof other, "%s", granted("acme", "read", 60000));
    store.anchor.is_suspect = true;
    store.anchor.mark_ns = store.anchor.wall_ns;
    store.anchor.wall_ns += ten_years_ns;
    struct rpc_call call = call_of_operator();
    struct token_grant_reply reply;
    struct token_attenuate_reply child;
    struct token_renew_reply renewed;
    uint64_t revoked;
    struct token_grant_request request = {
        .token_hash = hash_drawn(), .tenant = "acme", .permissions = { &read, 1 }, .ttl_ms = 60000
    };
    const struct token_attenuate_request of_parent = { .token_hash = hash_drawn(),
                                                       .parent = with_end,
                                                       .ttl_ms = 60000 };
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_FAILED_PRECONDITION);
    cr_assert(strstr(call.problem.message, "soloctl token trust-clock"));
    cr_assert_eq(try_attenuate(&call, &of_parent, &child), STATUS_FAILED_PRECONDITION);
    cr_assert_eq(try_renew(&call, with_end, 0, &renewed), STATUS_FAILED_PRECONDITION);
    cr_assert_eq(try_renew(&call, with_end, 60000, &renewed), STATUS_FAILED_PRECONDITION);
    attenuated(with_end); /* to its parent's end, which was counted before */
    request.ttl_ms = 0;
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_OK);
    cr_assert_eq(reply.expires_ns, 0);
    cr_assert_eq(try_revoke(&call, other, &revoked), STATUS_OK);

    /* Trusted again, at the time that was right: what says "revoked" goes as it always does. */
    bool was_suspect, is_more;
    cr_assert_eq(token_store_begin(&store), STATUS_OK);
    cr_assert_eq(token_store_trust_clock(&store, &was_suspect), STATUS_OK);
    cr_assert_eq(token_store_commit(&store), STATUS_OK);
    cr_assert(was_suspect);
    fixture_pass(REQUESTS_KEPT_MS / 1000 + 3600);
    cr_assert_eq(sweep_expired(&store, SWEEP_SLICE_ROWS, &is_more), STATUS_OK);
    uint64_t tokens, kept;
    AUTO(db_end) struct db_txn txn = { 0 };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(token_count(&txn, &tokens, &kept), STATUS_OK);
    cr_assert_eq(tokens, 3);
    cr_assert_eq(kept, 0);
}

/* Whoever gives rights away, or time, gives of what they have. */
Test(changes, what_a_token_grants_ends_no_later_than_itself)
{
    char granter[ACCESSOR_TEXT_BYTES], other[ACCESSOR_TEXT_BYTES];
    snprintf(granter, sizeof granter, "%s", granted("acme", "tokens:grant", 60000));
    uint64_t end = store.now_ns + 60000ull * 1000000u;
    struct rpc_call call = call_of_token(granter), operator= call_of_operator();
    struct token_grant_reply reply;
    struct token_attenuate_reply child;
    struct token_renew_reply renewed;
    const char *permission = "tokens:grant";
    struct token_grant_request request = { .token_hash = hash_drawn(),
                                           .tenant = "acme",
                                           .permissions = { &permission, 1 } };
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_OK);
    cr_assert_eq(reply.expires_ns, end, "without a ttl");
    request.token_hash = hash_drawn();
    request.ttl_ms = 3600000;
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_OK);
    cr_assert_eq(reply.expires_ns, end, "with a longer one");
    snprintf(other, sizeof other, "%s", granted("acme", "tokens:grant", 0));
    const struct token_attenuate_request of_other = { .token_hash = hash_drawn(), .parent = other };
    cr_assert_eq(try_attenuate(&call, &of_other, &child), STATUS_OK);
    cr_assert_eq(child.expires_ns, end, "a child of a longer-lived one");
    snprintf(other, sizeof other, "%s", granted("acme", "tokens:grant", 30000));
    cr_assert_eq(try_renew(&call, other, 3600000, &renewed), STATUS_OK);
    cr_assert_eq(renewed.expires_ns, end, "a renewal");
    cr_assert_eq(try_renew(&call, granter, 3600000, &renewed), STATUS_PERMISSION_DENIED);
    call.caller.kind = CALLER_OPERATOR; /* as with the permission admin */
    cr_assert_eq(try_renew(&call, granter, 3600000, &renewed), STATUS_PERMISSION_DENIED);
    request.token_hash = hash_drawn();
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_OK);
    cr_assert_eq(reply.expires_ns, end, "of an admin token");
    uint64_t revoked;
    cr_assert_eq(try_revoke(&operator, granter, &revoked), STATUS_OK);
    request.token_hash = hash_drawn();
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_UNAUTHENTICATED, "revoked meanwhile");
}

Test(changes, a_wider_token_is_not_there_for_who_grants)
{
    char granter[ACCESSOR_TEXT_BYTES], admin[ACCESSOR_TEXT_BYTES];
    struct token_renew_reply renewed;
    uint64_t revoked;
    snprintf(granter, sizeof granter, "%s", granted("acme", "tokens:grant", 0));
    snprintf(admin, sizeof admin, "%s", granted("acme", "admin", 60000));
    struct rpc_call call = call_of_token(granter), operator= call_of_operator();
    cr_assert_eq(try_renew(&call, admin, 0, &renewed), STATUS_NOT_FOUND);
    cr_assert_eq(try_revoke(&call, admin, &revoked), STATUS_NOT_FOUND);
    cr_assert(is_there(admin));
    AUTO(buffer_close) struct buffer items = { .limit = 65536 };
    AUTO(db_end) struct db_txn txn = { 0 };
    struct listing listing = { .caller = &call.caller,
                               .tenant = "acme",
                               .after = "",
                               .count_max = 10,
                               .bytes_max = 65536,
                               .items = &items };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(listing_read(&txn, &listing), STATUS_OK);
    cr_assert_eq(listing.count, 1, "itself");
    listing.caller = &operator.caller;
    listing.looked = listing.count = 0;
    cr_assert_eq(listing_read(&txn, &listing), STATUS_OK);
    cr_assert_eq(listing.count, 2);
}

/* At the outbox's bound grants are refused and revocations still work. */
Test(changes, a_full_outbox_refuses_grants_and_takes_revocations)
{
    const char *accessor = granted("acme", "read", 0);
    struct rpc_call call = call_of_operator();
    struct token_grant_reply reply;
    const char *read = "read";
    const struct token_grant_request request = { .token_hash = hash_drawn(),
                                                 .tenant = "acme",
                                                 .permissions = { &read, 1 } };
    cr_assert_eq(token_store_begin(&store), STATUS_OK);
    const struct event_append_request event = { .type = "x", .tenant = "", .subject = "" };
    while (outbox_has_room(&store.outbox, 1))
        cr_assert_eq(outbox_put(&store.outbox, &store.txn, &event), STATUS_OK);
    cr_assert_eq(token_store_commit(&store), STATUS_OK);
    cr_assert_eq(try_grant(&call, &request, &reply), STATUS_RESOURCE_EXHAUSTED);
    cr_assert_gt(call.problem.retry_after_ms, 0);
    uint64_t revoked;
    cr_assert_eq(try_revoke(&call, accessor, &revoked), STATUS_OK);
    cr_assert_not(is_there(accessor));
}

/* A stop in the moment after an older file was written over ours must not make it a clean one. */
Test(changes, a_store_that_was_written_over_is_not_closed_cleanly)
{
    AUTO(buffer_close) struct buffer older = { .limit = 64 << 20 };
    char path[4096];
    cr_assert_eq(path_join(path, scratch_path("tokens"), "data.mdb"), STATUS_OK);
    const char *accessor = granted("acme", "read", 0);
    cr_assert_eq(file_read(path, &older), STATUS_OK);
    struct rpc_call call = call_of_operator();
    uint64_t revoked;
    cr_assert_eq(try_revoke(&call, accessor, &revoked), STATUS_OK);
    {
        AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
        cr_assert_eq(fd_write_all(fd, buffer_span(&older)), STATUS_OK);
    }
    cr_expect_neq(token_store_close_cleanly(&store), STATUS_OK);
    cr_expect(store.db.is_replaced);
    db_fail_replaced(&store.db);
    cr_expect(store.db.is_replaced, "also when it is met again");
}
