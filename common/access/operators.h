#ifndef SOLO_COMMON_ACCESS_OPERATORS_H
#define SOLO_COMMON_ACCESS_OPERATORS_H

#include "common/access/access.h"

/* Who the operators of this machine are, by the settings. `run_key` may be NULL. */
enum status access_open(struct access *access, const struct settings *settings,
                        const uint8_t *run_key);

#endif
