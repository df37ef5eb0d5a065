/* One or two questions to vaultd. */
#include "recoveryd/vault_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/name.h"
#include "common/wire/reader.h"
#include "recoveryd/peer.h"

enum { STATUS_MS_MAX = 5000, VERIFY_MS_MAX = 10 * 60 * 1000, ANSWER_BYTES_MAX = 256 * 1024 };

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

static enum status verify_all(struct peer *peer, struct findings *findings)
{
    AUTO(arena_close) struct arena arena = { .limit = ANSWER_BYTES_MAX };
    const struct vault_verify_request request = {};
    struct vault_verify_reply reply = { 0 };
    struct problem problem = { 0 };
    TRY(peer_ask(peer, VERIFY_MS_MAX, &method_vault_verify, &request, &arena, &reply, &problem));
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

static enum status ask(struct peer *peer, bool is_full, struct findings *findings,
                       char state[VAULT_STATE_BYTES])
{
    AUTO(arena_close) struct arena arena = { .limit = ANSWER_BYTES_MAX };
    const struct vault_status_request request = {};
    struct vault_status_reply reply = { 0 };
    struct problem problem = { 0 };
    TRY(peer_ask(peer, STATUS_MS_MAX, &method_vault_status, &request, &arena, &reply, &problem));
    snprintf(state, VAULT_STATE_BYTES, "%s", reply.state);
    if (is_full && strcmp(state, "open") == 0)
        return verify_all(peer, findings);
    if (reply.damaged_tenants == 0)
        return STATUS_OK;
    struct finding finding = { .code = FINDING_secret_damaged, .tenant = "", .name = "vault" };
    snprintf(finding.reason, sizeof finding.reason,
             "the manifests of %" PRIu64 " tenants do not match", reply.damaged_tenants);
    return findings_add(findings, &finding);
}

enum status vault_check(const struct settings *settings, bool is_full, struct findings *findings,
                        char state[VAULT_STATE_BYTES])
{
    AUTO(peer_close) struct peer peer = { 0 };
    snprintf(state, VAULT_STATE_BYTES, "not running");
    enum status status = peer_open_daemon(&peer, settings->run_dir, "vaultd");
    if (status == STATUS_OK)
        status = ask(&peer, is_full, findings, state);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return status;
    if (status == STATUS_PERMISSION_DENIED || status == STATUS_UNAUTHENTICATED)
        snprintf(state, VAULT_STATE_BYTES, "not shown"); /* to this caller */
    if (status == STATUS_DATA_LOSS) {
        snprintf(state, VAULT_STATE_BYTES, "damaged");
        return findings_add(findings, &(struct finding){ .code = FINDING_secret_damaged,
                                                         .tenant = "",
                                                         .name = "vault",
                                                         .reason = "the store is damaged" });
    }
    return STATUS_OK;
}
