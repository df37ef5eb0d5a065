/* One append per new tenant, whoever asks first; deployd is the only one that gives numbers out, so
 * the next one is in its memory. A number whose append was refused is given to the next one; one
 * whose append may be there is not given again in this life. */
#include "deployd/tenants.h"

#include <stdio.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
#include "deployd/supervisors.h"

static void on_created(void *context, enum status status, const struct problem *said,
                       const void *reply)
{
    struct tenant *tenant = context;
    struct deployd *deployd = tenant->supervisor.owner;
    void (*on_done)(struct tenant *, const struct problem *) = tenant->on_created;
    struct problem problem = { 0 };
    struct tenant_row row;
    (void)reply;
    tenant->on_created = NULL;
    /* Also when the append failed: an earlier one whose outcome was unknown may be there. */
    if (event_map_tenant(&deployd->map, tenant->name, &row) == STATUS_OK) {
        tenant->index = row.index;
        tenant->is_recorded = true;
        on_done(tenant, NULL);
        return;
    }
    if (rpc_effect_of(status) == RPC_NOT_DONE && tenant->index + 1 == deployd->catalog.index_next)
        deployd->catalog.index_next--;
    tenant->index = 0;
    append_problem(status == STATUS_OK ? STATUS_UNKNOWN : status, said, "the tenant", &problem);
    on_done(tenant, &problem);
}

void tenant_create(struct deployd *deployd, struct tenant *tenant,
                   void (*on_done)(struct tenant *tenant, const struct problem *refusal))
{
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    if (tenant->on_created != NULL)
        return;
    tenant->on_created = on_done;
    write_map(&payload, 1);
    write_str(&payload, "index");
    tenant->index = deployd->catalog.index_next++;
    write_u64(&payload, tenant->index);
    struct event_append_request request = append_about_system(EVENT_tenant_created, &payload);
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
    snprintf(subject, sizeof subject, "tenant/%s", tenant->name);
    request.subject = subject;
    request.tenant = tenant->name;
    enum status status =
        append_send(deployd, &request, NULL, APPEND_TIMEOUT_MS, on_created, tenant);
    if (status != STATUS_OK)
        on_created(tenant, status, NULL, NULL);
}

static enum status load(void *context, const char *name, const struct tenant_row *row)
{
    struct deployd *deployd = context;
    struct tenant *tenant;
    struct problem problem;
    if (row->index >= deployd->catalog.index_next)
        deployd->catalog.index_next = row->index + 1;
    enum status status = catalog_tenant_make(&deployd->catalog, name, &tenant, &problem);
    if (status != STATUS_OK)
        return log_failure(status, "read a tenant", "tenant", name, "reason", problem.message);
    supervisor_init(deployd, tenant);
    tenant->index = row->index;
    tenant->is_recorded = true;
    return STATUS_OK;
}

enum status tenants_load(struct deployd *deployd)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    if (deployd->catalog.index_next == 0)
        deployd->catalog.index_next = 1;
    TRY(event_map_begin(&deployd->map, &txn));
    return tenant_each(&txn, load, deployd);
}
