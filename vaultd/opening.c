/* Where the key-encryption key comes from: the row of the master key says it, and for a new vault
 * the setting vault_unseal. */
#include "vaultd/opening.h"

#include <stddef.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "vaultd/comparison.h"
#include "vaultd/key_file.h"

enum { AGAIN_MS = 1, RETRY_AFTER_MS = 2000 };

static const struct master_row by_key = { .source = KEY_SOURCE_KEY };

/* How this vault opens; *is_new when that is only what the settings say. */
static enum status find_source(struct opening *opening, enum key_source *source, bool *is_new)
{
    struct master_row row;
    bool by_passphrase = strcmp(opening->vault->settings->vault_unseal, "passphrase") == 0;
    enum status status = vault_master(opening->vault, &row);
    *is_new = status == STATUS_NOT_FOUND;
    if (*is_new) {
        *source = by_passphrase ? KEY_SOURCE_PASSPHRASE : KEY_SOURCE_KEY;
        return STATUS_OK;
    }
    TRY(status);
    *source = row.source;
    return STATUS_OK;
}

static enum vault_reason master_reason(enum status status)
{
    return status == STATUS_DATA_LOSS ? VAULT_REASON_master_key_damaged
                                      : VAULT_REASON_store_unreadable;
}

static enum status read_key_file(struct opening *opening, bool is_new, struct key_refusal *refusal)
{
    const struct settings *settings = opening->vault->settings;
    *refusal = (struct key_refusal){ .reason = VAULT_REASON_key_unreadable,
                                     .detail = "it could not be made" };
    if (is_new)
        TRY(key_file_make_if_absent(settings));
    return key_file_read(settings, &opening->kek, refusal);
}

static enum status unseal(struct opening *opening, struct secret *kek,
                          const struct master_row *parameters, struct problem *problem)
{
    TRY(vault_unseal(opening->vault, kek, parameters, problem));
    if (opening->on_open != NULL)
        opening->on_open(opening->context);
    return STATUS_OK;
}

/* --- the start --- */

/* What an operator has decided holds for the vaultd that comes after, too. */
static bool stays_sealed(struct vault *vault)
{
    char by[CALLER_TEXT_BYTES];
    enum status status = vault_sealed_by(vault, by);
    if (status == STATUS_OK)
        vault_seal(vault, VAULT_REASON_sealed_by_operator, by);
    else if (status != STATUS_NOT_FOUND)
        vault_seal(vault, VAULT_REASON_store_unreadable, "");
    return status != STATUS_NOT_FOUND;
}

void opening_begin(struct opening *opening)
{
    struct vault *vault = opening->vault;
    struct problem problem = { 0 };
    if (stays_sealed(vault)) {
        log_info("the vault is sealed", "reason", vault->reason, "next",
                 vault_reason_next(vault->code));
        return;
    }
    struct key_refusal refusal;
    enum key_source source = KEY_SOURCE_KEY;
    bool is_new = false;
    /* Before anything is said of a key: without locked memory none is made or read. */
    enum status status = vault_may_open(vault, &problem);
    if (status == STATUS_OK) {
        status = find_source(opening, &source, &is_new);
        if (status != STATUS_OK)
            vault_seal(vault, master_reason(status), "");
    } else {
        vault_seal(vault, VAULT_REASON_memory_not_locked, memory_lock_problem());
    }
    if (status == STATUS_OK && source == KEY_SOURCE_PASSPHRASE) {
        vault_seal(vault, is_new ? VAULT_REASON_first_passphrase : VAULT_REASON_passphrase_needed,
                   "");
        log_info("the vault is sealed", "reason", vault->reason, "next",
                 vault_reason_next(vault->code));
        return;
    }
    if (status == STATUS_OK) {
        status = read_key_file(opening, is_new, &refusal);
        if (status == STATUS_OK)
            status = unseal(opening, &opening->kek, &by_key, &problem);
        else
            vault_seal(vault, refusal.reason, refusal.detail);
    }
    secret_free(&opening->kek);
    if (status != STATUS_OK)
        log_error("the vault stays sealed", "status", status_name(status), "code",
                  vault_reason_name(vault->code), "reason", vault->reason, "next",
                  vault_reason_next(vault->code));
}

