/* A row is a packed event; of those about one token the last one counts. */
#include "recoveryd/outbox_fates.h"

#include <stdlib.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/api/event_types.h"
#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "common/wire/reader.h"

static const char subject_prefix[] = "token/";

enum token_fate token_fate_of(const char *type)
{
    bool is_gone = strcmp(type, event_type_name(EVENT_capability_revoked)) == 0 ||
                   strcmp(type, event_type_name(EVENT_capability_expired)) == 0;
    return is_gone ? GONE : LIVES;
}

static enum status make_room(struct outbox_fates *fates)
{
    if (fates->count < fates->capacity)
        return STATUS_OK;
    size_t capacity = fates->capacity == 0 ? 256 : 2 * fates->capacity;
    struct outbox_fate *items = realloc(fates->items, capacity * sizeof *items);
    if (items == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "read the outbox", "reason", "no memory");
    fates->items = items;
    fates->capacity = capacity;
    return STATUS_OK;
}

static enum status take(struct outbox_fates *fates, uint64_t position, struct span row)
{
    char text[EVENT_SUBJECT_BYTES_MAX + 1];
    struct outbox_fate item = { .position = position };
    map_text(row, "subject", text, sizeof text);
    if (strncmp(text, subject_prefix, sizeof subject_prefix - 1) != 0 ||
        accessor_parse(text + sizeof subject_prefix - 1, &item.accessor) != STATUS_OK)
        return STATUS_OK; /* about no token */
    item.fate = token_fate_of(map_text(row, "type", text, sizeof text));
    TRY(make_room(fates));
    fates->items[fates->count++] = item;
    return STATUS_OK;
}

static int by_accessor(const void *a_, const void *b_)
{
    const struct outbox_fate *a = a_, *b = b_;
    return memcmp(a->accessor.bytes, b->accessor.bytes, UUID_BYTES);
}

/* Of one accessor the newest first. */
static int by_age(const void *a_, const void *b_)
{
    const struct outbox_fate *a = a_, *b = b_;
    int order = by_accessor(a, b);
    return order != 0 ? order : (a->position < b->position) - (a->position > b->position);
}

static void keep_newest(struct outbox_fates *fates)
{
    size_t kept = 0;
    if (fates->count == 0)
        return;
    qsort(fates->items, fates->count, sizeof fates->items[0], by_age);
    for (size_t i = 1; i < fates->count; i++)
        if (by_accessor(&fates->items[i], &fates->items[kept]) != 0)
            fates->items[++kept] = fates->items[i];
    fates->count = kept + 1;
}

enum status outbox_fates_read(struct db_txn *txn, struct outbox_fates *fates)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, row;
    uint64_t position = 0;
    fates->count = 0;
    TRY(table_cursor_open(txn, TOKENS_OUTBOX, &cursor));
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &row);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &row))
        TRY(take(fates, ++position, row));
    keep_newest(fates);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

void outbox_fates_apply(const struct outbox_fates *fates, const struct uuid *accessor,
                        enum token_fate *fate)
{
    const struct outbox_fate wanted = { .accessor = *accessor };
    const struct outbox_fate *found =
        fates->count == 0
            ? NULL
            : bsearch(&wanted, fates->items, fates->count, sizeof wanted, by_accessor);
    if (found != NULL)
        *fate = found->fate;
}

void outbox_fates_close(struct outbox_fates *fates)
{
    free(fates->items);
    *fates = (struct outbox_fates){ 0 };
}
