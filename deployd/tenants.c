/* One append per new tenant, whoever asks first; deployd is the only one that gives numbers out, so
 * the next one is in its memory. A number whose append was refused is given to the next one; one
 * whose append may be there is not given again in this life.
 *
 * A log may have forgotten tenants: an older one was put back, or kept, or its end was lost. Their
 * files are there still, in folders whose group is their number: that is not given to anybody else,
 * and whoever is created by the same name has its files again. */
#include "deployd/tenants.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
#include "deployd/supervisors.h"

/* --- numbers of folders --- */

enum { INDEX_MAX = 1 << 20 }; /* a group beyond it is somebody else's */

/* Of DATA/tenants, or of a tenant's folder in it; 0: it tells none. Only root gives numbers. */
static uint64_t index_of(const struct deployd *deployd, int fd, const char *name)
{
    struct stat status;
    uint64_t base = deployd->settings.tenant_uid_base;
    if (geteuid() != 0 || fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISDIR(status.st_mode) || status.st_gid <= base || status.st_gid - base > INDEX_MAX)
        return 0;
    return status.st_gid - base;
}

static enum status open_folders(const struct deployd *deployd, DIR **folders)
{
    char path[4096];
    TRY(path_join(path, deployd->settings.data_dir, "tenants"));
    *folders = opendir(path);
    return *folders == NULL ? STATUS_NOT_FOUND : STATUS_OK;
}

static void pass_over_folders(struct deployd *deployd)
{
    AUTO(directory_close) DIR *folders = NULL;
    if (open_folders(deployd, &folders) != STATUS_OK)
        return;
    for (const struct dirent *entry; (entry = readdir(folders)) != NULL;) {
        uint64_t index =
            entry->d_name[0] == '.' ? 0 : index_of(deployd, dirfd(folders), entry->d_name);
        if (index >= deployd->catalog.index_next)
            deployd->catalog.index_next = index + 1;
    }
}

static bool is_taken(const struct deployd *deployd, uint64_t index)
{
    for (const struct tenant *tenant = deployd->catalog.tenants; tenant != NULL;
         tenant = tenant->hh.next)
        if (tenant->index == index)
            return true;
    return false;
}

/* Folders may have come since the start: somebody copied them back. */
static void give_index(struct deployd *deployd, struct tenant *tenant)
{
    AUTO(directory_close) DIR *folders = NULL;
    pass_over_folders(deployd);
    uint64_t index = open_folders(deployd, &folders) == STATUS_OK
                         ? index_of(deployd, dirfd(folders), tenant->name)
                         : 0;
    tenant->is_index_drawn = index == 0 || is_taken(deployd, index);
    tenant->index = tenant->is_index_drawn ? deployd->catalog.index_next++ : index;
}

/* --- creating --- */

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
    if (rpc_effect_of(status) == RPC_NOT_DONE && tenant->is_index_drawn &&
        tenant->index + 1 == deployd->catalog.index_next)
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
    give_index(deployd, tenant);
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

/* --- loading --- */

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
    pass_over_folders(deployd);
    TRY(event_map_begin(&deployd->map, &txn));
    return tenant_each(&txn, load, deployd);
}
