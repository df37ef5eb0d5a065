#ifndef SOLO_COMMON_ACCESS_TOKEN_USES_H
#define SOLO_COMMON_ACCESS_TOKEN_USES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"

/* What tokens did in this process since the last report, by accessor: in memory only, so that a use
 * costs no write. Bounded: when more accessors are seen between two reports, the further ones are
 * not counted. Starts zeroed. */
enum { TOKEN_USES_SLOTS = 2 * TOKEN_USES_MAX };

struct token_use_count {
    char accessor[TOKEN_ACCESSOR_BYTES_MAX + 1]; /* "" for a free slot */
    uint64_t minute;                             /* of the last use that was allowed; 0: none was */
    uint64_t denied;
    const char *method; /* that was refused last; a constant */
};

struct token_uses {
    struct token_use_count slots[TOKEN_USES_SLOTS];
    struct token_use_count unknown; /* refusals of what names no accessor: no token that is known */
    size_t count;                   /* of the slots in use */
    uint8_t key[16];                /* of the hash: who grants tokens must not choose the slots */
};

/* An accessor that is no accessor is passed over; refusals of "" are counted together. */
void token_uses_note(struct token_uses *uses, const char *accessor);
void token_uses_note_denial(struct token_uses *uses, const char *accessor, const char *method);

/* One after the other, that of no known token last; begin with *at = 0. NULL after the last. */
const struct token_use_count *token_uses_next(const struct token_uses *uses, size_t *at);
void token_uses_reset(struct token_uses *uses);

#endif
