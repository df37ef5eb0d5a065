#ifndef SOLO_RECOVERYD_COUNT_CHECK_H
#define SOLO_RECOVERYD_COUNT_CHECK_H

#include "recoveryd/findings.h"
#include "recoveryd/picture.h"

/* Services per tenant: how many the log wants against how many deployd counts. A tenant of which
 * deployd counts fewer, or does not know, is `count_differs`; and reports_compare. Asks nobody when
 * deployd did not answer for the picture. */
enum status count_check(const struct settings *settings, const struct picture *picture,
                        struct findings *findings);

/* What the log refuses of a supervisor is `reports_stuck`; `tenants` is tenant.list's answer. */
enum status reports_compare(struct span tenants, struct findings *findings);

/* The same with deployd's answer, a packed list as tenant.list gives it. */
enum status count_compare(const struct picture *picture, struct span tenants,
                          struct findings *findings);

#endif
