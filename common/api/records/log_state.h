#ifndef SOLO_COMMON_API_RECORDS_LOG_STATE_H
#define SOLO_COMMON_API_RECORDS_LOG_STATE_H

#include "common/api/records/log_fold.h"

/* What a log's events up to a number come to, packed: what an archive ends with and what stands in
 * the store for the events that went into it. One msgpack array for each row, one behind the other,
 * sorted: ["tenant", NAME, tenant_row], ["service", TENANT/NAME, live_row] and after it the newest
 * event about it, ["about", TENANT/NAME, {"id": NUMBER}], and the newest event of each of Solo's
 * types, ["newest", TYPE, {"id": NUMBER}]. The same fold gives the same bytes. */

enum status log_state_pack(struct log_fold *fold, struct buffer *state);
/* Into a fold that was opened and holds nothing. data_loss (logged): it is none. */
enum status log_state_unpack(struct span state, struct log_fold *fold);

/* The events whose records must stay when those up to the state go: generations that are wanted or
 * may be fallen back to, what made them so, the newest about them, tenants, the newest event of
 * each of Solo's types. Sorted, each once; the caller frees. */
enum status log_state_kept(struct span state, uint64_t **ids, size_t *count);
/* Whether a number is among them. */
bool log_state_keeps(const uint64_t *ids, size_t count, uint64_t id);

#endif
