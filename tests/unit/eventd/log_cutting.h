#ifndef SOLO_TESTS_UNIT_EVENTD_LOG_CUTTING_H
#define SOLO_TESTS_UNIT_EVENTD_LOG_CUTTING_H

#include <stdint.h>

/* The fixture's log without its oldest events, as when they were archived, though here nobody has
 * them. What must succeed and does not fails the test. */

/* Makes the log begin after `id`; the records lie there still. */
void fixture_cut(uint64_t id);
/* Removes them; returns how many. */
uint64_t fixture_prune(void);

#endif
