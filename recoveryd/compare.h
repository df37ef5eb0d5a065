#ifndef SOLO_RECOVERYD_COMPARE_H
#define SOLO_RECOVERYD_COMPARE_H

#include "recoveryd/findings.h"
#include "recoveryd/picture.h"

/* Wanted against actual against /proc. A state may pass while it is read: what is found is looked
 * at again after a moment, and only what stands then counts. What `is_known` (may be NULL) says of
 * a finding is told elsewhere and left out. `checked` is the number of services compared. */
enum status
compare_wanted_with_actual(const struct settings *settings,
                           bool (*is_known)(const void *context, const struct finding *finding),
                           const void *context, struct findings *findings, uint64_t *checked);

/* The same for one picture, without a second look: pure but for /proc. */
enum status compare_picture(const struct picture *picture, struct findings *findings);

#endif
