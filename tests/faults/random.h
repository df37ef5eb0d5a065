#ifndef SOLO_TESTS_FAULTS_RANDOM_H
#define SOLO_TESTS_FAULTS_RANDOM_H

#include <stdint.h>

/* Choices that can be repeated: splitmix64 from a seed. One per thread. */
struct random {
    uint64_t state;
};

uint64_t random_next(struct random *random);
/* 0 to below - 1. */
uint64_t random_below(struct random *random, uint64_t below);

/* SOLO_SEED, or one from the kernel; printed by whoever uses it. */
uint64_t random_seed(void);

#endif
