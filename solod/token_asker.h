#ifndef SOLO_SOLOD_TOKEN_ASKER_H
#define SOLO_SOLOD_TOKEN_ASKER_H

#include "common/access/access.h"
#include "common/access/token_report.h"

/* solod opens no store, so it does not look tokens up itself: it shows them to a daemon that does,
 * and the request waits for the answer. Each of them can tell, so when one is away, hangs or has a
 * damaged map the next is asked. */
enum { TOKEN_ASKS_MAX = 64 };

struct token_ask;
struct token_asker {
    struct access access;
    struct token_report report; /* of what was refused here */
    struct ev_loop *loop;
    const char *run_dir;
    struct token_ask *asks;
    size_t count;
};

/* After access_open of `access`: refusals are reported from now on. `key` is the run's. */
enum status token_asker_open(struct token_asker *asker, struct ev_loop *loop, const char *run_dir,
                             struct span key);
/* For struct rpc_service, with a struct token_asker as its `access`. */
enum status token_asker_authorise(void *asker, struct rpc_call *call, struct span token);
void token_asker_refused(void *asker, const struct rpc_call *call, enum status status);
/* Forgets what was asked; the server answers nothing any more. */
void token_asker_close(struct token_asker *asker);

#endif
