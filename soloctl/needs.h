#ifndef SOLO_SOLOCTL_NEEDS_H
#define SOLO_SOLOCTL_NEEDS_H

#include "soloctl/picture.h"

/* Everything that a person has to do, the most urgent first: what is wrong, and the next command.
 * What passes by itself, like a start, is none of it. */
enum { NEEDS_MAX = 32, NEED_BYTES = 512 };

struct needs {
    char texts[NEEDS_MAX][NEED_BYTES];
    size_t count;
};

void needs_find(const struct picture *picture, struct needs *needs);

#endif
