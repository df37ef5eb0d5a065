/* One or two questions to vaultd. */
#include "recoveryd/vault_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/name.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "recoveryd/peer.h"

enum { STATUS_MS_MAX = 2000, ANSWER_BYTES_MAX = 256 * 1024 };
static const uint64_t verify_ms_max[] = {
    [VAULT_VERIFY_SOON] = 5000,
    [VAULT_VERIFY] = 10 * 60 * 1000,
};

/* "TENANT/NAME@VERSION", "TENANT/NAME" or "TENANT". */
static enum status add_named(struct span text, struct findings *findings)
{
    char tenant[2 * NAME_BYTES_MAX + 64];
    struct finding finding = { .code = FINDING_secret_damaged, .tenant = tenant, .name = "" };
    snprintf(tenant, sizeof tenant, "%.*s", (int)text.size, (const char *)text.data);
    char *slash = strchr(tenant, '/');
    if (slash != NULL) {
        *slash = '\0';
        finding.name = slash + 1;
    }
    return findings_add(findings, &finding);
}

static enum status verify_all(struct peer *peer, enum vault_depth depth, struct findings *findings,
                              struct vault_view *view)
{
    AUTO(arena_close) struct arena arena = { .limit = ANSWER_BYTES_MAX };
    const struct vault_verify_request request = {};
    struct vault_verify_reply reply = { 0 };
    struct problem problem = { 0 };
    enum status status = peer_ask(peer, verify_ms_max[depth], &method_vault_verify, &request,
                                  &arena, &reply, &problem);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return STATUS_UNAVAILABLE; /* vaultd is busy: that is no failure of ours */
    TRY(status);
    view->is_verified = true;
    view->verified_ns = clock_wall_ns();
    view->readable = reply.readable;
    view->damaged = reply.damaged;
    struct reader reader = reader_of(reply.damaged_names);
    uint32_t count = 0;
    struct span name;
    if (reply.damaged_names.size > 0)
        TRY(reader_array(&reader, &count));
    for (; count > 0; count--) {
        TRY(reader_str(&reader, &name));
        TRY(add_named(name, findings));
    }
    return STATUS_OK;
}

static enum status add_vault(struct findings *findings, enum finding_code code, const char *reason)
{
    struct finding finding = { .code = code, .tenant = "", .name = "vault" };
    snprintf(finding.reason, sizeof finding.reason, "%s", reason);
    return findings_add(findings, &finding);
}

static enum status ask(struct peer *peer, enum vault_depth depth, struct findings *findings,
                       struct vault_view *view)
{
    AUTO(arena_close) struct arena arena = { .limit = ANSWER_BYTES_MAX };
    const struct vault_status_request request = {};
    struct vault_status_reply reply = { 0 };
    struct problem problem = { 0 };
    char reason[REASON_BYTES_MAX];
    TRY(peer_ask(peer, STATUS_MS_MAX, &method_vault_status, &request, &arena, &reply, &problem));
    snprintf(view->state, sizeof view->state, "%s", reply.state);
    view->secrets = reply.secrets;
    view->versions = reply.versions;
    view->verified_ns = reply.verified_ns;
    view->readable = reply.readable;
    view->damaged = reply.damaged;
    if (strcmp(view->state, "damaged") == 0)
        return add_vault(findings, FINDING_vault_damaged, reply.reason);
    if (depth != VAULT_LOOK && strcmp(view->state, "open") == 0)
        return verify_all(peer, depth, findings, view);
    if (reply.damaged_tenants == 0)
        return STATUS_OK;
    snprintf(reason, sizeof reason, "the manifests of %" PRIu64 " tenants do not match",
             reply.damaged_tenants);
    return add_vault(findings, FINDING_secret_damaged, reason);
}

enum status vault_check(const struct settings *settings, enum vault_depth depth,
                        struct findings *findings, struct vault_view *view)
{
    AUTO(peer_close) struct peer peer = { 0 };
    *view = (struct vault_view){ .state = "not running" };
    enum status status = peer_open_daemon(&peer, settings->run_dir, "vaultd");
    if (status == STATUS_OK)
        status = ask(&peer, depth, findings, view);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return status;
    if (status == STATUS_PERMISSION_DENIED || status == STATUS_UNAUTHENTICATED)
        snprintf(view->state, sizeof view->state, "not shown"); /* to this caller */
    bool is_refused = status == STATUS_FAILED_PRECONDITION && strcmp(view->state, "open") != 0;
    if (status == STATUS_DATA_LOSS || is_refused) {
        snprintf(view->state, sizeof view->state, "damaged");
        return add_vault(findings, FINDING_vault_damaged,
                         is_refused ? "its store is of another version of Solo"
                                    : "its store cannot be read");
    }
    return STATUS_OK;
}

/* --- what it looks like --- */

void vault_view_write_text(const struct vault_view *view, struct buffer *text)
{
    char when[TIME_TEXT_BYTES];
    buffer_append_format(text, "Vault    %s", view->state);
    if (strcmp(view->state, "open") == 0)
        buffer_append_format(text, ", %" PRIu64 " secrets, %" PRIu64 " versions", view->secrets,
                             view->versions);
    if (view->is_verified && view->damaged == 0)
        buffer_append_text(text, ": all readable");
    else if (view->is_verified)
        buffer_append_format(text, ": %" PRIu64 " readable, %" PRIu64 " damaged", view->readable,
                             view->damaged);
    else if (view->verified_ns > 0)
        buffer_append_format(text,
                             "; verified %s: %" PRIu64 " versions readable, %" PRIu64 " damaged",
                             time_text(when, view->verified_ns), view->readable, view->damaged);
    buffer_append_text(text, "\n");
}

void vault_view_write_map(const struct vault_view *view, struct buffer *map)
{
    bool is_open = strcmp(view->state, "open") == 0;
    char when[TIME_TEXT_BYTES];
    write_str(map, "vault");
    write_map(map, 1 + (is_open ? 2 : 0) + (view->verified_ns > 0 ? 3 : 0));
    write_key_str(map, "state", view->state);
    if (is_open) {
        write_key_u64(map, "secrets", view->secrets);
        write_key_u64(map, "versions", view->versions);
    }
    if (view->verified_ns > 0) {
        write_key_str(map, "verified_at", time_text(when, view->verified_ns));
        write_key_u64(map, "readable", view->readable);
        write_key_u64(map, "damaged", view->damaged);
    }
}
