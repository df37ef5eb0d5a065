/* splitmix64 (public domain algorithm by Sebastiano Vigna). */
#include "tests/faults/random.h"

#include <stdlib.h>

#include "common/base/hash.h"

enum { SEED = 20261122 };

uint64_t random_next(struct random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t random_below(struct random *random, uint64_t below)
{
    return random_next(random) % below;
}

uint64_t random_seed(void)
{
    const char *text = getenv("SOLO_SEED");
    uint64_t seed;
    if (text != NULL)
        return strtoull(text, NULL, 10);
    if (getenv("SOLO_LONG") == NULL)
        return SEED;
    random_fill(&seed, sizeof seed);
    return seed % 1000000000;
}

static double share(void)
{
    const char *text = getenv("SOLO_SHARE");
    double part = text == NULL ? 1. : strtod(text, NULL);
    return part > 0. && part < 1. ? part : 1.;
}

bool campaign_is_long(void)
{
    return getenv("SOLO_LONG") != NULL;
}

size_t campaign_count(size_t usual, size_t when_long)
{
    size_t count = (size_t)((double)when_long * share());
    return campaign_is_long() && count > usual ? count : usual;
}

bool campaign_takes(struct random *random)
{
    enum { PARTS = 1 << 20 };
    return share() == 1. || (double)random_below(random, PARTS) < PARTS * share();
}
