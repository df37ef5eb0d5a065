#ifndef SOLO_COMMON_API_RECORDS_EVENT_LOG_H
#define SOLO_COMMON_API_RECORDS_EVENT_LOG_H

#include "common/api/event_types.h"
#include "common/api/records/event_record.h"
#include "common/api/records/schemas.h"
#include "common/base/problem.h"
#include "common/db/requests.h"
#include "common/db/table.h"

/* Reading the event store through its map: for deployd, recoveryd, and eventd's own queries. Each
 * function works in an open transaction of events_schema. */

/* The newest number, 0 for an empty log. */
enum status event_log_last(struct db_txn *txn, uint64_t *id);
/* Where a walk may begin: 1, or the number after those that were archived (log_cut.h). */
enum status event_log_first(struct db_txn *txn, uint64_t *id);
/* One event, checked. not_found when there is no such number; data_loss when there must be. The
 * payload points into the map. Links to what was archived are 0: there a walk back ends. */
enum status event_log_read(struct db_txn *txn, uint64_t id, struct arena *arena,
                           struct event *event);
/* The same with event_decode_unproven: another process compares the hash. */
enum status event_log_read_unproven(struct db_txn *txn, uint64_t id, struct arena *arena,
                                    struct event *event);

enum status live_find(struct db_txn *txn, const char *tenant, const char *name,
                      struct live_row *row);
enum status tenant_find(struct db_txn *txn, const char *tenant, struct tenant_row *row);
/* Writes a row of `live` (its key: service_key) or `tenants`. */
enum status live_put(struct db_txn *txn, const char *key, const struct live_row *row);
enum status tenant_put(struct db_txn *txn, const char *tenant, const struct tenant_row *row);

/* Calls `visit` for each wanted service in the order of TENANT/NAME, until it returns another
 * status than OK. The table's digest is checked along the way: data_loss when a row is missing. */
enum status live_each(struct db_txn *txn,
                      enum status (*visit)(void *context, const char *tenant, const char *name,
                                           const struct live_row *row),
                      void *context);
enum status tenant_each(struct db_txn *txn,
                        enum status (*visit)(void *context, const char *tenant,
                                             const struct tenant_row *row),
                        void *context);
enum status live_count(struct db_txn *txn, uint64_t *count);

/* Checks numbers and hashes of the chain from `first` (its predecessor included, when there is one;
 * from the first event that is not archived on, whose predecessor is what the cut says)
 * to the end, at most `count_max` records. *intact_from is the first number of the unbroken run
 * that ends the checked part; data_loss (logged, with the number) when a link is broken. */
enum status event_log_verify(struct db_txn *txn, uint64_t first, uint64_t count_max,
                             uint64_t *checked);

/* The complete spec of a generation, as it lies in its service_deployed event; not_found when that
 * number is no service_deployed. */
enum status event_log_spec(struct db_txn *txn, uint64_t generation, struct span *spec);

/* The newest event of a tenant, type or subject; 0 for none. The table of heads may be behind; the
 * events that are later are looked through: unless the disk is full, fewer than LATE_EVENTS_MAX and
 * not much more than LATE_BYTES_MAX of them. A process reads each of them once, however often it
 * asks. */
enum head_kind { HEAD_OF_TENANT = 't', HEAD_OF_TYPE = 'y', HEAD_OF_SUBJECT = 's' };
enum { HEAD_KEY_BYTES = 1 + EVENT_SUBJECT_BYTES_MAX };
enum status event_log_head(struct db_txn *txn, enum head_kind kind, const char *text, uint64_t *id);

/* Makes a head whose event was archived, and is not there any more, 0. */
enum status event_log_end_head(struct db_txn *txn, uint64_t *id);

/* Its row in the table: what it was when the table was written. (Of a row that is damaged: what the
 * records say, which takes a walk.) */
struct span event_log_head_key(uint8_t key[HEAD_KEY_BYTES], enum head_kind kind, const char *text);
enum status event_log_head_row(struct db_txn *txn, struct span key, uint64_t *id);
/* Without the table: among the newest events, as far back as nobody waits long for it; data_loss
 * beyond. */
enum status event_log_search_head(struct db_txn *txn, struct span key, uint64_t *id);

/* What came of a request whose event is one of Solo's own: those have their row with their commit.
 * `tenant` is whose event it is, `body` the hash of the caller's params. As requests_find; besides,
 * for whom it has no row it may be one of app.* whose row is late: eventd compares all of them. */
enum status event_log_request(struct db_txn *txn, const char *tenant, const struct uuid *id,
                              const struct hash *body, struct request_outcome *outcome,
                              struct problem *problem);
/* The body that eventd compares, and keeps, for a request of this tenant: nobody is answered with
 * another tenant's outcome. */
struct hash event_log_request_body(const char *tenant, const struct hash *body);

/* The newest event of which `heads` and `requests` speak; it stands in `meta`. */
enum status event_log_written(struct db_txn *txn, uint64_t *id);
enum status event_log_set_written(struct db_txn *txn, uint64_t id);

#endif
