/* The one door to the test framework: newer Debian ships a nanomsg with which Criterion aborts, and
 * a replacement is made here once, not in every test. */
#ifndef SOLO_TESTS_SUPPORT_CRITERION_H
#define SOLO_TESTS_SUPPORT_CRITERION_H

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#endif
