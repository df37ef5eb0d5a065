#ifndef SOLO_COMMON_ACCESS_TOKEN_REPORT_H
#define SOLO_COMMON_ACCESS_TOKEN_REPORT_H

#include <ev.h>

#include "common/access/token_uses.h"
#include "common/rpc/client.h"

/* Tells tokend once a minute what tokens did here. Best effort: what cannot be told is forgotten,
 * and no request ever waits for it. */
struct token_report {
    struct token_uses uses;
    struct ev_loop *loop;
    struct ev_timer timer;
    struct rpc_client *client;
};

/* `key` is the run's, empty without one: then nothing is told. `daemon` is our name. */
enum status token_report_open(struct token_report *report, struct ev_loop *loop,
                              const char *run_dir, const char *daemon, struct span key);
void token_report_close(struct token_report *report);

#endif
