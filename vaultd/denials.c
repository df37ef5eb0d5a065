/* Nothing that a caller writes chooses whose log it is told in: a token's refusals are its own
 * tenant's. */
#include "vaultd/denials.h"

#include <stdio.h>
#include <string.h>

#include "vaultd/vault_events.h"

enum { TOLD_EVERY_MS = 1000 };

static bool is_same(const struct denial *a, const struct denial *b)
{
    return strcmp(a->tenant, b->tenant) == 0 && strcmp(a->of, b->of) == 0 &&
           strcmp(a->name, b->name) == 0 && strcmp(a->method, b->method) == 0 &&
           strcmp(a->by, b->by) == 0 && a->reason == b->reason;
}

static void note(struct denials *denials, const struct rpc_call *call, const char *tenant,
                 const char *of, const char *name, enum status status)
{
    char text[CALLER_TEXT_BYTES];
    struct denial denial = { .reason = status_name(status), .count = 1 };
    snprintf(denial.tenant, sizeof denial.tenant, "%s", tenant);
    snprintf(denial.of, sizeof denial.of, "%s", of);
    snprintf(denial.name, sizeof denial.name, "%s", name);
    snprintf(denial.method, sizeof denial.method, "%s", call->method->name);
    snprintf(denial.by, sizeof denial.by, "%s", caller_text(&call->caller, text));
    denials->vault->denied++;
    for (size_t i = 0; i < denials->count; i++)
        if (is_same(&denials->items[i], &denial)) {
            denials->items[i].count++;
            return;
        }
    if (denials->count == VAULT_DENIALS_MAX)
        return;
    denials->items[denials->count++] = denial;
    if (ev_is_active(&denials->due))
        return;
    ev_timer_set(&denials->due, TOLD_EVERY_MS / 1e3, 0);
    ev_timer_start(denials->loop, &denials->due);
}

void denials_note(struct denials *denials, const struct rpc_call *call, const char *tenant,
                  const char *name, enum status status)
{
    note(denials, call, tenant, tenant, name, status);
}

static enum status put_all(struct denials *denials)
{
    for (size_t i = 0; i < denials->count; i++) {
        const struct denial *denial = &denials->items[i];
        TRY(secret_event_denied(&denials->vault->store, denial->tenant, denial->of, denial->name,
                                denial->method, denial->by, denial->reason, denial->count));
    }
    return STATUS_OK;
}

/* Half of the outbox is for what must not be lost. */
static void tell(struct denials *denials)
{
    struct vault_store *store = &denials->vault->store;
    if (denials->count == 0 || !vault_store_is_vouched(&denials->vault->store))
        return;
    if (outbox_has_room(&store->outbox, OUTBOX_ROWS_MAX / 2) &&
        vault_store_begin(store) == STATUS_OK) {
        if (put_all(denials) == STATUS_OK)
            vault_store_commit(store); /* what failed was logged */
        else
            vault_store_abort(store);
    }
    denials->count = 0;
}

static void on_due(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct denials *denials = timer->data;
    /* Until the store counts, which is when eventd is there. */
    bool is_early = !vault_store_is_vouched(&denials->vault->store);
    if (denials->vault->store.in_turn || is_early) {
        ev_timer_set(timer, is_early ? TOLD_EVERY_MS / 1e3 : 0.001, 0);
        ev_timer_start(loop, timer);
        return;
    }
    tell(denials);
}

void denials_open(struct denials *denials, struct vault *vault, struct access *access,
                  struct ev_loop *loop)
{
    denials->vault = vault;
    denials->access = access;
    denials->loop = loop;
    ev_timer_init(&denials->due, on_due, 0, 0);
    denials->due.data = denials;
}

void denials_close(struct denials *denials)
{
    if (denials->loop == NULL)
        return;
    ev_timer_stop(denials->loop, &denials->due);
    if (!denials->vault->store.in_turn)
        tell(denials);
    denials->loop = NULL;
}

/* --- around the checks --- */

static bool is_of_secret(const struct rpc_call *call)
{
    return strncmp(call->method->name, "secret.", strlen("secret.")) == 0 &&
           call->caller.accessor[0] != '\0';
}

enum status denials_authorise(void *denials_, struct rpc_call *call, struct span token)
{
    struct denials *denials = denials_;
    enum status status = access_authorise(denials->access, call, token);
    if (status != STATUS_OK && is_of_secret(call))
        denials_note(denials, call, call->caller.tenant, "", status);
    return status;
}

enum status denials_narrow(void *denials_, struct rpc_call *call, void *request)
{
    struct denials *denials = denials_;
    enum status status = access_narrow(denials->access, call, request);
    if (status != STATUS_OK && is_of_secret(call)) {
        const char **name = fields_text(call->method->request, request, "name");
        const char **tenant = fields_text(call->method->request, request, "tenant");
        const char *of = tenant == NULL || (*tenant)[0] == '\0' ? call->caller.tenant : *tenant;
        note(denials, call, call->caller.tenant, of, name == NULL ? "" : *name, status);
    }
    return status;
}

void denials_refused(void *denials_, const struct rpc_call *call, enum status status)
{
    struct denials *denials = denials_;
    access_refused(denials->access, call, status);
}
