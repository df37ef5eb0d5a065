/* One program, one identity. */
#include "recoveryd/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/access/token_text.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/daemon/lifecycle.h"

static uint8_t run_key[RUN_KEY_BYTES];
static bool has_run_key;
static char token[TOKEN_TEXT_BYTES];

/* A token is a password: a file that others can read is refused before it is read. */
static enum status read_token(const char *path)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat file;
    if (fd < 0 || fstat(fd, &file) < 0)
        return log_failure(STATUS_INVALID_ARGUMENT, "read SOLO_TOKEN_FILE", "path", path, "reason",
                           strerror(errno));
    if ((file.st_mode & 077) != 0)
        return log_failure(STATUS_PERMISSION_DENIED, "read SOLO_TOKEN_FILE", "path", path, "reason",
                           "others can read it", "next", "chmod 600 it");
    ssize_t size = read(fd, token, TOKEN_TEXT_SIZE);
    if (size != TOKEN_TEXT_SIZE || !token_text_is_valid(span_of_text(token)))
        return log_failure(STATUS_INVALID_ARGUMENT, "read SOLO_TOKEN_FILE", "path", path, "reason",
                           "it holds no token");
    return STATUS_OK;
}

enum status identity_load(void)
{
    const char *path = getenv("SOLO_TOKEN_FILE");
    TRY(lifecycle_run_key(run_key, &has_run_key));
    return has_run_key || path == NULL || path[0] == '\0' ? STATUS_OK : read_token(path);
}

bool identity_is_token(void)
{
    return !has_run_key && token[0] != '\0';
}

void identity_set(struct rpc_client_options *options)
{
    if (has_run_key) {
        options->daemon = "recoveryd";
        options->key = span_of(run_key, sizeof run_key);
    } else if (identity_is_token()) {
        options->token = span_of_text(token);
    }
}
