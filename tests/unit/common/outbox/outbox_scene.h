#ifndef SOLO_TESTS_UNIT_COMMON_OUTBOX_OUTBOX_SCENE_H
#define SOLO_TESTS_UNIT_COMMON_OUTBOX_OUTBOX_SCENE_H

#include <ev.h>

#include "common/db/db.h"
#include "common/outbox/outbox.h"
#include "common/rpc/server.h"

/* An outbox, its owner, and the eventd that the test plays: it takes what comes in order, knows
 * what it has taken, and refuses, forgets to answer or is away as told. */
enum { SOURCES = 8 };

struct outbox_scene {
    struct ev_loop *loop;
    struct db db;
    struct db_txn txn;
    struct outbox outbox;
    struct rpc_server *server;
    char socket[4096];
    /* eventd */
    struct {
        uint8_t incarnation[16];
        uint64_t last;
    } sources[SOURCES];
    uint64_t of_none; /* the last of an incarnation of zeros */
    uint64_t taken, requests;
    char log[LOG_ID_BYTES + 1]; /* "": it does not say which it is */
    enum status refusal;
    char shown[65]; /* the anchor that came last, as text */
    bool is_forked;
};

extern struct outbox_scene scene;

/* With a store that is empty, and no eventd yet: .init and .fini of a suite. */
void scene_open(void);
void scene_close(void);

void eventd_start(void);
void eventd_stop(void);
/* The last number that eventd has taken of an incarnation; it may be written. */
uint64_t *eventd_last_of(struct span incarnation);

/* As the owner: on the store as it is, without comparing. The options are for those who want
 * others. */
void outbox_start(void);
struct outbox_options outbox_options(void);
void outbox_put_many(int count); /* and the end of their turn */

void run_ms(unsigned ms);
/* Until eventd has taken so many in all, and nothing waits. */
void until_taken(uint64_t count);

#endif
