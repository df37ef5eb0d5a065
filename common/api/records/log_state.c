/* The rows are those of the tables, by the same field tables. */
#include "common/api/records/log_state.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/fields.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

enum { TEXT_BYTES_MAX = 160, ARENA_BYTES = 16 * 1024 };
_Static_assert((int)SERVICE_KEY_BYTES <= (int)TEXT_BYTES_MAX, "a service's key fits");
_Static_assert((int)EVENT_TYPE_BYTES_MAX < (int)TEXT_BYTES_MAX, "a type's name fits");

static const char tenant_kind[] = "tenant", service_kind[] = "service", newest_kind[] = "newest",
                  about_kind[] = "about";

/* --- packing --- */

static void begin_row(struct buffer *state, const char *kind, const char *key)
{
    write_array(state, 3);
    write_str(state, kind);
    write_str(state, key);
}

static void pack_number(struct buffer *state, const char *kind, const char *key, uint64_t id)
{
    begin_row(state, kind, key);
    write_map(state, 1);
    write_str(state, "id");
    write_u64(state, id);
}

static void pack_newest(const struct log_fold *fold, struct buffer *state)
{
    for (int type = 0; type < EVENT_TYPES; type++)
        if (fold->newest[type] != 0)
            pack_number(state, newest_kind, event_type_name((enum event_type)type),
                        fold->newest[type]);
}

enum status log_state_pack(struct log_fold *fold, struct buffer *state)
{
    log_fold_sort(fold);
    for (const struct folded_tenant *tenant = fold->tenants; tenant != NULL;
         tenant = tenant->hh.next) {
        begin_row(state, tenant_kind, tenant->name);
        fields_encode(&record_tenant_row, &tenant->row, state);
    }
    for (const struct folded *service = fold->services; service != NULL;
         service = service->hh.next) {
        begin_row(state, service_kind, service->key);
        fields_encode(&record_live_row, &service->row, state);
        pack_number(state, about_kind, service->key, service->newest);
    }
    pack_newest(fold, state);
    return state->is_exhausted ? log_failure(STATUS_RESOURCE_EXHAUSTED, "pack the state of the log")
                               : STATUS_OK;
}

/* --- unpacking --- */

static enum status refuse(const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "read the state of the log", "reason", reason);
}

static enum status decode(const struct field_table *table, struct span map, void *row)
{
    AUTO(arena_close) struct arena arena = { .limit = ARENA_BYTES };
    struct problem problem = { 0 };
    return fields_decode(table, map, &arena, row, &problem) == STATUS_OK ? STATUS_OK
                                                                         : refuse(problem.message);
}

static enum status take_tenant(struct log_fold *fold, const char *name, struct span map)
{
    struct tenant_row row = { 0 };
    TRY(decode(&record_tenant_row, map, &row));
    return name_is_valid(name) ? log_fold_put_tenant(fold, name, &row)
                               : refuse("the name of a tenant is none");
}

static enum status take_service(struct log_fold *fold, const char *key, struct span map)
{
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    struct live_row row = { 0 };
    TRY(decode(&record_live_row, map, &row));
    return service_key_split(key, tenant, name) == STATUS_OK
               ? log_fold_put_service(fold, key, &row)
               : refuse("the name of a service is none");
}

static enum status take_about(struct log_fold *fold, const char *key, struct span map)
{
    struct folded *service = log_fold_find(fold, key);
    if (service == NULL)
        return refuse("a row is about a service that it does not have");
    service->newest = map_u64(map, "id", 0);
    return STATUS_OK;
}

/* A type that is not known here is of a newer Solo, and nobody here asks for it. */
static enum status take_newest(struct log_fold *fold, const char *text, struct span map)
{
    enum event_type type = event_type_parse(text);
    if (type < EVENT_TYPES)
        fold->newest[type] = map_u64(map, "id", 0);
    return STATUS_OK;
}

static enum status read_text(struct reader *reader, char text[TEXT_BYTES_MAX])
{
    struct span bytes;
    if (reader_str(reader, &bytes) != STATUS_OK || bytes.size >= TEXT_BYTES_MAX ||
        memchr(bytes.data, '\0', bytes.size) != NULL)
        return refuse("a row does not begin with two texts");
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    return STATUS_OK;
}

static enum status take_row(struct log_fold *fold, struct span row)
{
    struct reader reader = reader_of(row);
    char kind[TEXT_BYTES_MAX], key[TEXT_BYTES_MAX];
    uint32_t count;
    struct span map;
    if (reader_array(&reader, &count) != STATUS_OK || count != 3)
        return refuse("a row is no array of three");
    TRY(read_text(&reader, kind));
    TRY(read_text(&reader, key));
    if (reader_peek(&reader) != WIRE_MAP || reader_any(&reader, &map) != STATUS_OK)
        return refuse("a row does not end with a map");
    if (strcmp(kind, tenant_kind) == 0)
        return take_tenant(fold, key, map);
    if (strcmp(kind, service_kind) == 0)
        return take_service(fold, key, map);
    if (strcmp(kind, about_kind) == 0)
        return take_about(fold, key, map);
    return strcmp(kind, newest_kind) == 0 ? take_newest(fold, key, map)
                                          : refuse("a row of no kind that is known");
}

enum status log_state_unpack(struct span state, struct log_fold *fold)
{
    struct reader reader = reader_of(state);
    while (reader.rest.size > 0) {
        struct span row;
        if (reader_any(&reader, &row) != STATUS_OK)
            return refuse("it does not consist of whole rows");
        TRY(take_row(fold, row));
    }
    return STATUS_OK;
}

/* --- what must stay --- */

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Without folding: a store with many services is asked while it works. */
static enum status collect(struct span state, uint64_t *ids, size_t *count)
{
    static const char *const names[] = { "generation", "since", "previous", "event_id", "id" };
    struct reader reader = reader_of(state);
    while (reader.rest.size > 0) {
        struct span kind, key, map;
        uint32_t parts;
        if (reader_array(&reader, &parts) != STATUS_OK || parts != 3 ||
            reader_str(&reader, &kind) != STATUS_OK || reader_str(&reader, &key) != STATUS_OK ||
            reader_peek(&reader) != WIRE_MAP || reader_any(&reader, &map) != STATUS_OK)
            return refuse("it does not consist of whole rows");
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            uint64_t id = map_u64(map, names[i], 0);
            if (ids != NULL && id != 0)
                ids[*count] = id;
            *count += id != 0;
        }
    }
    return STATUS_OK;
}

enum status log_state_kept(struct span state, uint64_t **ids, size_t *count)
{
    size_t met = 0, kept = 0;
    TRY(collect(state, NULL, &met));
    uint64_t *found = calloc(met + 1, sizeof *found);
    if (found == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "read the state of the log");
    met = 0;
    (void)collect(state, found, &met); /* as before */
    qsort(found, met, sizeof *found, compare_numbers);
    for (size_t i = 0; i < met; i++)
        if (kept == 0 || found[kept - 1] != found[i])
            found[kept++] = found[i];
    *ids = found;
    *count = kept;
    return STATUS_OK;
}

bool log_state_keeps(const uint64_t *ids, size_t count, uint64_t id)
{
    return count > 0 && bsearch(&id, ids, count, sizeof *ids, compare_numbers) != NULL;
}
