#ifndef SOLO_TOKEND_GATE_H
#define SOLO_TOKEND_GATE_H

#include "common/access/access.h"
#include "common/access/token_map.h"
#include "common/access/token_report.h"
#include "tokend/methods.h"

/* Who may ask tokend for what. It verifies the tokens of its own callers in the store that it has
 * open, and counts their use like every other verifier. */
struct gate {
    struct access access; /* first: what common/access is given is a pointer to it */
    struct tokend *tokend;
    struct token_map map;
    struct token_report report;
};

/* What the service asks before it serves. */
void gate_setup(struct gate *gate, struct tokend *tokend, struct rpc_service *service);
/* When the store is open, or damaged: then nobody is believed by a token. */
enum status gate_open(struct gate *gate, const struct settings *settings, struct ev_loop *loop,
                      struct span run_key);
void gate_close(struct gate *gate);

#endif
