/* A request's way into the log: admission of each event, then whether it was there before (by
 * request, by source), then the writes. There are no nested transactions, so nothing is written
 * until nothing but the disk can refuse. */
#include "eventd/appending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/event_log.h"
#include "common/base/log.h"
#include "eventd/admission.h"
#include "eventd/sources.h"

/* An event of the request, from its check until it is written. */
struct draft {
    struct event event;
    enum event_type type;
    struct source_position source; /* name is NULL without one */
    uint64_t repeats;              /* the event that it was already; 0: it is new */
};

static struct hash source_body(const struct event_append_request *item, const struct event *event)
{
    return hash_is_zero(&item->body_hash) ? sources_body(event) : item->body_hash;
}

/* The newest number of the draft's source: of this request's events before it, else of the table.
 */
static enum status source_last(struct event_store *store, const struct draft *drafts, size_t index,
                               uint64_t *last)
{
    const struct source_position *mine = &drafts[index].source;
    for (size_t i = index; i-- > 0;) {
        const struct source_position *other = &drafts[i].source;
        if (other->name != NULL && drafts[i].repeats == 0 && strcmp(other->name, mine->name) == 0 &&
            memcmp(other->incarnation, mine->incarnation, SOURCE_INCARNATION_BYTES) == 0) {
            *last = other->number;
            return STATUS_OK;
        }
    }
    return sources_last(&store->txn, mine, last);
}

static enum status check_source(struct event_store *store, struct draft *drafts, size_t index,
                                struct problem *problem)
{
    uint64_t last;
    TRY(source_last(store, drafts, index, &last));
    enum status status =
        sources_check(&store->txn, &drafts[index].source, last, &drafts[index].repeats, problem);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Two events of one request that create the same tenant, or share an index, would pass one by one.
 */
static enum status check_tenants_differ(const struct draft *drafts, size_t index,
                                        struct problem *problem)
{
    for (size_t i = 0; drafts[index].type == EVENT_tenant_created && i < index; i++)
        if (drafts[i].type == EVENT_tenant_created)
            return problem_set(problem, STATUS_INVALID_ARGUMENT, "type",
                               "only one tenant can be created by one request");
    return STATUS_OK;
}

static enum status check_all(struct event_store *store, struct rpc_call *call,
                             const struct event_append_request *items, size_t count,
                             struct draft *drafts)
{
    for (size_t i = 0; i < count; i++) {
        struct draft *draft = &drafts[i];
        enum status status = admission_check(store, &call->caller, &items[i], &draft->event,
                                             &draft->type, &call->problem);
        if (status == STATUS_OK)
            status = check_tenants_differ(drafts, i, &call->problem);
        if (status == STATUS_OK && items[i].source[0] != '\0') {
            draft->source = (struct source_position){
                .name = items[i].source,
                .incarnation = draft->event.incarnation,
                .number = items[i].source_number,
                .body_hash = source_body(&items[i], &draft->event),
                .jump_until = store->branch.now.noted_id,
            };
            status = check_source(store, drafts, i, &call->problem);
        }
        if (status != STATUS_OK) {
            if (count > 1) {
                char place[32];
                snprintf(place, sizeof place, "events[%zu]", i);
                problem_prefix(&call->problem, place);
            }
            return status;
        }
    }
    return STATUS_OK;
}

/* The body a repetition is compared with: the caller's, or the one that a daemon passes on for its
 * own caller. */
static struct hash request_body(const struct rpc_call *call,
                                const struct event_append_request *first, const char *tenant)
{
    return event_log_request_body(tenant, hash_is_zero(&first->body_hash) ? &call->body_hash
                                                                          : &first->body_hash);
}

static enum status find_request(struct event_store *store, struct rpc_call *call,
                                const struct hash *body, struct append_outcome *outcome)
{
    struct request_outcome recorded;
    TRY(late_rows_find_request(&store->late, &store->txn, &call->request_id, body, &recorded,
                               &call->problem));
    *outcome = (struct append_outcome){
        .first_id = recorded.first_id,
        .last_id = recorded.first_id + recorded.count - 1,
        .count = recorded.count,
        .is_repeat = true,
    };
    return STATUS_OK;
}

/* Has the first event that is new tell the request's outcome, so that its row may be written late;
 * false when it cannot: there is none, or the row says more than the record. */
static bool record_outcome(const struct rpc_call *call, const struct event_append_request *items,
                           const struct hash *body, struct draft *drafts, size_t count)
{
    struct draft *first = NULL;
    uint64_t new_count = 0;
    for (size_t i = count; i-- > 0;)
        if (drafts[i].repeats == 0)
            first = &drafts[i], new_count++;
    if (!call->has_request_id || first == NULL || first->type != EVENT_APP ||
        items[0].intent[0] != '\0')
        return false;
    first->event.request_hash = *body;
    first->event.request_count = new_count;
    return true;
}

static enum status write_all(struct event_store *store, struct rpc_call *call, struct draft *drafts,
                             size_t count, struct append_outcome *outcome)
{
    for (size_t i = 0; i < count; i++) {
        struct draft *draft = &drafts[i];
        outcome->last_id = draft->repeats;
        if (draft->repeats != 0)
            continue;
        draft->event.has_request_id = call->has_request_id;
        draft->event.request_id = call->request_id;
        TRY(event_store_append(store, draft->type, &draft->event));
        if (draft->source.name != NULL)
            TRY(sources_put(&store->txn, &draft->source, draft->event.id));
        outcome->last_id = draft->event.id;
        if (outcome->count++ == 0)
            outcome->first_id = draft->event.id;
    }
    if (outcome->count > 0)
        return STATUS_OK;
    *outcome = (struct append_outcome){
        .first_id = drafts[0].repeats,
        .last_id = drafts[count - 1].repeats,
        .count = count,
        .is_repeat = true,
    };
    return STATUS_OK;
}

static enum status run(struct event_store *store, struct rpc_call *call,
                       const struct event_append_request *items, size_t count, struct draft *drafts,
                       struct append_outcome *outcome)
{
    const char *tenant;
    struct hash body = { { 0 } };
    *outcome = (struct append_outcome){ 0 };
    TRY(admission_tenant(&call->caller, items[0].tenant, &tenant, &call->problem));
    if (call->has_request_id) {
        body = request_body(call, &items[0], tenant);
        enum status status = find_request(store, call, &body, outcome);
        if (status != STATUS_NOT_FOUND)
            return status;
    }
    TRY(check_all(store, call, items, count, drafts));
    bool is_recorded = record_outcome(call, items, &body, drafts, count);
    enum status status = write_all(store, call, drafts, count, outcome);
    if (status == STATUS_OK && call->has_request_id) {
        const struct request_outcome record = {
            .body_hash = body,
            .intent = items[0].intent,
            .first_id = outcome->first_id,
            .count = (uint32_t)outcome->count,
        };
        status = event_store_put_request(store, &call->request_id, &record, is_recorded);
    }
    if (status != STATUS_OK)
        event_store_spoil(store, status);
    return status;
}

enum status appending_run(struct event_store *store, struct rpc_call *call,
                          const struct event_append_request *items, size_t count,
                          struct append_outcome *outcome)
{
    struct draft one = { 0 };
    struct draft *drafts = count == 1 ? &one : calloc(count, sizeof *drafts);
    if (drafts == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "append events", "reason", "no memory");
    enum status status = run(store, call, items, count, drafts, outcome);
    if (count != 1)
        free(drafts);
    if (status == STATUS_OK && outcome->is_repeat)
        store->repeats++;
    return status;
}
