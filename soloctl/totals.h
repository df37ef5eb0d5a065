#ifndef SOLO_SOLOCTL_TOTALS_H
#define SOLO_SOLOCTL_TOTALS_H

#include "common/base/name.h"
#include "common/base/problem.h"
#include "common/wire/reader.h"

/* What tenants' services may use together, as deployd tells it, and what several specs would come
 * to. */

/* "services 9 of 10, memory 600 of 900 MiB"; "" when nothing is bounded. `list` as in tenant.list,
 * empty for none. */
enum { TOTALS_TEXT_BYTES = 384 };
enum status totals_text(struct span list, char text[TOTALS_TEXT_BYTES]);

/* The growth that was foreseen, by tenant and total. */
struct foreseen {
    char tenant[NAME_BYTES_MAX + 1], total[32], field[32];
    uint64_t used, allowed, growth;
    bool is_size;
};
struct totals {
    struct foreseen *items;
    size_t count, capacity;
};
void totals_close(struct totals *totals);

/* Adds what service.validate foresaw of one spec. */
enum status totals_add(struct totals *totals, const char *tenant, struct span list);

/* The next one, from *at on, that is more than is allowed, as a refusal; OK when none is left. */
enum status totals_next_exceeded(const struct totals *totals, size_t *at, struct problem *problem);

#endif
