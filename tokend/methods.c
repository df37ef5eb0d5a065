/* The handlers: each reads its request, calls what decides, and fills its reply. */
#include "tokend/methods.h"

#include <stdio.h>
#include <string.h>

#include "common/access/daemon_methods.h"
#include "common/access/damaged_store.h"
#include "common/access/token_text.h"
#include "common/api/api.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/outbox/outbox_state.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tokend/changes.h"
#include "tokend/listing.h"
#include "tokend/token_events.h"

enum { LIST_LIMIT_DEFAULT = 100 };

/* --- changing --- */

static enum status handle_token_grant(struct tokend *tokend, struct rpc_call *call,
                                      const struct token_grant_request *request,
                                      struct token_grant_reply *reply)
{
    return change_grant(&tokend->store, call, request, reply);
}

static enum status handle_token_attenuate(struct tokend *tokend, struct rpc_call *call,
                                          const struct token_attenuate_request *request,
                                          struct token_attenuate_reply *reply)
{
    return change_attenuate(&tokend->store, call, request, reply);
}

static enum status handle_token_renew(struct tokend *tokend, struct rpc_call *call,
                                      const struct token_renew_request *request,
                                      struct token_renew_reply *reply)
{
    return change_renew(&tokend->store, call, request, reply);
}

static enum status handle_token_revoke(struct tokend *tokend, struct rpc_call *call,
                                       const struct token_revoke_request *request,
                                       struct token_revoke_reply *reply)
{
    return change_revoke(&tokend->store, call, request, reply);
}

static enum status handle_token_trust_clock(struct tokend *tokend, struct rpc_call *call,
                                            const struct token_trust_clock_request *request,
                                            struct token_trust_clock_reply *reply)
{
    (void)call, (void)request;
    TRY(token_store_trust_clock(&tokend->store, &reply->was_suspect));
    reply->now_ns = tokend->store.now_ns;
    return STATUS_OK;
}

/* --- reading --- */

static enum status handle_token_describe(struct tokend *tokend, struct rpc_call *call,
                                         const struct token_describe_request *request,
                                         struct token_describe_reply *reply)
{
    struct hash hash;
    struct token_record record;
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&tokend->store.db, &txn));
    TRY(change_target(&txn, call, "accessor", request->accessor, true, &hash, &record));
    buffer_clear(&tokend->items);
    reply->now_ns = token_store_now(&tokend->store);
    TRY(listing_item(&txn, &record, reply->now_ns, &tokend->items));
    ensure(!tokend->items.is_exhausted);
    reply->token = buffer_span(&tokend->items);
    return STATUS_OK;
}

static enum status handle_token_list(struct tokend *tokend, struct rpc_call *call,
                                     const struct token_list_request *request,
                                     struct token_list_reply *reply)
{
    struct listing listing = {
        .caller = &call->caller,
        .tenant = request->tenant,
        .after = request->after,
        .now_ns = token_store_now(&tokend->store),
        .count_max = request->limit == 0 ? LIST_LIMIT_DEFAULT : request->limit,
        .bytes_max = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES,
        .items = &tokend->items,
    };
    buffer_clear(&tokend->items);
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&tokend->store.db, &txn));
    enum status status = listing_read(&txn, &listing);
    if (status == STATUS_INVALID_ARGUMENT)
        return problem_set(&call->problem, status, "after", "must be what next was");
    TRY(status);
    buffer_clear(&tokend->list);
    write_array(&tokend->list, listing.count);
    buffer_append(&tokend->list, tokend->items.data, tokend->items.size);
    ensure(!tokend->list.is_exhausted);
    char *next = arena_alloc(call->arena, sizeof listing.next);
    ensure(next != NULL);
    memcpy(next, listing.next, sizeof listing.next);
    reply->tokens = buffer_span(&tokend->list);
    reply->next = next;
    reply->now_ns = listing.now_ns;
    return STATUS_OK;
}

static enum status handle_token_status(struct tokend *tokend, struct rpc_call *call,
                                       const struct token_status_request *request,
                                       struct token_status_reply *reply)
{
    (void)call, (void)request;
    struct token_store *store = &tokend->store;
    uint64_t revoked;
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&store->db, &txn));
    TRY(token_count(&txn, &reply->tokens, &revoked));
    reply->now_ns = token_store_now(store);
    reply->is_suspect = store->anchor.is_suspect;
    reply->is_persistent = tokend->is_persistent;
    reply->outbox = outbox_waiting(&store->outbox);
    reply->outbox_state = outbox_state_name(outbox_state(&store->outbox));
    reply->outbox_reason = store->outbox.reason;
    reply->checked = tokend->sweep.walk.count;
    reply->is_checked = tokend->sweep.is_checked;
    return STATUS_OK;
}

/* --- what verifiers saw --- */

/* Half of the outbox is for what must not be lost. */
static bool may_tell_denied(const struct token_store *store)
{
    return outbox_has_room(&store->outbox, OUTBOX_ROWS_MAX / 2);
}

