#ifndef SOLO_EVENTD_EVENT_STORE_H
#define SOLO_EVENTD_EVENT_STORE_H

#include "common/api/event_types.h"
#include "common/api/records/event_record.h"
#include "common/base/buffer.h"
#include "common/db/db.h"
#include "eventd/branch.h"
#include "eventd/late_rows.h"

/* The log and its tables, as their one writer has them. A turn of the loop is one transaction:
 * begin, any number of appends, commit. An append gets its number and the hash it chains to inside
 * that transaction, and changes heads, live and tenants with it. */
struct event_store {
    struct db db;
    struct db_txn txn; /* of this turn */
    bool in_turn;
    struct late_rows late;
    struct branch branch;
    struct buffer record; /* the one that is being packed */
    uint64_t epoch;       /* how often eventd has started on this store */

    uint64_t last_id; /* within the turn */
    struct hash last_hash;
    uint64_t committed_id; /* what readers see */

    /* since the start */
    uint64_t appended, commits, batch_max, repeats;
};

/* Opens DATA/events, creates it when there is none. data_loss: it is damaged and was not touched;
 * with a whole chain and wrong projections these are folded anew, and the log says so. */
enum status event_store_open(struct event_store *store, const char *data_dir);
void event_store_close(struct event_store *store);
/* The last commit: what is late, the clean flag, and, when a run of Solo ends with it, how
 * (common/api/records/run_end.h): all or nothing of it. */
struct store_end {
    bool ends_run;
    bool is_logged;     /* system_shutdown_complete is written */
    bool is_forced;     /* something had to be killed */
    const char *killed; /* what, as far as it has names; may be NULL */
};
enum status event_store_close_cleanly(struct event_store *store, const struct store_end *end);

enum status event_store_begin(struct event_store *store);
/* resource_exhausted: nothing of the turn happened. unknown: stop, see db_commit. */
enum status event_store_commit(struct event_store *store);
void event_store_abort(struct event_store *store);

/* Appends within the turn. The caller fills type, tenant, subject, cause, request, source and
 * payload, and has checked them; the rest is filled in here. After a failure the turn cannot be
 * committed. */
enum status event_store_append(struct event_store *store, enum event_type type,
                               struct event *event);

/* Remembers the outcome of a request, within the turn. `is_recorded`: its first event says it too.
 */
enum status event_store_put_request(struct event_store *store, const struct uuid *id,
                                    const struct request_outcome *outcome, bool is_recorded);
/* Something after the first write of a request has failed: the turn must not be committed, its
 * commit will return `status`. */
void event_store_spoil(struct event_store *store, enum status status);

/* In a turn of its own: eventd's own events. */
enum status event_store_append_alone(struct event_store *store, enum event_type type,
                                     struct span payload);

/* Within the turn, for an operator who keeps a FORKED log as it is: a new branch. log_opened tells
 * of it. */
enum status event_store_keep(struct event_store *store);

/* Within the turn, for an operator who has seen that `live` is not the fold of the log: verifies
 * the chain and folds it anew. log_opened tells of it. data_loss: the chain is broken, nothing
 * changed. */
enum status event_store_fold(struct event_store *store, uint64_t *events);

/* Not within a turn: writes the rows that are late. */
enum status event_store_write_late_rows(struct event_store *store);
/* Every 10 s: slots of dead readers, rows that are late, requests that are too old. */
enum status event_store_tidy(struct event_store *store);

#endif
