#ifndef SOLO_TESTS_SUPPORT_BUILD_H
#define SOLO_TESTS_SUPPORT_BUILD_H

#include "tests/support/testbed.h"

/* Whether the programs that are tested were built with SOLO_FAULTS: they can be killed at named
 * points, and told lower bounds, another clock, a disk that fails. The programs, not the tests:
 * SOLO_BIN_DIR may name others. */
bool build_has_faults(const struct testbed *bed);

#endif
