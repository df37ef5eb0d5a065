/* The table of what keeps the vault from being open. */
#include "common/api/vault_reasons.h"

enum { SEALED, DAMAGED };

static const struct {
    const char *name;
    bool is_damage;
    const char *words, *next;
} reasons[] = {
#define VAULT_REASON(name, state, words, next) { #name, state == DAMAGED, words, next },
#include "common/api/vault_reasons.def"
#undef VAULT_REASON
    { "", false, "", "" },
};

const char *vault_reason_name(enum vault_reason reason)
{
    return reasons[reason].name;
}

bool vault_reason_is_damage(enum vault_reason reason)
{
    return reasons[reason].is_damage;
}

const char *vault_reason_words(enum vault_reason reason)
{
    return reasons[reason].words;
}

const char *vault_reason_next(enum vault_reason reason)
{
    return reasons[reason].next;
}
