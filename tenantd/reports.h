#ifndef SOLO_TENANTD_REPORTS_H
#define SOLO_TENANTD_REPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/span.h"
#include "common/base/status.h"

/* What happened to our services, for the log: numbered from 1 without gaps and kept until the event
 * log's acknowledgement came back. A number that was given is never taken back, because eventd
 * knows us as a source by these numbers.
 *
 * So a full queue refuses what is new: transitions that change nothing that is wanted are then
 * counted and forgotten, and the payload of the next report that is taken says how many
 * (`reports_missed`). Completions have places of their own, as many as a tenant can have services.
 */
enum { REPORTS_PLACES_ORDINARY = REPORTS_UNACKNOWLEDGED_MAX - SERVICES_PER_TENANT_MAX };
_Static_assert(REPORTS_PLACES_ORDINARY >= 1024, "ordinary reports need places too");

struct report {
    struct report *next;
    uint64_t number;
    size_t size;
    uint8_t packed[]; /* the map of a supervisor.report notification */
};

struct reports {
    struct report *first, *last;
    size_t count;
    uint64_t next_number; /* zeroed: 1 comes first */
    uint64_t missed;      /* not taken since the last one that was */
};

struct report_content {
    const char *type; /* of event_types.def */
    const char *name;
    uint64_t generation, since, causation_id;
    struct span payload; /* one packed map */
    bool is_folding;     /* it changes what is wanted */
};

void reports_close(struct reports *reports);
/* Whether any report would be taken: that of a start is an ordinary one. */
bool reports_have_room(const struct reports *reports);
/* Its number, 0 when it was not taken. */
uint64_t reports_add(struct reports *reports, const struct report_content *content);
/* Whether the report with this number was taken and is not acknowledged. */
bool reports_is_kept(const struct reports *reports, uint64_t number);
/* Forgets all up to and with `number`; invalid_argument for a number that was never given. */
enum status reports_acknowledge(struct reports *reports, uint64_t number);

#endif