static enum status take_use(struct token_store *store, const struct token_use *use, uint64_t *taken)
{
    struct uuid accessor;
    struct hash hash;
    struct token_record record;
    bool is_known = accessor_parse(use->accessor, &accessor) == STATUS_OK;
    if (is_known) {
        enum status status = token_find_accessor(&store->txn, &accessor, &hash, &record);
        is_known = status == STATUS_OK;
        if (!is_known && status != STATUS_NOT_FOUND)
            return status;
    }
    if (is_known && use->minute != 0)
        TRY(token_set_used(store, &accessor, use->minute));
    if (use->denied != 0 && (is_known || use->accessor[0] == '\0') && may_tell_denied(store))
        TRY(token_event_denied(store, is_known ? &record : NULL, use->denied, use->method));
    *taken += is_known;
    return STATUS_OK;
}

static enum status handle_token_report_use(struct tokend *tokend, struct rpc_call *call,
                                           const struct token_report_use_request *request,
                                           struct token_report_use_reply *reply)
{
    struct reader reader = reader_of(request->uses);
    uint32_t count;
    TRY(reader_array(&reader, &count));
    if (count > TOKEN_USES_REPORTED_MAX)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "uses",
                           "must have at most %d elements", TOKEN_USES_REPORTED_MAX);
    struct token_use *uses = arena_alloc(call->arena, (count + 1) * sizeof *uses);
    ensure(uses != NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        char place[32];
        TRY(reader_any(&reader, &map));
        enum status status =
            fields_decode(&record_token_use, map, call->arena, &uses[i], &call->problem);
        snprintf(place, sizeof place, "uses[%u]", i);
        if (status != STATUS_OK)
            problem_prefix(&call->problem, place);
        TRY(status);
    }
    for (uint32_t i = 0; i < count; i++) {
        enum status status = take_use(&tokend->store, &uses[i], &reply->taken);
        if (status != STATUS_OK)
            token_store_spoil(&tokend->store, status);
        TRY(status);
    }
    return STATUS_OK;
}

#define ROUTES_DEF     "common/api/tokend.def"
#define ROUTES_CONTEXT struct tokend
#define ROUTES_STORE
#include "common/api/routes.h"

/* What is whole may still be revoked: verifiers go on with it, and a revocation reads and changes
 * the rows of its own tokens alone, each of which is checked. */
static enum status may_serve(void *context, struct rpc_call *call)
{
    const struct tokend *tokend = context;
    bool is_revocation = call->method == &method_token_revoke;
    return is_revocation && !tokend->is_damaged ? STATUS_OK : damaged_store_refuse(context, call);
}

void tokend_note_damage(void *context)
{
    struct tokend *tokend = context;
    if (tokend->is_damaged || tokend->is_unsound)
        return;
    tokend->is_unsound = true;
    sweep_close(&tokend->sweep); /* what it would remove is what has to be looked at */
    damaged_store_say(&tokens_schema, STATUS_DATA_LOSS, tokend->store.db.dir);
}

/* --- the turn --- */

static enum status begin(void *context)
{
    struct tokend *tokend = context;
    return token_store_begin(&tokend->store);
}

static void abort_turn(void *context)
{
    struct tokend *tokend = context;
    if (tokend->store.in_turn)
        token_store_abort(&tokend->store);
}

static enum status commit(void *context)
{
    struct tokend *tokend = context;
    return tokend->store.in_turn ? token_store_commit(&tokend->store) : STATUS_OK;
}

void tokend_service(struct tokend *tokend, struct rpc_service *service)
{
    tokend->items.limit = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES;
    tokend->list.limit = FRAME_BYTES_MAX - MESSAGE_OVERHEAD_BYTES / 2;
    *service = (struct rpc_service){
        .routes = routes,
        .context = tokend,
        .may_serve = may_serve,
        .begin = begin,
        .commit = commit,
        .abort = abort_turn,
    };
}

void tokend_close(struct tokend *tokend)
{
    sweep_close(&tokend->sweep);
    token_store_close(&tokend->store);
    buffer_close(&tokend->items);
    buffer_close(&tokend->list);
}

/* --- counters --- */

void tokend_write_counters(void *context, struct buffer *buffer)
{
    struct tokend *tokend = context;
    struct token_store *store = &tokend->store;
    uint64_t used_bytes = 0, map_bytes = 0, tokens = 0, revoked = 0;
    AUTO(db_end) struct db_txn txn = { 0 };
    if (tokend->is_damaged) {
        write_map(buffer, 0);
        return;
    }
    if (db_usage(&store->db, &used_bytes, &map_bytes) == STATUS_OK &&
        db_begin_read(&store->db, &txn) == STATUS_OK)
        token_count(&txn, &tokens, &revoked);
    const struct counter counters[] = {
        { "tokens", tokens },
        { "token_restored", store->restored },
        { "token_persisted", store->persisted },
        { "token_renewed", store->renewed },
        { "token_revoked", store->revoked },
        { "token_expired", store->expired },
        { "token_checked", tokend->sweep.walk.count },
        { "outbox", outbox_waiting(&store->outbox) },
        { "outbox_acknowledged", store->outbox.acknowledged_count },
        { "outbox_refused", outbox_state(&store->outbox) == OUTBOX_REFUSED },
        { "clock_suspect", store->anchor.is_suspect },
        { "commits", store->commits },
        { "repeats", store->repeats },
        { "store_bytes", used_bytes },
        { "store_bytes_max", map_bytes },
    };
    counters_write(buffer, counters, COUNT_OF(counters));
}
