#ifndef SOLO_RECOVERYD_REPORT_H
#define SOLO_RECOVERYD_REPORT_H

#include "recoveryd/findings.h"
#include "recoveryd/picture.h"
#include "recoveryd/vault_check.h"

/* What came of one action. */
enum result {
    RESULT_NONE, /* nothing was to be done */
    RESULT_RECOVERED,
    RESULT_STOPPED,
    RESULT_SKIPPED,
    RESULT_FAILED,
    RESULTS
};
const char *result_name(enum result result); /* "recovered"; "" for none */
enum result result_parse(const char *name);  /* RESULTS for a word that is none */

struct outcome {
    enum result result;
    char code[33];
    char reason[REASON_BYTES_MAX];
    uint64_t took_ms;
    uint64_t pid;
};

/* A plan, or what came of it: one shape. */
struct report {
    const struct picture *picture;
    const struct vault_view *vault; /* NULL: nobody asked */
    const struct outcome *outcomes; /* one per entry of the plan; NULL for a dry run */
    uint64_t of[RESULTS];
    bool is_cut; /* time ran out */
    uint64_t took_ms;
    bool is_verified;
    uint64_t checked; /* by the verification */
    const struct findings *findings;
};

/* The findings of `recoveryd verify`. */
struct verification {
    const struct picture *picture;
    const struct findings *findings;
    uint64_t checked;
    bool is_full;
    bool is_log_damaged; /* the picture is empty: nothing was compared */
    uint64_t folded;     /* events, with is_full */
    const struct vault_view *vault;
    const struct findings
        *fixed; /* found before a repair, and not after it; NULL: none was asked for */
    uint64_t took_ms;
};

#endif
