#ifndef SOLO_TENANTD_KILLS_H
#define SOLO_TENANTD_KILLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/name.h"

/* The newest kills: a start that was sent before one of them but arrives after it (over the
 * connection of a deployd that has died, say) must not bring the service back. A service that is
 * held is fenced by its own `since`; this is for those that are not held any more. */
struct kills {
    struct kill {
        char name[NAME_BYTES_MAX + 1];
        uint64_t event; /* what the stop named as its since */
    } kept[KILLS_KEPT];
    size_t next;
};

void kills_note(struct kills *kills, const char *name, uint64_t event);
/* Whether something later than `since` killed this service. */
bool kills_forbid(const struct kills *kills, const char *name, uint64_t since);

#endif
