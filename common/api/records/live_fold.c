/* The fold of the log into what is wanted. Pure: a row, an event, the row after. */
#include "common/api/records/live_fold.h"

#include "common/base/log.h"
#include "common/wire/reader.h"

static enum status refuse(const struct event *event, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "fold event", "event", NUMBER(event->id), "type",
                       event->type, "reason", reason);
}

static enum status fold_deployed(const struct live_row *before, const struct event *event,
                                 struct live_row *after, enum fold_change *change)
{
    struct reader value;
    struct span hash;
    if (map_find(event->payload, "spec", &value) != STATUS_OK || reader_peek(&value) != WIRE_MAP)
        return refuse(event, "the payload has no spec");
    if (map_find(event->payload, "spec_hash", &value) != STATUS_OK ||
        reader_bin(&value, &hash) != STATUS_OK || hash.size != HASH_BYTES)
        return refuse(event, "the payload has no spec_hash");
    *after = (struct live_row){ .generation = event->id, .since = event->id };
    memcpy(after->spec_hash.bytes, hash.data, HASH_BYTES);
    if (before != NULL) {
        after->previous = before->generation;
        after->previous_spec_hash = before->spec_hash;
    }
    *change = FOLD_PUT;
    return STATUS_OK;
}

/* The generation that an outcome is about; 0 is none. */
static enum status named_generation(const struct event *event, uint64_t *generation)
{
    *generation = map_u64(event->payload, "generation", 0);
    return *generation == 0 ? refuse(event, "the payload names no generation") : STATUS_OK;
}

static enum status fold_failed(const struct live_row *before, const struct event *event,
                               struct live_row *after, enum fold_change *change)
{
    uint64_t generation;
    TRY(named_generation(event, &generation));
    if (before == NULL || before->generation != generation)
        return STATUS_OK;
    if (before->previous == 0) {
        *change = FOLD_DELETE;
        return STATUS_OK;
    }
    *after = (struct live_row){
        .generation = before->previous,
        .since = event->id,
        .spec_hash = before->previous_spec_hash,
    };
    *change = FOLD_PUT;
    return STATUS_OK;
}

static enum status fold_completed(const struct live_row *before, const struct event *event,
                                  enum fold_change *change)
{
    uint64_t generation;
    TRY(named_generation(event, &generation));
    if (before != NULL && before->generation == generation)
        *change = FOLD_DELETE;
    return STATUS_OK;
}

enum status live_fold(const struct live_row *before, enum event_type type,
                      const struct event *event, struct live_row *after, enum fold_change *change)
{
    *change = FOLD_NOTHING;
    switch (type) {
    case EVENT_service_deployed:
        return fold_deployed(before, event, after, change);
    case EVENT_service_deployment_failed:
        return fold_failed(before, event, after, change);
    case EVENT_service_completed:
        return fold_completed(before, event, change);
    case EVENT_service_killed:
        *change = before == NULL ? FOLD_NOTHING : FOLD_DELETE;
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

enum status tenant_fold(const struct event *event, struct tenant_row *row)
{
    uint64_t index = map_u64(event->payload, "index", UINT64_MAX);
    if (event->tenant[0] == '\0' || index == UINT64_MAX)
        return log_failure(STATUS_DATA_LOSS, "fold event", "event", NUMBER(event->id), "reason",
                           "a tenant without name or index");
    *row = (struct tenant_row){ .index = index, .event_id = event->id };
    return STATUS_OK;
}
