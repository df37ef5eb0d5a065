#ifndef SOLO_COMMON_SPEC_SPEC_LIMITS_H
#define SOLO_COMMON_SPEC_SPEC_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/base/status.h"

struct reader;
struct spec_values;

/* What a service may use; 0: as much as there is. */
struct spec_limits {
    uint64_t memory_bytes;
    uint64_t tasks;     /* processes and threads */
    uint64_t files;     /* open in one process */
    uint64_t cpu_milli; /* thousandths of a processor */
};

/* Reads the map `limits`. Internal to common/spec. */
enum status spec_limits_read(struct spec_values *values, struct reader *reader, const char *place,
                             struct spec_limits *limits);

bool spec_limits_are_given(const struct spec_limits *limits);
/* Those that are given, keys sorted. Internal to common/spec. */
void spec_limits_write(const struct spec_limits *limits, struct buffer *buffer);

#endif
