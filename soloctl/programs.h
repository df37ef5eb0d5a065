#ifndef SOLO_SOLOCTL_PROGRAMS_H
#define SOLO_SOLOCTL_PROGRAMS_H

#include "soloctl/item.h"
#include "soloctl/session.h"

/* The programs of this Solo that run, asked of whoever answers: solod names itself and what it
 * started, deployd the supervisors. Without solod systemd is asked (units.h), and the daemons
 * speak for themselves. */
enum { PROGRAMS_MAX = 16 + TENANTS_MAX };

struct program {
    char name[16];
    char tenant[NAME_BYTES_MAX + 1]; /* of a supervisor */
    char state[33], reason[257]; /* why it is not ready, or what a person must do all the same */
    uint64_t pid, restarts, ready_ns;
};

struct programs {
    struct program items[PROGRAMS_MAX];
    size_t count;
    bool has_solod;              /* solod answered */
    bool has_units;              /* systemd is the parent instead, and was asked */
    char state[33], reason[257]; /* solod's own, "" without it */
    int64_t recovery_exit_code;  /* -1: none ended */
    uint8_t verification[256];   /* the last one, a packed map; empty without one */
    size_t verification_bytes;
};

/* Never fails: what does not answer within `timeout_ms` is not listed. `with_supervisors` needs the
 * rights of an operator or the permission to read. */
void programs_load(struct programs *programs, struct session *session, bool with_supervisors,
                   uint64_t timeout_ms);
void program_item(const struct program *program, struct item *item);

#endif
