#ifndef SOLO_TOKEND_COMPARISON_H
#define SOLO_TOKEND_COMPARISON_H

#include "common/access/late_server.h"
#include "tokend/catch_up.h"
#include "tokend/methods.h"

/* Until the store has been compared with the log, what was revoked may be in it. When that takes
 * longer, because eventd is away, tokend serves meanwhile; a store that it does not vouch for is
 * then read, and what is in it revoked, but nobody is believed by it. */
struct comparison {
    struct catch_up catch_up;
    struct late_server *late;
    struct tokend *tokend;
};

/* Asks the log from now on, and tells it what the store's outbox holds. `comparison` has its two
 * owners, and the store is open. */
enum status comparison_open(struct comparison *comparison, struct ev_loop *loop,
                            const char *eventd_path, struct span run_key);
void comparison_close(struct comparison *comparison);

/* Why tokens are refused, if they are; not while the store is damaged. */
void comparison_say_health(const struct tokend *tokend);

#endif
