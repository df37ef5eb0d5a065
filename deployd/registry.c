/* One short write transaction per turn of the loop, over what the catalog lists as changed. */
#include "deployd/registry.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/table.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"

enum { PRUNED_PER_WALK = 256, MEND_MS = 1000 };
static const char verified_key[] = "verified";

enum status registry_open(struct registry *registry, const char *run_dir)
{
    TRY(path_join(registry->dir, run_dir, "registry"));
    enum status status = db_open_writer(&registry->db, &registry_schema, registry->dir);
    if (status == STATUS_DATA_LOSS || status == STATUS_FAILED_PRECONDITION) {
        /* Nothing in it is needed: the supervisors know what runs. */
        log_warning("the registry cannot be read and is made anew", "dir", registry->dir);
        db_close(&registry->db);
        TRY(directory_empty(registry->dir));
        status = db_open_writer(&registry->db, &registry_schema, registry->dir);
    }
    registry->is_open = status == STATUS_OK;
    return status;
}

void registry_close(struct registry *registry)
{
    if (registry->is_open)
        db_close_cleanly(&registry->db);
    registry->is_open = false;
}

/* Said once until a write succeeds again: a full disk would fill the log as well. What a failed one
 * has left out is not known: all of it is written again, see mend. */
static void written(struct registry *registry, enum status status)
{
    if (status != STATUS_OK) {
        registry->is_behind = true;
        registry->failed_ns = clock_boottime_ns();
    }
    if (status != STATUS_OK && !registry->has_failed)
        log_warning("the registry was not written", "dir", registry->dir, "reason",
                    status_text(status));
    registry->has_failed = status != STATUS_OK;
}

static enum status service_write(struct db_txn *txn, const struct service *service,
                                 struct buffer *row)
{
    struct span key = span_of_text(service->key);
    bool has_row =
        service_has_row(service) || (service->state == SERVICE_failed && service_exists(service));
    if (!has_row) {
        enum status status = table_delete(txn, REGISTRY_SERVICES, key);
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    buffer_clear(row);
    catalog_row_write(service, row);
    if (row->is_exhausted)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "pack a registry row", "service",
                           service->key);
    return table_put(txn, REGISTRY_SERVICES, key, buffer_span(row));
}

static void write_changed(struct registry *registry, struct catalog *catalog)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(buffer_close) struct buffer row = { .limit = FRAME_BYTES_SMALL };
    enum status status = STATUS_OK;
    bool has_begun = false;
    for (struct service *service; (service = catalog_next_changed(catalog)) != NULL;) {
        if (service->is_row_stale && registry->is_open && !has_begun) {
            status = db_begin_write(&registry->db, &txn);
            has_begun = true;
        }
        if (service->is_row_stale && has_begun && status == STATUS_OK)
            status = service_write(&txn, service, &row);
        service->is_row_stale = false;
        catalog_release(catalog, service);
    }
    if (!has_begun)
        return;
    if (status == STATUS_OK)
        status = db_commit(&txn);
    written(registry, status);
}

/* Every row anew, and none that is nobody's. */
static void mend(struct registry *registry, struct catalog *catalog)
{
    registry->is_behind = false;
    for (struct service *service = catalog->services; service != NULL; service = service->hh.next) {
        service->is_row_stale = true;
        catalog_touch(catalog, service);
    }
    write_changed(registry, catalog);
    for (struct tenant *tenant = catalog->tenants; tenant != NULL && !registry->is_behind;
         tenant = tenant->hh.next)
        if (tenant->supervisor.state == SUPERVISOR_READY)
            registry_put_supervisor(registry, tenant->name, tenant->supervisor.host_pid,
                                    registry->boot_id);
    if (!registry->is_behind)
        registry_prune(registry, catalog);
    if (!registry->is_behind)
        log_info("the registry is complete again", "dir", registry->dir);
}

/* Most of what changes in a turn (an operation came, what is wanted is read again) leaves the row
 * as it is: no transaction is begun for that, which a deploy would wait for. */
