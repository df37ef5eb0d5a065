#ifndef SOLO_SOLOCTL_UNITS_H
#define SOLO_SOLOCTL_UNITS_H

#include "soloctl/session.h"

/* The daemons as units of systemd, where that is their parent: asked and restarted with systemctl.
 */
enum { UNITS_MAX = 8 };

struct unit {
    char name[16];  /* "eventd" */
    char state[33]; /* as solod would say it: starting, ready, stopping, stopped, backoff, failed */
    uint64_t pid, restarts, ready_ns;
    int64_t exit_code; /* of the last process; -1: none has ended */
};

struct units {
    struct unit items[UNITS_MAX];
    size_t count;
};

/* Whether the daemons of this Solo are units: systemd runs, and nobody else is their parent. */
bool units_are_used(const struct session *session);

/* What systemctl says of them; none when it cannot be asked. */
void units_load(struct units *units);
/* The same from the output of `systemctl show`. */
void units_parse(struct units *units, char *text);

/* Answers when the daemon is ready again. not_found for what is no daemon. */
enum status unit_restart(const char *name, struct unit *unit, struct problem *problem);

#endif
