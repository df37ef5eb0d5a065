#ifndef SOLO_COMMON_SPEC_SPEC_SECRETS_H
#define SOLO_COMMON_SPEC_SPEC_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buffer.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/base/status.h"

struct reader;
struct spec_values;

/* A secret of the tenant that each start of the service is given. */
struct spec_secret {
    const char *name;
    uint64_t version; /* 0: the latest */
    bool is_env;      /* in its environment, not as a file */
    bool is_optional; /* it starts without, when there is none */
};

/* Where the folder of those that come as files is named (systemd has the same). */
#define SPEC_SECRETS_VARIABLE "CREDENTIALS_DIRECTORY"

/* The variable for `as: env`: db-password is DB_PASSWORD, as DB_PASSWORD is. */
char *spec_secret_variable(char variable[NAME_BYTES_MAX + 1], const char *name);

/* Reads the list `secrets`: names, or maps; sorted by name, none twice. Internal to common/spec. */
enum status spec_secrets_read(struct spec_values *values, struct reader *reader, const char *place,
                              const struct spec_secret **secrets, size_t *count);
/* Keys sorted, defaults filled in. Internal to common/spec. */
void spec_secrets_write(const struct spec_secret *secrets, size_t count, struct buffer *buffer);

#endif
