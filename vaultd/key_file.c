/* Read straight into guarded memory: no buffer of stdio or of ours ever holds the digits. */
#include "vaultd/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "vaultd/rows.h"

#define CREDENTIAL_NAME "solo.vault.key"
enum { DIGITS = 2 * KEY_BYTES, TEXT_BYTES_MAX = DIGITS + 2 };

static bool is_configured(const struct settings *settings)
{
    return strcmp(settings->vault_key_file, "auto") != 0;
}

/* Where the key is. A credential is protected by whoever passed it. */
static enum status find_path(const struct settings *settings, char path[4096], bool *is_credential)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    *is_credential = false;
    if (is_configured(settings)) {
        snprintf(path, 4096, "%s", settings->vault_key_file);
        return STATUS_OK;
    }
    if (credentials != NULL && credentials[0] == '/') {
        TRY(path_join(path, credentials, CREDENTIAL_NAME));
        *is_credential = access(path, F_OK) == 0;
    }
    return *is_credential ? STATUS_OK : path_join(path, settings->data_dir, "vault.key");
}

static enum status refuse(struct key_refusal *refusal, enum vault_reason reason, const char *detail)
{
    refusal->reason = reason;
    snprintf(refusal->detail, sizeof refusal->detail, "%s", detail);
    return STATUS_FAILED_PRECONDITION;
}

static enum status check_file(int fd, const char *path, bool is_credential,
                              struct key_refusal *refusal)
{
    struct stat file;
    if (fstat(fd, &file) < 0 || !S_ISREG(file.st_mode))
        return refuse(refusal, VAULT_REASON_key_unreadable, path);
    if (!is_credential && (file.st_mode & 077) != 0)
        return refuse(refusal, VAULT_REASON_key_open_to_others, path);
    if (file.st_uid != 0 && file.st_uid != geteuid())
        return refuse(refusal, VAULT_REASON_key_not_ours, path);
    return STATUS_OK;
}

static bool decode(const char *text, size_t size, uint8_t key[KEY_BYTES])
{
    size_t decoded = 0;
    if (size == DIGITS + 1 && text[DIGITS] == '\n')
        size--;
    return size == DIGITS &&
           sodium_hex2bin(key, KEY_BYTES, text, size, NULL, &decoded, NULL) == 0 &&
           decoded == KEY_BYTES;
}

static enum status read_text(int fd, const char *path, struct secret *kek,
                             struct key_refusal *refusal)
{
    AUTO(secret_free) struct secret text = { 0 };
    size_t size = 0;
    ssize_t got = 1;
    TRY(secret_new(&text, TEXT_BYTES_MAX));
    TRY(secret_new(kek, KEY_BYTES));
    char *bytes = secret_open(&text);
    while (got != 0 && size < TEXT_BYTES_MAX) {
        got = read(fd, bytes + size, TEXT_BYTES_MAX - size);
        if (got > 0)
            size += (size_t)got;
        else if (got < 0 && errno != EINTR)
            break;
    }
    if (got < 0) { /* the file may be as good as ever */
        log_failure(status_from_errno(errno), "read the key file", "path", path, "reason",
                    strerror(errno));
        secret_free(kek);
        return refuse(refusal, VAULT_REASON_key_unreadable, path);
    }
    bool is_good = decode(bytes, size, secret_open(kek));
    secret_close(&text);
    secret_close(kek);
    if (is_good)
        return STATUS_OK;
    secret_free(kek);
    return refuse(refusal, VAULT_REASON_key_malformed, path);
}

enum status key_file_read(const struct settings *settings, struct secret *kek,
                          struct key_refusal *refusal)
{
    char path[4096];
    bool is_credential;
    *refusal = (struct key_refusal){ .reason = VAULT_REASON_memory_not_locked };
    TRY(find_path(settings, path, &is_credential));
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return refuse(refusal,
                      errno == ENOENT ? VAULT_REASON_key_missing : VAULT_REASON_key_unreadable,
                      path);
    TRY(check_file(fd, path, is_credential, refusal));
    return read_text(fd, path, kek, refusal);
}

static enum status write_key(const char *path)
{
    AUTO(secret_free) struct secret text = { 0 };
    uint8_t key[KEY_BYTES];
    TRY(secret_new(&text, DIGITS + 1));
    char *digits = secret_open(&text);
    random_fill(key, sizeof key);
    sodium_bin2hex(digits, DIGITS + 1, key, sizeof key);
    sodium_memzero(key, sizeof key);
    digits[DIGITS] = '\n';
    enum status status = file_write_durably(path, span_of(digits, DIGITS + 1), 0400);
    secret_close(&text);
    return status;
}

enum status key_file_make_if_absent(const struct settings *settings)
{
    char path[4096];
    bool is_credential;
    TRY(find_path(settings, path, &is_credential));
    if (is_configured(settings) || is_credential || access(path, F_OK) == 0)
        return STATUS_OK;
    TRY(write_key(path));
    log_warning(
        "a key file was made for the vault: without it no secret can ever be read again, and "
        "who has it and the store reads all of them",
        "path", path, "next",
        "copy it to a safe place, and move it away from DATA (vault_key_file, or the systemd "
        "credential solo.vault.key)");
    return STATUS_OK;
}
