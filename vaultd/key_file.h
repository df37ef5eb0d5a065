#ifndef SOLO_VAULTD_KEY_FILE_H
#define SOLO_VAULTD_KEY_FILE_H

#include "common/api/vault_reasons.h"
#include "common/base/limits.h"
#include "common/daemon/settings.h"
#include "common/secret/secret.h"

/* The key-encryption key as a file: 64 hexadecimal digits, and at most a line end. It is, in this
 * order: vault_key_file, the credential solo.vault.key (CREDENTIALS_DIRECTORY), DATA/vault.key. */

struct key_refusal {
    enum vault_reason reason;
    char detail[REASON_BYTES_MAX]; /* which file */
};

/* Reads it into a new secret of KEY_BYTES. failed_precondition: it is missing, others can read it,
 * it does not hold a key; anything else: there is no memory for it. Both stand in `refusal`. */
enum status key_file_read(const struct settings *settings, struct secret *kek,
                          struct key_refusal *refusal);

/* Draws a key into DATA/vault.key (mode 0400, on disk before this returns) when nothing else is
 * configured and there is none. Warns once, then: whoever loses it loses every secret. */
enum status key_file_make_if_absent(const struct settings *settings);

#endif
