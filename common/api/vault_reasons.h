#ifndef SOLO_COMMON_API_VAULT_REASONS_H
#define SOLO_COMMON_API_VAULT_REASONS_H

#include <stdbool.h>

/* Why the vault is not open. VAULT_REASONS: it is. */
enum vault_reason {
#define VAULT_REASON(name, state, words, next) VAULT_REASON_##name,
#include "common/api/vault_reasons.def"
#undef VAULT_REASON
    VAULT_REASONS
};

/* Of VAULT_REASONS: "", and no damage. */
const char *vault_reason_name(enum vault_reason reason);
bool vault_reason_is_damage(enum vault_reason reason);
const char *vault_reason_words(enum vault_reason reason);
const char *vault_reason_next(enum vault_reason reason);

#endif
