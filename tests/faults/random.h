#ifndef SOLO_TESTS_FAULTS_RANDOM_H
#define SOLO_TESTS_FAULTS_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Choices that can be repeated: splitmix64 from a seed. One per thread. */
struct random {
    uint64_t state;
};

uint64_t random_next(struct random *random);
/* 0 to below - 1. */
uint64_t random_below(struct random *random, uint64_t below);

/* How long a campaign is: `usual`, or with SOLO_LONG `when_long`, of which SOLO_SHARE (from 0 to 1)
 * takes a part, another one with each seed. */
bool campaign_is_long(void);
size_t campaign_count(size_t usual, size_t when_long);
/* Of a long campaign that tries each case in its turn: whether this one is in the share. */
bool campaign_takes(struct random *random);

/* SOLO_SEED, or one from the kernel; printed by whoever uses it. */
uint64_t random_seed(void);

#endif
