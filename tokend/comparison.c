/* The store against the log, once per start. */
#include "tokend/comparison.h"

#include "common/access/daemon_methods.h"
#include "common/base/log.h"
#include "common/daemon/parent.h"
#include "common/outbox/outbox_state.h"

static const char *refusal(const struct tokend *tokend)
{
    const struct token_store *store = &tokend->store;
    if (tokend->store.withheld != NULL)
        return tokend->store.withheld;
    if (!token_store_is_vouched(store))
        return "every token is refused until the store was compared with the log: eventd does not "
               "answer";
    if (tokend->is_replaced)
        return "every token that was granted before is void: the store is new, though the log "
               "tells "
               "of another one; stop Solo and put that one back, or a backup of it, or grant new "
               "tokens";
    return store_voucher_is_written(&store->voucher)
               ? ""
               : "every token is refused by the other daemons: " TOKENS_VOUCHER
                 " cannot be written in the run folder, the diagnostics say why";
}

void comparison_say_health(const struct tokend *tokend)
{
    if (tokend->is_damaged || tokend->is_unsound)
        return;
    const char *why = refusal(tokend);
    daemon_health_set("ready", "%s", why);
    parent_say("ready%s%s", why[0] == '\0' ? "" : ": ", why);
}

/* It stays unvouched for; what is in it can be listed and revoked. */
static void withhold(struct comparison *comparison, const char *why)
{
    comparison->tokend->store.withheld = why;
    store_voucher_withdraw(&comparison->tokend->store.voucher);
    comparison_say_health(comparison->tokend);
    late_server_serve(comparison->late);
}

static void on_compare(void *context, uint64_t known_id)
{
    struct comparison *comparison = context;
    struct tokend *tokend = comparison->tokend;
    if (outbox_is_foreign(&tokend->store.outbox)) {
        log_error("the token store belongs to another log than the one that is there: what was "
                  "revoked cannot be known, and no token of it is believed",
                  "dir", tokend->store.db.dir, "next",
                  "stop Solo and put the right store or the right log back; or move this store "
                  "away and grant new tokens");
        withhold(comparison, "every token is refused: the store belongs to another log; stop Solo, "
                             "put the right tokens or the right log back, or move these tokens "
                             "away and grant new ones");
        return;
    }
    /* It revives nothing; but whoever has a token should learn why it is refused. */
    tokend->is_replaced = tokend->is_persistent && tokend->store.restored == 0 && known_id == 0 &&
                          outbox_has_siblings(&tokend->store.outbox);
    if (tokend->is_replaced)
        log_warning("the token store is new, though the log tells of another one: every token that "
                    "was granted before is void",
                    "dir", tokend->store.db.dir, "next",
                    "put it back, or a backup by `soloctl restore DIR --only tokens`, or grant new "
                    "tokens");
    catch_up_begin(&comparison->catch_up, known_id, outbox_is_older(&tokend->store.outbox));
}

static void on_caught_up(void *context)
{
    struct comparison *comparison = context;
    if (comparison->catch_up.is_out_of_reach) {
        withhold(comparison, "every token is refused: the store is an older copy, and what was "
                             "revoked since has left the log; put a newer one back");
        return;
    }
    token_store_vouch(&comparison->tokend->store);
    outbox_release(&comparison->tokend->store.outbox);
    comparison_say_health(comparison->tokend);
    late_server_serve(comparison->late);
}

void comparison_close(struct comparison *comparison)
{
    catch_up_close(&comparison->catch_up);
}

enum status comparison_open(struct comparison *comparison, struct ev_loop *loop,
                            const char *eventd_path, struct span run_key)
{
    struct token_store *store = &comparison->tokend->store;
    comparison->catch_up.on_done = on_caught_up;
    comparison->catch_up.context = comparison;
    TRY(catch_up_open(&comparison->catch_up, store, loop, eventd_path, run_key));
    return token_store_open_outbox(store, loop, eventd_path, run_key, on_compare, comparison);
}