void registry_flush(struct registry *registry, struct catalog *catalog)
{
    if (registry->is_behind && registry->is_complete &&
        clock_boottime_ns() - registry->failed_ns >= MEND_MS * 1000000u)
        mend(registry, catalog);
    else
        write_changed(registry, catalog);
}

void registry_put_supervisor(struct registry *registry, const char *tenant, uint64_t pid,
                             const char *boot_id)
{
    registry->boot_id = boot_id;
    if (!registry->is_open)
        return;
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(buffer_close) struct buffer row = { .limit = 256 };
    struct span key = span_of_text(tenant);
    enum status status = db_begin_write(&registry->db, &txn);
    if (status == STATUS_OK && pid == 0) {
        status = table_delete(&txn, REGISTRY_TENANTS, key);
        if (status == STATUS_NOT_FOUND)
            status = STATUS_OK;
    } else if (status == STATUS_OK) {
        write_map(&row, 2);
        write_str(&row, "pid");
        write_u64(&row, pid);
        write_str(&row, "boot_id");
        write_str(&row, boot_id);
        status = table_put(&txn, REGISTRY_TENANTS, key, buffer_span(&row));
    }
    if (status == STATUS_OK)
        status = db_commit(&txn);
    written(registry, status);
}

void registry_put_verified(struct registry *registry, struct span map)
{
    if (!registry->is_open)
        return;
    AUTO(db_end) struct db_txn txn = { 0 };
    enum status status = db_begin_write(&registry->db, &txn);
    if (status == STATUS_OK)
        status = db_meta_put(&txn, verified_key, map);
    if (status == STATUS_OK)
        status = db_commit(&txn);
    written(registry, status);
}

struct span registry_verified(struct registry *registry, uint8_t *room, size_t size)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span map;
    if (!registry->is_open || db_begin_read(&registry->db, &txn) != STATUS_OK ||
        db_meta_get(&txn, verified_key, &map) != STATUS_OK || map.size > size)
        return (struct span){ 0 };
    memcpy(room, map.data, map.size);
    return span_of(room, map.size);
}

static enum status supervisor_row_read(struct registry *registry, const char *tenant,
                                       const char *boot_id, uint64_t *pid)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span row;
    char text[BOOT_ID_BYTES];
    TRY(db_begin_read(&registry->db, &txn));
    TRY(table_get(&txn, REGISTRY_TENANTS, span_of_text(tenant), &row));
    if (strcmp(map_text(row, "boot_id", text, sizeof text), boot_id) == 0)
        *pid = map_u64(row, "pid", 0);
    return STATUS_OK;
}

uint64_t registry_supervisor_pid(struct registry *registry, const char *tenant, const char *boot_id)
{
    uint64_t pid = 0;
    if (registry->is_open)
        (void)supervisor_row_read(registry, tenant, boot_id, &pid);
    return pid;
}

enum status registry_find(struct registry *registry, const char *key, struct arena *arena,
                          struct service_row *row)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct problem problem;
    struct span value;
    if (!registry->is_open)
        return STATUS_NOT_FOUND;
    TRY(db_begin_read(&registry->db, &txn));
    TRY(table_get(&txn, REGISTRY_SERVICES, span_of_text(key), &value));
    return fields_decode(&record_service_row, value, arena, row, &problem);
}

