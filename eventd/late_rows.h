#ifndef SOLO_EVENTD_LATE_ROWS_H
#define SOLO_EVENTD_LATE_ROWS_H

#include "common/db/requests.h"
#include "eventd/heads.h"
#include "eventd/recent_requests.h"

/* `heads` and `requests` say nothing that the records do not say: they only make it quick to find.
 * So they need not be written with each commit, which would dirty several pages for every event.
 * What they do not say yet is kept here, and read from its records after a restart or a turn that
 * came to nothing. `meta` tells up to which event the tables are written.
 *
 * They are written when LATE_EVENTS_MAX events or LATE_BYTES_MAX of them have come. Other programs
 * look for heads in the later records first; the row of a request whose event is one of Solo's own,
 * whose record does not tell its outcome, is never late. Without space they are not written,
 * however many are late: what must not be refused then needs every page. */
struct late_rows {
    struct heads heads;
    struct recent_requests requests;
    uint64_t written;      /* the newest event of which the tables speak */
    uint64_t bytes;        /* of the later ones */
    uint64_t committed_id; /* the newest event that readers see */
    bool is_loaded;        /* false: begin reads the later ones */
    bool must_write;       /* with this turn's commit */
    unsigned rows_put;     /* into `requests` since old ones were last forgotten */
    struct uuid forgotten; /* see requests_forgotten */
    struct uuid newest;    /* no later id has a row: nearly every request is later */
    uint64_t now_ms;       /* when the turn began */
    /* Until then (boottime) what is not in the table is taken not to be: it was whole. 0: nobody
     * has compared it since the start. */
    uint64_t heads_proved_ns, requests_proved_ns;
    enum { HEADS_WHOLE, HEADS_LOST, HEADS_BEYOND_REPAIR } heads_state; /* as far as it is known */
    bool is_damage_of_heads; /* and the store has met no other */
    /* By the wall clock or the newest row, whichever is later: */
    uint64_t opened_ms; /* what was drawn after it was not used before the start */
    uint64_t lost_ms;   /* when rows of requests were found to be missing; 0: they were not */
};

enum status late_rows_init(struct late_rows *late);
void late_rows_reset(struct late_rows *late);

/* Compares the heads with their digest, before the first turn: each event links to the one before
 * by what they say, and stays so for ever. */
enum status late_rows_prove_heads(struct late_rows *late, struct db_txn *txn);
/* The table of heads from the records that it speaks of, because it is not what its digest says.
 * Before the first turn. */
enum status late_rows_make_heads(struct late_rows *late, struct db_txn *txn);
/* First in each turn. Heads that were found to be lost are made anew. */
enum status late_rows_begin(struct late_rows *late, struct db_txn *txn, uint64_t last_id);
/* For an event that is about to be packed: fills its back links. */
enum status late_rows_add_event(struct late_rows *late, struct db_txn *txn, struct event *event);
/* As requests_find; also among those that are not in the table yet. One that is not found and may
 * have had a row before this start has the table compared with its digest, once; when rows are
 * missing it is data_loss, because it may have been carried out. */
enum status late_rows_find_request(struct late_rows *late, struct db_txn *txn,
                                   const struct uuid *id, const struct hash *body_hash,
                                   struct request_outcome *outcome, struct problem *problem);
/* `is_recorded`: the request's first event has its outcome in its record. */
enum status late_rows_add_request(struct late_rows *late, struct db_txn *txn, const struct uuid *id,
                                  const struct request_outcome *outcome, bool is_recorded);
/* Last in each turn: writes the tables when it is time. Two old requests are forgotten for each new
 * one, so that their table shrinks to its bound however fast they come. */
enum status late_rows_end(struct late_rows *late, struct db_txn *txn, uint64_t last_id);
/* The turn, up to this event, is what readers see now. */
void late_rows_committed(struct late_rows *late, uint64_t last_id);
/* As event_log_head, in a read transaction begun since the last commit: from memory, or from the
 * records when that does not know, or when rows of the table are missing. data_loss when these
 * cannot be made anew. */
enum status late_rows_find_head(struct late_rows *late, struct db_txn *txn, enum head_kind kind,
                                const char *text, uint64_t *id);
/* The turn came to nothing. */
void late_rows_forget(struct late_rows *late);

#endif
