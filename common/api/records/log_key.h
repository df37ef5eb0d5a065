#ifndef SOLO_COMMON_API_RECORDS_LOG_KEY_H
#define SOLO_COMMON_API_RECORDS_LOG_KEY_H

#include "common/base/status.h"

#include <sodium.h>

/* What checkpoints of the log are signed with (Ed25519). The private half, DATA/events.key, 64
 * hexadecimal digits and mode 0400, is made when it is first needed and read only to sign; it is in
 * no backup and proves nothing about older checkpoints when it is lost: then another one is made.
 * The public half, DATA/events.pub, is what an operator keeps elsewhere. */
#define LOG_KEY_FILE    "events.key"
#define LOG_PUBLIC_FILE "events.pub"
enum {
    LOG_PUBLIC_BYTES = crypto_sign_PUBLICKEYBYTES,
    LOG_SECRET_BYTES = crypto_sign_SECRETKEYBYTES
};

/* For the signer: makes both files when there are none. The caller wipes `secret`. */
enum status log_key_open(const char *data_dir, uint8_t public_key[LOG_PUBLIC_BYTES],
                         uint8_t secret[LOG_SECRET_BYTES]);
/* not_found (not logged): no checkpoint was ever signed here. */
enum status log_key_read_public(const char *data_dir, uint8_t public_key[LOG_PUBLIC_BYTES]);

#endif
