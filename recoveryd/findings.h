#ifndef SOLO_RECOVERYD_FINDINGS_H
#define SOLO_RECOVERYD_FINDINGS_H

#include "common/base/arena.h"
#include "common/base/limits.h"
#include "common/base/process_identity.h"
#include "common/base/status.h"

/* What a comparison found, each with a closed code. */
enum finding_code {
#define FINDING(name, fix, words, next) FINDING_##name,
#include "common/plan/finding_codes.def"
#undef FINDING
    FINDING_CODES
};
const char *finding_code_name(enum finding_code code);
const char *finding_code_next(enum finding_code code); /* what a person does about it */

/* What `verify --fix` does about it. */
enum finding_fix { FIX_PLAN, FIX_FOLD, FIX_END, FIX_ORPHAN, FIX_PERSON, FIX_DAMAGE };

struct finding {
    enum finding_code code;
    const char *tenant, *name; /* without a tenant: the name of a store, a table, a registry */
    uint64_t generation;       /* wanted; 0 for none */
    uint64_t running_generation;
    uint64_t pid;
    uint64_t event;                    /* that proves it, 0 for none */
    uint64_t start_ticks;              /* of the pid, of a duplicate or an orphan */
    char instance[PROCESS_MARK_BYTES]; /* its mark; "" for others */
    bool is_for_person; /* whatever its code says: what is due is known not to succeed */
    uint64_t found_id;  /* its inconsistency_found, once it was recorded */
    char reason[REASON_BYTES_MAX];
};

enum finding_fix finding_fix(const struct finding *finding);

struct findings {
    struct finding *items;
    size_t count, capacity;
    struct arena arena; /* of the names */
};

/* Copies the names; an empty reason is replaced by the code's words. */
enum status findings_add(struct findings *findings, const struct finding *finding);
enum status findings_add_all(struct findings *findings, const struct findings *more);
/* Whether there is one of the same code about the same thing. */
bool findings_have(const struct findings *findings, const struct finding *finding);
/* Whether there is one of the same code about the same service, whatever its numbers. */
bool findings_have_still(const struct findings *findings, const struct finding *finding);
/* Whether one of them is left to this. */
bool findings_need(const struct findings *findings, enum finding_fix fix);
void findings_close(struct findings *findings);

#endif
