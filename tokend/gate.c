/* Who may ask: access's answer, but for a token that asks once more what became of its own end. */
#include "tokend/gate.h"

#include <stddef.h>

#include "tokend/changes.h"

_Static_assert(offsetof(struct gate, access) == 0, "a gate is an access");

static enum status authorise(void *gate_, struct rpc_call *call, struct span token)
{
    struct gate *gate = gate_;
    enum status status = access_authorise(&gate->access, call, token);
    bool may_ask_again = status == STATUS_UNAUTHENTICATED && !gate->tokend->is_damaged &&
                         change_may_ask_again(&gate->tokend->store, call, token);
    return may_ask_again ? STATUS_OK : status;
}

/* Who meets damage first says so, and the walk in the background need not come by. */
static void refused(void *gate_, const struct rpc_call *call, enum status status)
{
    struct gate *gate = gate_;
    access_refused(&gate->access, call, status);
    if (status == STATUS_DATA_LOSS)
        tokend_note_damage(gate->tokend);
}

void gate_setup(struct gate *gate, struct tokend *tokend, struct rpc_service *service)
{
    gate->tokend = tokend;
    service->privileged = &gate->access.privileged;
    service->authorise = authorise;
    service->narrow = access_narrow;
    service->refused = refused;
    service->access = gate;
}

enum status gate_open(struct gate *gate, const struct settings *settings, struct ev_loop *loop,
                      struct span run_key)
{
    struct token_store *store = &gate->tokend->store;
    if (gate->tokend->is_damaged)
        return STATUS_OK;
    TRY(token_map_attach(&gate->map, &store->db, &store->voucher));
    TRY(token_report_open(&gate->report, loop, settings->run_dir, "tokend", run_key));
    gate->access.tokens = &gate->map.verifier;
    gate->access.uses = &gate->report.uses;
    return STATUS_OK;
}

void gate_close(struct gate *gate)
{
    token_report_close(&gate->report);
    token_map_close(&gate->map);
}