/* --- requests --- */

static void forget(struct opening *opening)
{
    opening->state = OPENING_NOTHING;
    opening->call = NULL;
    opening->vault->asked_by[0] = '\0';
    secret_free(&opening->kek);
    if (!opening->derivation.is_running)
        derivation_forget(&opening->derivation);
}

static void answer(struct opening *opening, enum status status, const struct problem *problem,
                   const void *reply)
{
    struct rpc_call *call = opening->call;
    forget(opening);
    if (call == NULL)
        return;
    if (status == STATUS_OK)
        rpc_call_reply(call, reply);
    else
        rpc_call_fail(call, status, problem);
}

static void carry_out(struct opening *opening)
{
    struct vault *vault = opening->vault;
    struct problem problem = { 0 };
    struct secret *kek = opening->kek.data != NULL ? &opening->kek : NULL;
    if (opening->derivation.kek.data != NULL)
        kek = &opening->derivation.kek;
    if (opening->is_rekey) {
        const struct vault_rekey_reply reply = {
            .key_source = key_source_name(opening->parameters.source),
        };
        enum status status = vault_rekey(vault, kek, &opening->parameters, &problem);
        answer(opening, status, &problem, &reply);
    } else {
        const struct vault_unseal_reply reply = { .was_sealed = !vault->keyring.is_open };
        enum status status = vault->keyring.is_open
                                 ? STATUS_OK
                                 : unseal(opening, kek, &opening->parameters, &problem);
        answer(opening, status, &problem, &reply);
    }
}

static void on_again(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct opening *opening = timer->data;
    ensure(opening->state == OPENING_DUE);
    if (!opening->vault->store.in_turn) {
        carry_out(opening);
        return;
    }
    ev_timer_set(timer, AGAIN_MS / 1e3, 0);
    ev_timer_start(loop, timer);
}

static void due(struct opening *opening)
{
    opening->state = OPENING_DUE;
    ev_timer_set(&opening->again, 0, 0);
    ev_timer_start(opening->loop, &opening->again);
}

static void on_derived(void *context)
{
    struct opening *opening = context;
    struct problem problem = { 0 };
    opening->state = OPENING_DUE;
    if (!opening->derivation.has_failed) {
        due(opening);
        return;
    }
    problem_set(&problem, STATUS_RESOURCE_EXHAUSTED, "passphrase",
                "there is no memory for Argon2id, which needs %llu bytes",
                (unsigned long long)opening->parameters.memory_bytes);
    answer(opening, STATUS_RESOURCE_EXHAUSTED, &problem, NULL);
}

static void on_gone(struct rpc_call *call)
{
    struct opening *opening = call->user;
    opening->call = NULL; /* what was asked for goes on */
    rpc_call_drop(call);
}

static enum status refuse_second(struct rpc_call *call)
{
    problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                "another request changes the vault's key; ask again");
    call->problem.retry_after_ms = RETRY_AFTER_MS;
    return STATUS_RESOURCE_EXHAUSTED;
}

static enum status derive(struct opening *opening, struct rpc_call *call, struct span passphrase)
{
    enum status status = derivation_start(&opening->derivation, passphrase, &opening->parameters);
    if (status == STATUS_OK) {
        opening->state = OPENING_DERIVING;
        return STATUS_OK;
    }
    return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "", "%s: %s; %s",
                       vault_reason_words(VAULT_REASON_memory_not_locked), memory_lock_problem(),
                       vault_reason_next(VAULT_REASON_memory_not_locked));
}

static void wait_for_it(struct opening *opening, struct rpc_call *call, bool is_rekey)
{
    opening->is_rekey = is_rekey;
    opening->call = call;
    caller_text(&call->caller, opening->vault->asked_by);
    call->user = opening;
    call->on_gone = on_gone;
    rpc_call_defer(call);
    if (opening->state != OPENING_DERIVING)
        due(opening);
}

