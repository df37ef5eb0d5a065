#ifndef SOLO_TESTS_SUPPORT_SECRET_FILL_H
#define SOLO_TESTS_SUPPORT_SECRET_FILL_H

#include "tests/support/testbed.h"

/* Puts `count` secrets of 64 B over one connection, as many on the way as fit into one turn:
 * t0/s0, t1/s0, ... t0/s1, ... The value of each is SECRET_FILL_VALUE, then zeros. */
#define SECRET_FILL_VALUE "a value of sixty-four bytes"
enum { SECRET_FILL_BYTES = 64 };
void secret_fill(const struct testbed *bed, uint64_t tenants, uint64_t count);

#endif
