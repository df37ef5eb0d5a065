#ifndef SOLO_DEPLOYD_ADMISSION_H
#define SOLO_DEPLOYD_ADMISSION_H

#include "common/spec/spec.h"
#include "deployd/deployd.h"

/* What can be said against a spec before anything is changed. */

/* A spec as it goes into the log. */
struct admitted {
    char tenant[NAME_BYTES_MAX + 1];
    char name[NAME_BYTES_MAX + 1];
    struct hash hash;
    struct buffer canonical; /* owned by the caller: buffer_close */
};

/* Checks the spec that a caller sent, and makes its canonical form. A token's caller deploys for
 * its own tenant only. */
enum status admission_decode(const struct caller *caller, struct span spec,
                             struct admitted *admitted, struct problem *problem);

/* Whether what a canonical spec starts with and in is there, as the service will see it:
 * failed_precondition with the field otherwise (spec_program_check). */
enum status admission_program(struct deployd *deployd, struct span canonical,
                              struct problem *problem);

/* The same for a generation of the log. On failure `code` gets that of plan_code_of_program, or
 * spec_invalid. */
enum { ADMISSION_CODE_BYTES = 40 };
enum status admission_program_of(struct deployd *deployd, uint64_t generation,
                                 char code[ADMISSION_CODE_BYTES], struct problem *problem);

#endif