/* The parameters of the passphrase that there is, or new ones. */
static enum status take_passphrase(struct opening *opening, bool is_new)
{
    if (!is_new)
        return vault_master(opening->vault, &opening->parameters);
    opening->parameters =
        passphrase_parameters(opening->vault->settings->vault_argon2_memory_bytes);
    return STATUS_OK;
}

enum status opening_unseal(struct opening *opening, struct rpc_call *call,
                           const struct vault_unseal_request *request,
                           struct vault_unseal_reply *reply)
{
    enum key_source source;
    struct key_refusal refusal;
    bool is_new, has_passphrase = request->passphrase.size > 0;
    if (opening->vault->keyring.is_open && !request->begin_anew) {
        reply->was_sealed = false;
        return STATUS_OK;
    }
    if (opening->state != OPENING_NOTHING)
        return refuse_second(call);
    bool begins_anew = request->begin_anew && opening->vault->is_missing;
    if (request->begin_anew && !begins_anew)
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "begin_anew",
                           "is for a vault whose store is gone, and this one is not");
    if (!begins_anew)
        TRY(vault_may_open(opening->vault, &call->problem));
    enum status status = find_source(opening, &source, &is_new);
    if (status != STATUS_OK)
        return vault_refuse(opening->vault, &call->problem, status, "", master_reason(status), "");
    if (has_passphrase != (source == KEY_SOURCE_PASSPHRASE))
        return problem_set(&call->problem, STATUS_FAILED_PRECONDITION, "passphrase",
                           has_passphrase ? "this vault opens with its key file: leave it out"
                                          : "this vault opens with a passphrase: none was given");
    if (begins_anew)
        comparison_begin_anew(opening->vault);
    if (has_passphrase) {
        TRY(take_passphrase(opening, is_new));
        TRY(derive(opening, call, request->passphrase));
    } else {
        opening->parameters = by_key;
        status = read_key_file(opening, is_new, &refusal);
        if (status != STATUS_OK)
            return vault_refuse(opening->vault, &call->problem, status, "vault_key_file",
                                refusal.reason, refusal.detail);
    }
    wait_for_it(opening, call, false);
    return STATUS_OK;
}

enum status opening_rekey(struct opening *opening, struct rpc_call *call,
                          const struct vault_rekey_request *request)
{
    if (opening->state != OPENING_NOTHING)
        return refuse_second(call);
    struct key_refusal refusal;
    TRY(vault_ready(opening->vault, &call->problem));
    if (request->key_file && request->passphrase.size > 0)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "passphrase",
                           "cannot be given together with key_file");
    if (request->passphrase.size > 0) {
        TRY(take_passphrase(opening, true));
        TRY(derive(opening, call, request->passphrase));
    } else if (request->key_file) {
        opening->parameters = by_key;
        enum status status = read_key_file(opening, true, &refusal);
        if (status != STATUS_OK)
            return problem_set(&call->problem, status, "vault_key_file",
                               "the vault keeps the key that it has: %s: %s; %s",
                               vault_reason_words(refusal.reason), refusal.detail,
                               vault_reason_next(refusal.reason));
    } else {
        TRY(vault_master(opening->vault, &opening->parameters));
    }
    wait_for_it(opening, call, true);
    return STATUS_OK;
}

/* --- life --- */

void opening_open(struct opening *opening, struct vault *vault, struct ev_loop *loop)
{
    opening->vault = vault;
    opening->loop = loop;
    derivation_open(&opening->derivation, loop, on_derived, opening);
    ev_timer_init(&opening->again, on_again, 0, 0);
    opening->again.data = opening;
}

void opening_close(struct opening *opening)
{
    if (opening->loop == NULL)
        return;
    ev_timer_stop(opening->loop, &opening->again);
    derivation_close(&opening->derivation);
    secret_free(&opening->kek);
    opening->loop = NULL;
}
