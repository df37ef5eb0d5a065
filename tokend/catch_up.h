#ifndef SOLO_TOKEND_CATCH_UP_H
#define SOLO_TOKEND_CATCH_UP_H

#include <ev.h>

#include "common/rpc/client.h"
#include "tokend/token_store.h"

/* What the log tells of ends of tokens that this copy of the store may not know: somebody put an
 * older copy in its place. A token that was revoked, or swept, and is there nevertheless, is
 * removed before any new event is sent. When the store is no older copy, it finds nothing to do. */
struct catch_up {
    struct token_store *store;
    struct ev_loop *loop;
    struct rpc_client *client;
    struct ev_timer again; /* after a failure */
    uint64_t known_id;     /* nothing up to here is news */
    bool is_older;         /* there is news, as the log counts the events of this store */
    bool is_out_of_reach;  /* done, and in vain: some of that news was archived */
    uint64_t before;       /* newest first: the next page ends here; 0 at the end of the log */
    unsigned step;         /* which type of event */
    uint64_t removed;      /* tokens, since the start */
    uint64_t removing;     /* in the turn that takes a page: each in a turn of its own */
    bool is_running;
    void (*on_done)(void *context);
    void *context;
};

/* Nothing is asked yet. */
enum status catch_up_open(struct catch_up *catch_up, struct token_store *store,
                          struct ev_loop *loop, const char *eventd_path, struct span run_key);
void catch_up_close(struct catch_up *catch_up);
/* on_done is called, once and outside of a turn, when what was removed is committed; what fails is
 * tried again until then. While it runs nothing begins. Of an older copy, of which the log has news
 * from `known_id` on: when the log begins later, nobody can tell what has ended in between. */
void catch_up_begin(struct catch_up *catch_up, uint64_t known_id, bool is_older);

#endif
