/* The commands about the vault itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/secret_input.h"
#include "soloctl/text.h"

/* Argon2id takes a second, on a busy machine many: what opens the vault is asked for once, and not
 * as a question is, again and again. */
enum { KEY_TIMEOUT_MS = 2 * 60 * 1000 };

static enum status ask_status(struct session *session, struct vault_status_reply *reply,
                              struct problem *problem)
{
    const struct vault_status_request request = {};
    return session_call(session, PEER_VAULTD, &method_vault_status, &request, READ_TIMEOUT_MS,
                        reply, problem);
}

static void print_state(const struct vault_status_reply *vault)
{
    printf("%-12s%s", "State", vault->state);
    if (vault->reason[0] != '\0') {
        printf(": ");
        text_print(stdout, vault->reason);
        printf(" (%s)\n%-12s%s", vault->code, "Next", vault->next);
    }
    printf("\n");
}

static void print_verified(const struct vault_status_reply *vault)
{
    char when[TIME_TEXT_BYTES];
    if (vault->verified_ns == 0) {
        printf("%-12snever: `soloctl vault verify`\n", "Verified");
        return;
    }
    printf("%-12s%s: %" PRIu64 " versions readable, %" PRIu64 " damaged\n", "Verified",
           time_text(when, vault->verified_ns), vault->readable, vault->damaged);
}

int command_vault_status(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct vault_status_reply reply = { 0 };
    (void)arguments;
    enum status status = ask_status(session, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    if (session_is_for_programs(session)) {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "kind", "vault");
        item_text(&item, "state", reply.state);
        item_text_or_null(&item, "code", reply.code);
        item_text_or_null(&item, "reason", reply.reason);
        item_text_or_null(&item, "next", reply.next);
        item_bool(&item, "is_initialised", reply.is_initialised);
        item_text(&item, "key_source", reply.key_source);
        item_text(&item, "cipher", reply.cipher);
        item_number(&item, "tenants", reply.tenants);
        item_number(&item, "secrets", reply.secrets);
        item_number(&item, "versions", reply.versions);
        item_number(&item, "damaged_tenants", reply.damaged_tenants);
        item_time(&item, "verified_at", reply.verified_ns);
        item_number(&item, "readable", reply.readable);
        item_number(&item, "damaged", reply.damaged);
        item_number(&item, "rotating", reply.rotating);
        item_number(&item, "outbox", reply.outbox);
        item_text(&item, "outbox_state", reply.outbox_state);
        document_print(session->format, &item, reply.state);
        return 0;
    }
    print_state(&reply);
    printf("%-12s%s%s\n", "Opens with", reply.key_source,
           reply.is_initialised ? "" : " (it has no master key yet)");
    printf("%-12s%s\n", "Cipher", reply.cipher);
    if (strcmp(reply.state, "open") == 0)
        printf("%-12s%" PRIu64 " of %" PRIu64 " tenants, %" PRIu64 " versions\n", "Secrets",
               reply.secrets, reply.tenants, reply.versions);
    print_verified(&reply);
    if (reply.rotating > 0)
        printf("%-12s%" PRIu64 " tenants\n", "Rotating", reply.rotating);
    if (reply.damaged_tenants > 0)
        printf("%-12s%" PRIu64 " tenants: `soloctl vault verify`\n", "Damaged",
               reply.damaged_tenants);
    if (reply.outbox > 0)
        printf("%-12s%" PRIu64 " events wait for eventd (%s)\n", "Outbox", reply.outbox,
               reply.outbox_state);
    return 0;
}

