#ifndef SOLO_TESTS_FAULTS_EVENT_LIFE_H
#define SOLO_TESTS_FAULTS_EVENT_LIFE_H

#include "tests/faults/random.h"
#include "tests/unit/eventd/log_fixture.h"

/* A random history of an event store in this process (the fixture's `store`), and the ledger of
 * what it must then hold: kept here, not read from the store. */

enum { LIFE_EVENTS_MAX = 1536, LIFE_SERVICES = 3 };

struct event_life {
    struct random random;
    uint64_t seed;
    struct hash payloads[LIFE_EVENTS_MAX + 1];           /* by event */
    uint64_t wanted[LIFE_EVENTS_MAX + 1][LIFE_SERVICES]; /* generations after it; 0: not wanted */
    uint64_t last;
};

/* With a seed that is printed; SOLO_SEED repeats one. */
void event_life_begin(struct event_life *life);
/* Forgets what was noted; chance goes on. */
void event_life_clear(struct event_life *life);

/* At most `events_max` events into the turn that is open: deploys, kills, notes. Fewer, or none,
 * when the disk is full. */
void event_life_append(struct event_life *life, uint64_t events_max);

/* Whether the store in `dir` opens, has every event to `committed`, none that was never appended,
 * each as it was appended, and wants what they say. Says on standard error what is not so. */
bool event_life_is_in(const struct event_life *life, const char *dir, uint64_t committed);
void event_life_told(const struct event_life *life, const char *what, uint64_t number);

#endif
