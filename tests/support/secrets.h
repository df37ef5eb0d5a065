#ifndef SOLO_TESTS_SUPPORT_SECRETS_H
#define SOLO_TESTS_SUPPORT_SECRETS_H

#include "tests/support/testbed.h"

/* Secrets of a testbed; their values are texts here. */

enum { SECRET_TEXT_BYTES = 512 };

enum status secret_put(const struct testbed *bed, const char *tenant, const char *name,
                       const char *value);
/* Version 0 is the latest. */
enum status secret_read_version(const struct testbed *bed, const char *tenant, const char *name,
                                int version, char value[SECRET_TEXT_BYTES]);

/* Each fails the test when it is not so. */
void expect_secret(const struct testbed *bed, const char *tenant, const char *name,
                   const char *wanted);
void expect_secret_status(const struct testbed *bed, const char *tenant, const char *name,
                          enum status wanted);
/* `reason` is a part of its code, reason or next step; NULL: any. */
void expect_vault_state(const struct testbed *bed, const char *state, const char *reason);
/* Until the log has every event of the vault. */
void vault_await_told(const struct testbed *bed);
/* Health says so, too. */
void expect_vault_damaged_state(const struct testbed *bed, const char *reason);
/* Whoever asks is told of the damage: a client, a person, recovery. */
void expect_vault_damaged(const struct testbed *bed, const char *reason);

#endif