int command_vault_seal(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    const struct vault_seal_request request = {};
    struct vault_seal_reply reply = { 0 };
    (void)arguments;
    enum status status = session_call(session, PEER_VAULTD, &method_vault_seal, &request,
                                      READ_TIMEOUT_MS, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    if (!session_is_for_programs(session)) {
        printf("the vault is sealed%s; it stays so, also after a restart, until `soloctl vault "
               "unseal`\n",
               reply.was_open ? "" : ", as before");
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "vault");
    item_text(&item, "state", "sealed");
    item_bool(&item, "was_open", reply.was_open);
    document_print(session->format, &item, "sealed");
    return 0;
}

/* Whether it needs a passphrase, and whether that will be the first one, is asked before a person
 * is. */
int command_vault_unseal(struct session *session, const struct arguments *arguments)
{
    static struct secret_input input;
    struct problem problem = { 0 };
    struct vault_status_reply vault = { 0 };
    struct vault_unseal_reply reply = { 0 };
    enum status status = ask_status(session, &vault, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    bool begins_anew = arguments_has(arguments, FLAG_begin_anew);
    bool needs_passphrase =
        begins_anew ? strcmp(vault.key_source, "passphrase") == 0 : vault.needs_passphrase;
    if (needs_passphrase)
        status = secret_input_passphrase(&input, !vault.is_initialised, &problem);
    const struct vault_unseal_request request = { .passphrase = secret_input_span(&input),
                                                  .begin_anew = begins_anew };
    if (status == STATUS_OK)
        status = session_call(session, PEER_VAULTD, &method_vault_unseal, &request, KEY_TIMEOUT_MS,
                              &reply, &problem);
    secret_input_close(&input);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    if (!session_is_for_programs(session)) {
        printf("the vault is open%s\n", reply.was_sealed ? "" : ", as before");
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "vault");
    item_text(&item, "state", "open");
    item_bool(&item, "was_sealed", reply.was_sealed);
    document_print(session->format, &item, "open");
    return 0;
}

int command_vault_rotate(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    const struct vault_rotate_request request = { .tenant = session->tenant };
    struct vault_rotate_reply reply = { 0 };
    (void)arguments;
    enum status status = session_call(session, PEER_VAULTD, &method_vault_rotate, &request,
                                      READ_TIMEOUT_MS, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, session->tenant, status, &problem);
    if (!session_is_for_programs(session)) {
        printf("new keys are in use; %" PRIu64 " versions are sealed again in the background "
               "(`soloctl vault status`)\n",
               reply.versions);
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "vault_rotation");
    item_number(&item, "tenants", reply.tenants);
    item_number(&item, "versions", reply.versions);
    document_print(session->format, &item, "rotating");
    return 0;
}

int command_vault_rekey(struct session *session, const struct arguments *arguments)
{
    static struct secret_input input;
    struct problem problem = { 0 };
    struct vault_rekey_reply reply = { 0 };
    bool by_passphrase = arguments_has(arguments, FLAG_passphrase);
    bool by_key = arguments_has(arguments, FLAG_key_file);
    enum status status = STATUS_OK;
    if (by_passphrase && by_key)
        status = problem_set(&problem, STATUS_USAGE, "",
                             "--passphrase and --key-file: say one of the two");
    else if (by_passphrase)
        status = secret_input_passphrase(&input, true, &problem);
    const struct vault_rekey_request request = { .passphrase = secret_input_span(&input),
                                                 .key_file = by_key };
    if (status == STATUS_OK)
        status = session_call(session, PEER_VAULTD, &method_vault_rekey, &request, KEY_TIMEOUT_MS,
                              &reply, &problem);
    secret_input_close(&input);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    if (!session_is_for_programs(session)) {
        printf("the vault has a new master key and opens with its %s\n",
               strcmp(reply.key_source, "key") == 0 ? "key file" : "passphrase");
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "vault_rekeying");
    item_text(&item, "key_source", reply.key_source);
    document_print(session->format, &item, reply.key_source);
    return 0;
}

static void print_damaged(struct span names)
{
    struct reader reader = reader_of(names);
    uint32_t count = 0;
    if (names.size == 0 || reader_array(&reader, &count) != STATUS_OK)
        return;
    for (; count > 0; count--) {
        struct span name;
        if (reader_str(&reader, &name) != STATUS_OK)
            return;
        printf("  damaged  ");
        text_print_span(stdout, name, false);
        printf("\n");
    }
}

int command_vault_verify(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    const struct vault_verify_request request = {};
    struct vault_verify_reply reply = { 0 };
    (void)arguments;
    enum status status = session_call(session, PEER_VAULTD, &method_vault_verify, &request,
                                      CHANGE_TIMEOUT_MS, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    bool is_damaged = reply.damaged > 0 || reply.damaged_tenants > 0;
    if (session_is_for_programs(session)) {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "kind", "vault_verification");
        item_number(&item, "tenants", reply.tenants);
        item_number(&item, "secrets", reply.secrets);
        item_number(&item, "readable", reply.readable);
        item_number(&item, "damaged", reply.damaged);
        item_number(&item, "damaged_tenants", reply.damaged_tenants);
        item_object(&item, "damaged_names", reply.damaged_names);
        document_print(session->format, &item, is_damaged ? "damaged" : "whole");
    } else {
        printf("%" PRIu64 " secrets of %" PRIu64 " tenants: %" PRIu64 " versions readable, %" PRIu64
               " damaged, %" PRIu64 " tenants with rows missing or from another time\n",
               reply.secrets, reply.tenants, reply.readable, reply.damaged, reply.damaged_tenants);
        print_damaged(reply.damaged_names);
    }
    return is_damaged ? status_exit_code(STATUS_DATA_LOSS) : 0;
}
