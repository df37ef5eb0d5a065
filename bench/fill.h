#ifndef SOLO_BENCH_FILL_H
#define SOLO_BENCH_FILL_H

#include "tests/support/services.h"

/* A Solo to be measured, from its start on, and filled: many events, many services. */

/* [ROUNDS [SERVICES [TENANTS]]], 5, 1000 and 50 by default. False when they make no sense. */
struct bench_size {
    int rounds;
    size_t services, tenants;
};
bool bench_size_read(int argc, char **argv, struct bench_size *size);

/* A testbed whose starts and stops have time for many services, and its start: from exec until Solo
 * is ready, in seconds. */
void bench_open(struct testbed *bed);
double bench_start_seconds(struct testbed *bed);

/* `count` app.bench events of BENCH_PAYLOAD_BYTES by event.append_batch; returns how long it took.
 */
double fill_events(const struct testbed *bed, size_t count);

/* `count` sleepers of `tenants` tenants ("t0".. and "s0"..), each given `secrets` of its tenant's,
 * many deploys on the way; seconds. */
double fill_services(const struct testbed *bed, size_t count, size_t tenants, size_t secrets);

/* Whether as many sleepers of this testbed run. */
size_t fill_running(const struct testbed *bed);

#endif
