#ifndef SOLO_VAULTD_KEY_FILE_H
#define SOLO_VAULTD_KEY_FILE_H

#include "common/base/problem.h"
#include "common/daemon/settings.h"
#include "common/secret/secret.h"

/* The key-encryption key as a file: 64 hexadecimal digits, and at most a line end. It is, in this
 * order: vault_key_file, the credential solo.vault.key (CREDENTIALS_DIRECTORY), DATA/vault.key. */

/* Reads it into a new secret of KEY_BYTES. failed_precondition, with what to do in `problem`: it is
 * missing, others can read it, it does not hold a key. */
enum status key_file_read(const struct settings *settings, struct secret *kek,
                          struct problem *problem);

/* Draws a key into DATA/vault.key (mode 0400, on disk before this returns) when nothing else is
 * configured and there is none. Warns once, then: whoever loses it loses every secret. */
enum status key_file_make_if_absent(const struct settings *settings);

#endif
