#ifndef SOLO_COMMON_SPEC_SPEC_FIELDS_H
#define SOLO_COMMON_SPEC_SPEC_FIELDS_H

#include "common/spec/spec.h"
#include "common/spec/spec_values.h"

/* Reads one packed map into `spec`, which holds the defaults; fields that are not in the map are
 * left as they are. Internal to common/spec. */
enum status spec_fields_read(struct spec_values *values, struct reader *reader, struct spec *spec);

const char *restart_policy_name(enum restart_policy policy);
const char *ready_by_name(enum ready_by by);

#endif
