#ifndef SOLO_BENCH_FILL_H
#define SOLO_BENCH_FILL_H

#include "tests/support/services.h"

/* Filling a Solo that runs: many events, many services. */

/* `count` app.bench events of BENCH_PAYLOAD_BYTES by event.append_batch; returns how long it took.
 */
double fill_events(const struct testbed *bed, size_t count);

/* `count` sleepers of `tenants` tenants ("t0".. and "s0"..), each given `secrets` of its tenant's,
 * many deploys on the way; seconds. */
double fill_services(const struct testbed *bed, size_t count, size_t tenants, size_t secrets);

/* Whether as many sleepers of this testbed run. */
size_t fill_running(const struct testbed *bed);

#endif
