#ifndef SOLO_SOLOD_TOKEN_ASKER_H
#define SOLO_SOLOD_TOKEN_ASKER_H

#include "common/access/access.h"

/* solod opens no store, so it does not look tokens up itself: it shows them to deployd, and the
 * request waits for the answer. */
enum { TOKEN_ASKS_MAX = 64 };

struct token_ask;
struct token_asker {
    struct access access;
    struct ev_loop *loop;
    const char *run_dir;
    struct token_ask *asks;
    size_t count;
};

/* For struct rpc_service, with a struct token_asker as its `access`. */
enum status token_asker_authorise(void *asker, struct rpc_call *call, struct span token);
/* Forgets what was asked; the server answers nothing any more. */
void token_asker_close(struct token_asker *asker);

#endif
