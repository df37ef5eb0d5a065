/* The wanted rows are sorted by tenant, so that one run of them is one tenant. */
#include "recoveryd/count_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/wire/reader.h"
#include "recoveryd/peer.h"

enum { ANSWER_MS_MAX = 2000, ANSWER_BYTES_MAX = 2 * 1024 * 1024 };

static uint64_t counted(struct span tenants, const char *tenant)
{
    struct reader reader = reader_of(tenants);
    uint32_t count;
    struct span item;
    char name[NAME_BYTES_MAX + 1];
    if (tenants.size == 0 || reader_array(&reader, &count) != STATUS_OK)
        return 0;
    for (; count > 0 && reader_any(&reader, &item) == STATUS_OK; count--)
        if (strcmp(map_text(item, "tenant", name, sizeof name), tenant) == 0)
            return map_u64(item, "services", 0);
    return 0;
}

static enum status judge(const char *tenant, uint64_t wanted, uint64_t found,
                         struct findings *findings)
{
    if (found >= wanted) /* what has failed is counted though not wanted */
        return STATUS_OK;
    struct finding finding = {
        .code = FINDING_count_differs,
        .tenant = tenant,
        .name = "",
        .generation = wanted,
        .running_generation = found,
    };
    snprintf(finding.reason, sizeof finding.reason,
             "the log wants %" PRIu64 " services of it, deployd counts %" PRIu64, wanted, found);
    return findings_add(findings, &finding);
}

enum status count_compare(const struct picture *picture, struct span tenants,
                          struct findings *findings)
{
    for (size_t first = 0; first < picture->wanted_count;) {
        const char *tenant = picture->wanted[first].tenant;
        size_t end = first;
        while (end < picture->wanted_count && strcmp(picture->wanted[end].tenant, tenant) == 0)
            end++;
        TRY(judge(tenant, end - first, counted(tenants, tenant), findings));
        first = end;
    }
    return STATUS_OK;
}

/* Of tenants that the log does not want anything of, too. */
enum status reports_compare(struct span tenants, struct findings *findings)
{
    struct reader reader = reader_of(tenants);
    uint32_t count;
    struct span item;
    char name[NAME_BYTES_MAX + 1];
    if (tenants.size == 0 || reader_array(&reader, &count) != STATUS_OK)
        return STATUS_OK;
    for (; count > 0 && reader_any(&reader, &item) == STATUS_OK; count--) {
        uint64_t number = map_u64(item, "stuck_report", 0);
        struct finding finding = {
            .code = FINDING_reports_stuck,
            .tenant = map_text(item, "tenant", name, sizeof name),
            .name = "",
            .pid = map_u64(item, "supervisor_pid", 0),
        };
        snprintf(finding.reason, sizeof finding.reason,
                 "report %" PRIu64 " of its supervisor is refused again and again, and those "
                 "behind it wait",
                 number);
        if (number != 0)
            TRY(findings_add(findings, &finding));
    }
    return STATUS_OK;
}

enum status count_check(const struct settings *settings, const struct picture *picture,
                        struct findings *findings)
{
    AUTO(peer_close) struct peer peer = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = ANSWER_BYTES_MAX };
    const struct tenant_list_request request = {};
    struct tenant_list_reply reply = { 0 };
    struct problem problem = { 0 };
    if (strcmp(picture->actual.source, "deployd") != 0)
        return STATUS_OK;
    enum status status = peer_open_daemon(&peer, settings->run_dir, "deployd");
    if (status == STATUS_OK)
        status =
            peer_ask(&peer, ANSWER_MS_MAX, &method_tenant_list, &request, &arena, &reply, &problem);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return status;
    /* It answered a moment ago; that it does not now is no difference. */
    if (status != STATUS_OK)
        return STATUS_OK;
    TRY(reports_compare(reply.tenants, findings));
    return count_compare(picture, reply.tenants, findings);
}
