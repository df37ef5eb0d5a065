#ifndef SOLO_COMMON_BASE_NAME_H
#define SOLO_COMMON_BASE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/span.h"
#include "common/base/status.h"

/* Names of tenants and services. */
#define NAME_PATTERN "[a-z0-9][a-z0-9._-]{0,62}"
/* Those of secrets, which programs often read from variables: DB_PASSWORD. */
#define SECRET_NAME_PATTERN "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
enum { NAME_BYTES_MAX = 63 };

/* "TENANT/NAME" and NUL: the key of a service in every table and the way it is printed. */
enum { SERVICE_KEY_BYTES = 2 * NAME_BYTES_MAX + 2 };

bool name_is_valid(const char *name);
bool secret_name_is_valid(const char *name);
char *service_key(char key[SERVICE_KEY_BYTES], const char *tenant, const char *name);

/* Splits "TENANT/NAME"; invalid_argument when either part is no name. */
enum status service_key_split(const char *key, char tenant[NAME_BYTES_MAX + 1],
                              char name[NAME_BYTES_MAX + 1]);
/* The same for a secret. */
enum status secret_path_split(const char *path, char tenant[NAME_BYTES_MAX + 1],
                              char name[NAME_BYTES_MAX + 1]);

/* UTF-8 as RFC 3629 has it (no surrogates, no overlong forms), without NUL. */
bool utf8_is_valid(struct span text);

/* After a copy that may have been cut: drops what is left of the last character, so that a text
 * that was UTF-8 still is. NULL is fine. */
void text_cut(char *text);

#endif