static enum status rows_each(struct registry *registry, const char *tenant, struct arena *arena,
                             void (*take)(void *context, const struct service_row *row),
                             void *context)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    char first[NAME_BYTES_MAX + 2];
    struct span key, value;
    int first_bytes = snprintf(first, sizeof first, "%s/", tenant);
    TRY(db_begin_read(&registry->db, &txn));
    TRY(table_cursor_open(&txn, REGISTRY_SERVICES, &cursor));
    enum status status = table_cursor_seek(&cursor, span_of_text(first), &key, &value);
    for (; status == STATUS_OK && key.size > (size_t)first_bytes &&
           memcmp(key.data, first, (size_t)first_bytes) == 0;
         status = table_cursor_next(&cursor, &key, &value)) {
        struct service_row row = { 0 };
        struct problem problem;
        if (fields_decode(&record_service_row, value, arena, &row, &problem) == STATUS_OK &&
            strcmp(row.tenant, tenant) == 0 && name_is_valid(row.name) &&
            service_state_parse(row.state) < SERVICE_STATES)
            take(context, &row);
        arena_reset(arena);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

void registry_each(struct registry *registry, const char *tenant, struct arena *arena,
                   void (*take)(void *context, const struct service_row *row), void *context)
{
    if (!registry->is_open)
        return;
    enum status status = rows_each(registry, tenant, arena, take, context);
    if (status != STATUS_OK)
        log_warning("the registry cannot be read", "dir", registry->dir, "reason",
                    status_text(status));
}

/* Collects keys of one table that the catalog does not have, at most PRUNED_PER_WALK. */
static size_t stale_keys(struct db_txn *txn, unsigned table, const struct catalog *catalog,
                         char keys[PRUNED_PER_WALK][SERVICE_KEY_BYTES])
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    size_t count = 0;
    struct span key, value;
    if (table_cursor_open(txn, table, &cursor) != STATUS_OK)
        return 0;
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &value);
    for (; status == STATUS_OK && count < PRUNED_PER_WALK;
         status = table_cursor_next(&cursor, &key, &value)) {
        char *text = keys[count], tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
        if (key.size >= SERVICE_KEY_BYTES)
            continue;
        memcpy(text, key.data, key.size);
        text[key.size] = '\0';
        bool is_known;
        if (table == REGISTRY_SERVICES) {
            const struct service *service = service_key_split(text, tenant, name) == STATUS_OK
                                                ? catalog_service(catalog, tenant, name)
                                                : NULL;
            is_known = service != NULL && (service_has_row(service) || service->is_failed_deploy);
        } else {
            const struct tenant *known = catalog_tenant(catalog, text);
            is_known = known != NULL &&
                       (known->supervisor.state == SUPERVISOR_READY || known->supervisor.is_silent);
        }
        if (!is_known)
            count++;
    }
    return count;
}

static enum status table_prune(struct registry *registry, unsigned table,
                               const struct catalog *catalog)
{
    char keys[PRUNED_PER_WALK][SERVICE_KEY_BYTES];
    size_t count;
    do {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_write(&registry->db, &txn));
        count = stale_keys(&txn, table, catalog, keys);
        for (size_t i = 0; i < count; i++)
            TRY(table_delete(&txn, table, span_of_text(keys[i])));
        TRY(db_commit(&txn));
    } while (count == PRUNED_PER_WALK);
    return STATUS_OK;
}

void registry_prune(struct registry *registry, const struct catalog *catalog)
{
    registry->is_complete = true;
    if (!registry->is_open)
        return;
    enum status status = table_prune(registry, REGISTRY_SERVICES, catalog);
    if (status == STATUS_OK)
        status = table_prune(registry, REGISTRY_TENANTS, catalog);
    written(registry, status);
}

static enum status belong(struct registry *registry, struct span incarnation)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span known;
    TRY(db_begin_write(&registry->db, &txn));
    enum status status = db_meta_get(&txn, REGISTRY_LOG_KEY, &known);
    if (status == STATUS_OK && span_equal(known, incarnation))
        return STATUS_OK;
    if (status == STATUS_OK) {
        log_warning("the registry tells of the services of another event log: it is emptied", "dir",
                    registry->dir);
        TRY(table_clear(&txn, REGISTRY_SERVICES));
        TRY(table_clear(&txn, REGISTRY_TENANTS));
    } else if (status != STATUS_NOT_FOUND) {
        return status;
    }
    TRY(db_meta_put(&txn, REGISTRY_LOG_KEY, incarnation));
    return db_commit(&txn);
}

void registry_belong(struct registry *registry, const uint8_t incarnation[16])
{
    if (registry->is_open)
        written(registry, belong(registry, span_of(incarnation, 16)));
}
