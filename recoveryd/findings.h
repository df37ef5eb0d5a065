#ifndef SOLO_RECOVERYD_FINDINGS_H
#define SOLO_RECOVERYD_FINDINGS_H

#include "common/base/arena.h"
#include "common/base/limits.h"
#include "common/base/status.h"

/* What a comparison found, each with a closed code. */
enum finding_code {
#define FINDING(name, words) FINDING_##name,
#include "common/plan/finding_codes.def"
#undef FINDING
    FINDING_CODES
};
const char *finding_code_name(enum finding_code code);

struct finding {
    enum finding_code code;
    const char *tenant, *name;
    uint64_t generation; /* wanted; 0 for none */
    uint64_t running_generation;
    uint64_t pid;
    uint64_t event; /* that proves it, 0 for none */
    char reason[REASON_BYTES_MAX];
};

struct findings {
    struct finding *items;
    size_t count, capacity;
    struct arena arena; /* of the names */
};

/* Copies the names; an empty reason is replaced by the code's words. */
enum status findings_add(struct findings *findings, const struct finding *finding);
void findings_close(struct findings *findings);

#endif
