#ifndef SOLO_COMMON_API_RECORDS_LIVE_FOLD_H
#define SOLO_COMMON_API_RECORDS_LIVE_FOLD_H

#include "common/api/event_types.h"
#include "common/api/records/event_record.h"

/* How one event changes what is wanted: pure, used by eventd as it appends and by whoever folds the
 * log again to compare.
 *
 *   service_deployed {spec, spec_hash}            wanted: this generation; the one before is
 * `previous` service_deployment_failed {generation}        if it is the current one: the previous
 * one again (since = this event), or nothing if there was none service_completed {generation} if it
 * is the current one: nothing is wanted service_killed                                nothing is
 * wanted
 *
 * Any other event, or one that names another generation, changes nothing. */
enum fold_change { FOLD_NOTHING, FOLD_PUT, FOLD_DELETE };

/* `before` is the service's row, NULL when it has none. data_loss when the payload lacks what its
 * type must have. `after` is filled for FOLD_PUT. */
enum status live_fold(const struct live_row *before, enum event_type type,
                      const struct event *event, struct live_row *after, enum fold_change *change);

/* What tenant_created says of its tenant. data_loss (logged) when that is no tenant. */
enum status tenant_fold(const struct event *event, struct tenant_row *row);

#endif
