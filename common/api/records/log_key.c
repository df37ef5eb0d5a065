/* The private file holds the seed, from which both halves follow: so the public file can be made
 * again, and is when it does not match. */
#include "common/api/records/log_key.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"

enum { SEED_BYTES = crypto_sign_SEEDBYTES, DIGITS = 2 * SEED_BYTES, TEXT_BYTES = DIGITS + 1 };
_Static_assert((int)LOG_PUBLIC_BYTES == (int)SEED_BYTES, "both files have the same form");

static void wipe(struct buffer *buffer)
{
    if (buffer->data != NULL)
        sodium_memzero(buffer->data, buffer->capacity);
    buffer_close(buffer);
}

/* not_found is not logged. */
static enum status read_digits(const char *path, uint8_t bytes[SEED_BYTES])
{
    AUTO(wipe) struct buffer text = { .limit = TEXT_BYTES + 1 };
    char digits[DIGITS + 1] = "";
    TRY(file_read(path, &text));
    if (text.size >= DIGITS)
        memcpy(digits, text.data, DIGITS);
    bool is_whole = text.size == DIGITS || (text.size == TEXT_BYTES && text.data[DIGITS] == '\n');
    bool is_good = is_whole && hex_parse(digits, bytes, SEED_BYTES);
    sodium_memzero(digits, sizeof digits);
    return is_good ? STATUS_OK
                   : log_failure(STATUS_DATA_LOSS, "read a key of the log", "path", path, "reason",
                                 "must hold 64 hexadecimal digits and nothing else", "next",
                                 "put it back from its copy, or move it away to have another made");
}

static enum status write_digits(const char *path, const uint8_t bytes[SEED_BYTES], mode_t mode)
{
    char text[TEXT_BYTES + 1];
    sodium_bin2hex(text, sizeof text, bytes, SEED_BYTES);
    text[DIGITS] = '\n';
    enum status status = file_write_durably(path, span_of(text, TEXT_BYTES), mode);
    sodium_memzero(text, sizeof text);
    return status;
}

/* Who may write the file may sign, and who may read it as well. */
static enum status check_mode(const char *path)
{
    struct stat file;
    if (lstat(path, &file) < 0)
        return errno == ENOENT ? STATUS_NOT_FOUND
                               : log_failure(status_from_errno(errno), "read a key of the log",
                                             "path", path, "reason", strerror(errno));
    return S_ISREG(file.st_mode) && (file.st_mode & 077) == 0
               ? STATUS_OK
               : log_failure(STATUS_FAILED_PRECONDITION, "read a key of the log", "path", path,
                             "reason", "others may read it: it is no secret any more", "next",
                             "move it away to have another made");
}

static enum status read_or_make(const char *path, uint8_t seed[SEED_BYTES])
{
    enum status status = check_mode(path);
    if (status == STATUS_OK)
        return read_digits(path, seed);
    if (status != STATUS_NOT_FOUND)
        return status;
    random_fill(seed, SEED_BYTES);
    TRY(write_digits(path, seed, 0400));
    log_warning("a key was made that signs checkpoints of the log", "path", path, "next",
                "keep a copy of its public half, " LOG_PUBLIC_FILE
                ", elsewhere: by it archives are verified");
    return STATUS_OK;
}

enum status log_key_open(const char *data_dir, uint8_t public_key[LOG_PUBLIC_BYTES],
                         uint8_t secret[LOG_SECRET_BYTES])
{
    char path[4096], public_path[4096];
    uint8_t seed[SEED_BYTES], found[LOG_PUBLIC_BYTES];
    ensure(sodium_init() >= 0);
    TRY(path_join(path, data_dir, LOG_KEY_FILE));
    TRY(path_join(public_path, data_dir, LOG_PUBLIC_FILE));
    enum status status = read_or_make(path, seed);
    if (status == STATUS_OK)
        crypto_sign_seed_keypair(public_key, secret, seed);
    sodium_memzero(seed, sizeof seed);
    TRY(status);
    status = log_key_read_public(data_dir, found);
    if (status == STATUS_OK && memcmp(found, public_key, sizeof found) == 0)
        return STATUS_OK;
    return write_digits(public_path, public_key, 0444);
}

enum status log_key_read_public(const char *data_dir, uint8_t public_key[LOG_PUBLIC_BYTES])
{
    char path[4096];
    TRY(path_join(path, data_dir, LOG_PUBLIC_FILE));
    return read_digits(path, public_key);
}
