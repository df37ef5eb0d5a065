#ifndef SOLO_SOLOCTL_PROGRAMS_H
#define SOLO_SOLOCTL_PROGRAMS_H

#include "soloctl/item.h"
#include "soloctl/questions.h"

/* The programs of this Solo that run, asked of whoever answers: solod names itself and what it
 * started, deployd the supervisors. Without solod systemd is asked (units.h), and the daemons
 * speak for themselves. */
enum {
    PROGRAMS_DAEMONS_MAX = 16,
    PROGRAMS_MAX = PROGRAMS_DAEMONS_MAX + TENANTS_MAX,
    PROGRAMS_ASKED = 4, /* those that are asked how they are */
    PROGRAMS_QUESTIONS = 2 + 2 * PROGRAMS_ASKED,
};

struct program {
    char name[16];
    char tenant[NAME_BYTES_MAX + 1]; /* of a supervisor */
    char state[33], reason[257]; /* why it is not ready, or what a person must do all the same */
    uint64_t pid, restarts, ready_ns;
};

/* What a daemon says of itself; empty when it does not. */
struct itself {
    uint64_t pid;
    char state[33], reason[257];
};

struct programs {
    struct program items[PROGRAMS_MAX];
    size_t count;
    size_t supervisor_count; /* which wait behind PROGRAMS_DAEMONS_MAX until they are joined */
    struct itself themselves[PROGRAMS_ASKED];
    const struct question *questions;
    bool asks_supervisors;       /* by the last of the questions */
    bool has_solod;              /* solod answered */
    bool has_units;              /* systemd is the parent instead, and was asked */
    char state[33], reason[257]; /* solod's own, "" without it */
    int64_t recovery_exit_code;  /* -1: none ended */
    uint8_t verification[256];   /* the last one, a packed map; empty without one */
    size_t verification_bytes;
};

/* What to ask for them, to be asked together with other things, and what follows from the answers.
 * Nothing here fails: supervisors of whom deployd does not tell are found by their locks
 * (`unknown`), a daemon that does not answer is `silent`. `with_supervisors` needs the rights of an
 * operator or the permission to read. The questions must stay until they are joined.
 */
size_t programs_ask(struct programs *programs, bool with_supervisors,
                    struct question questions[PROGRAMS_QUESTIONS]);
void programs_join(struct programs *programs, const struct session *session);

/* All of it. */
void programs_load(struct programs *programs, struct session *session, bool with_supervisors,
                   uint64_t timeout_ms);
/* NULL when it is not listed. */
struct program *programs_find(struct programs *programs, const char *name);
void program_item(const struct program *program, struct item *item);

#endif
