#ifndef SOLO_COMMON_OUTBOX_OUTBOX_H
#define SOLO_COMMON_OUTBOX_OUTBOX_H

#include "common/api/api.h"
#include "common/db/db.h"
#include "common/outbox/batch.h"
#include "common/outbox/log_witness.h"
#include "common/rpc/client.h"

/* Events of a daemon with a store of its own, on their way to eventd: see README.md.
 *
 * Within a turn of its owner: outbox_put for each event, outbox_finish_turn before the commit,
 * outbox_turn_ended after it (or after the abort). Everything runs on the owner's loop. */

enum {
    OUTBOX_UNREMOVED_MAX = SOURCE_WINDOW / 2, /* acknowledged ones that still lie there */
};

struct outbox_options {
    struct ev_loop *loop;
    struct db *db;           /* of the owner; must outlive the outbox */
    unsigned table;          /* in its schema */
    const char *daemon;      /* the owner's name, for daemon.hello and the source */
    struct span run_key;     /* empty: none */
    const char *eventd_path; /* of its socket; copied */
    /* Acknowledged rows are to be removed: a turn of the owner's, empty if need be, which calls
     * outbox_finish_turn. Not called within a turn. */
    void (*remove)(void *context);
    /* The log was reached, and nothing sent yet: the owner compares its store with what the log
     * tells after event `known_id`, or asks outbox_is_older, then calls outbox_release; or never:
     * then nothing is sent. NULL: there is nothing to compare. */
    void (*compare)(void *compare_context, uint64_t known_id);
    void *compare_context;
    /* The owner knows that its store is no older copy: what is put before the log was reached is
     * numbered on. */
    bool is_newest;
    void *context;
};

enum outbox_state { OUTBOX_EMPTY, OUTBOX_SENDING, OUTBOX_WAITING, OUTBOX_REFUSED };

/* How far is the log? held -> asking -> comparing -> released; a failure: asking -> held. */
enum outbox_question { OUTBOX_HELD, OUTBOX_ASKING, OUTBOX_COMPARING, OUTBOX_RELEASED };

struct outbox {
    struct outbox_options options;
    char source[EVENT_SOURCE_BYTES_MAX + 1]; /* DAEMON/STORE ID */
    struct rpc_client *client;
    struct ev_timer again;  /* after a failure */
    struct ev_timer remove; /* of what is acknowledged, when no turn comes by */
    struct buffer row;
    struct outbox_batch batch;

    /* positions of rows; each is at most the one after it */
    uint64_t removed;      /* the last that is gone */
    uint64_t acknowledged; /* the last that eventd has */
    uint64_t sent;         /* the last that is under way; = acknowledged when none is */
    uint64_t committed;    /* the last that is in the store */

    /* Whether the log is further than the store is asked before anything is sent: then the store is
     * an older copy, whose next numbers are taken. What is put before that is known, or then, is
     * numbered in an incarnation of its own. */
    enum outbox_question question;
    bool is_own;
    uint8_t incarnation[16]; /* of what is put */
    uint8_t incarnation_at_opening[16];
    uint64_t numbered;          /* the last number of it that is in the store */
    uint64_t last_at_opening;   /* position ... */
    uint64_t number_at_opening; /* ... and number of the last row that was put */
    uint64_t last_in_log;       /* number that the log had of it then */
    uint64_t newest_id;         /* event that the log had of the store then */
    bool is_older;              /* it had more than this copy put */
    uint64_t siblings_id;       /* the newest one that it has of other stores of the owner */
    bool is_foreign;            /* the store belongs to another log */
    uint64_t
        known_id; /* all that the log has of this store up to here was put by this copy of it */

    /* the turn */
    bool is_dirty;
    uint64_t put;      /* the last, as of this turn */
    uint64_t number;   /* of that row, in this incarnation */
    uint64_t removing; /* the last that this turn removes */

    struct log_witness witness;
    bool is_connected;
    struct ev_timer flush;           /* active while it may take */
    struct ev_timer pace;            /* active for a while after a batch was sent */
    enum outbox_state problem_state; /* WAITING or REFUSED after a failure, otherwise EMPTY */
    char reason[256];
    uint64_t acknowledged_count; /* since the start */
};

/* Reads where the store's outbox stands, and begins to send. data_loss when rows are missing. A
 * zeroed outbox may be closed. */
enum status outbox_open(struct outbox *outbox, const struct outbox_options *options);
void outbox_close(struct outbox *outbox);

/* Whether `count` more rows may be put by what grows. */
bool outbox_has_room(const struct outbox *outbox, uint64_t count);

/* Puts an event into the owner's open transaction. The caller fills type, tenant, subject and
 * payload (and cause), texts "" when absent; source and number are filled in here. What fails is
 * the transaction's status too: it cannot be committed. */
enum status outbox_put(struct outbox *outbox, struct db_txn *txn,
                       const struct event_append_request *event);

enum status outbox_finish_turn(struct outbox *outbox, struct db_txn *txn);
void outbox_turn_ended(struct outbox *outbox, bool was_committed);

/* Within `compare`, of a foreign store that was put here on purpose: it is this log's from now on.
 * What it knows of its own log is forgotten, what waited for that one is given up. */
void outbox_take_over(struct outbox *outbox);
/* After `compare`: from now on events are sent, to a log that is not FORKED. A foreign store goes
 * on being the other log's until this one is not, or no more: should it be the wrong one, nothing
 * has happened when the right one comes back. */
void outbox_release(struct outbox *outbox);
/* Before a clean stop: sends at once what waits, also after a failure. outbox_is_settled is false
 * until eventd has answered, for a second at most. */
void outbox_flush(struct outbox *outbox);

/* Rows that eventd has not acknowledged, as far as they are committed. */
uint64_t outbox_waiting(const struct outbox *outbox);

#endif
