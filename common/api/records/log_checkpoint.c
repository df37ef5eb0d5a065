/* Read strictly: what is read is packed again, and must be the same bytes. */
#include "common/api/records/log_checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/log.h"

static const char title[] = "solo-checkpoint 1\n", signature_name[] = "signature ";

/* The lines, in their order. Numbers are decimal, everything else hexadecimal. */
static const struct {
    const char *name;
    size_t offset;
    size_t bytes; /* 0: a number */
} lines[] = {
#define BYTES(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct log_checkpoint, name), sizeof((struct log_checkpoint *)0)->name     \
    }
#define COUNT(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct log_checkpoint, name), 0                                            \
    }
    BYTES(store),   BYTES(incarnation), BYTES(branch),    COUNT(first), COUNT(last),
    BYTES(before),  BYTES(hash),        COUNT(wall_ns),   BYTES(state), COUNT(bytes),
    BYTES(archive), BYTES(previous),    COUNT(signed_ns), BYTES(key),
#undef BYTES
#undef COUNT
};
enum { LINE_VALUE_BYTES_MAX = 32, SIGNATURE_BYTES = crypto_sign_BYTES };

static void pack(const struct log_checkpoint *checkpoint, struct buffer *text)
{
    buffer_append_text(text, title);
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        const uint8_t *member = (const uint8_t *)checkpoint + lines[i].offset;
        char value[2 * LINE_VALUE_BYTES_MAX + 1];
        uint64_t number;
        ensure(lines[i].bytes <= LINE_VALUE_BYTES_MAX);
        memcpy(&number, member, sizeof number);
        if (lines[i].bytes == 0)
            snprintf(value, sizeof value, "%" PRIu64, number);
        else
            hex_text(value, member, lines[i].bytes);
        buffer_append_format(text, "%s %s\n", lines[i].name, value);
    }
}

enum status log_checkpoint_sign(struct log_checkpoint *checkpoint,
                                const uint8_t public_key[LOG_PUBLIC_BYTES],
                                const uint8_t secret[LOG_SECRET_BYTES], struct buffer *text)
{
    uint8_t signature[SIGNATURE_BYTES];
    char digits[2 * SIGNATURE_BYTES + 1];
    memcpy(checkpoint->key, public_key, LOG_PUBLIC_BYTES);
    buffer_clear(text);
    pack(checkpoint, text);
    crypto_sign_detached(signature, NULL, text->data, text->size, secret);
    buffer_append_format(text, "%s%s\n", signature_name,
                         hex_text(digits, signature, sizeof signature));
    return text->is_exhausted ? log_failure(STATUS_RESOURCE_EXHAUSTED, "sign a checkpoint")
                              : STATUS_OK;
}

static enum status refuse(const char *name, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "read a checkpoint of the log", "name", name, "reason",
                       reason);
}

static bool take_line(const char *line, size_t index, struct log_checkpoint *checkpoint)
{
    uint8_t *member = (uint8_t *)checkpoint + lines[index].offset;
    size_t name_bytes = strlen(lines[index].name);
    if (strncmp(line, lines[index].name, name_bytes) != 0 || line[name_bytes] != ' ')
        return false;
    const char *value = line + name_bytes + 1;
    if (lines[index].bytes != 0)
        return hex_parse(value, member, lines[index].bytes);
    uint64_t number = strtoull(value, NULL, 10); /* compared as text afterwards */
    memcpy(member, &number, sizeof number);
    return true;
}

/* Cuts the text, which is ended by NUL, into lines. False when it has others than it should. */
static bool take_lines(char *text, struct log_checkpoint *checkpoint,
                       uint8_t signature[SIGNATURE_BYTES])
{
    char *rest = NULL, *line = strtok_r(text, "\n", &rest);
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        line = strtok_r(NULL, "\n", &rest);
        if (line == NULL || !take_line(line, i, checkpoint))
            return false;
    }
    line = strtok_r(NULL, "\n", &rest);
    return line != NULL && strncmp(line, signature_name, sizeof signature_name - 1) == 0 &&
           hex_parse(line + sizeof signature_name - 1, signature, SIGNATURE_BYTES);
}

enum status log_checkpoint_read(struct span text, const char *name,
                                struct log_checkpoint *checkpoint)
{
    AUTO(buffer_close) struct buffer again = { .limit = LOG_CHECKPOINT_BYTES_MAX };
    struct log_checkpoint found = { 0 };
    char copy[LOG_CHECKPOINT_BYTES_MAX + 1], digits[2 * SIGNATURE_BYTES + 1];
    uint8_t signature[SIGNATURE_BYTES];
    ensure(sodium_init() >= 0);
    if (text.size > LOG_CHECKPOINT_BYTES_MAX || text.size < sizeof title - 1 ||
        memcmp(text.data, title, sizeof title - 1) != 0)
        return refuse(name, "it is none that is known here");
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (!take_lines(copy, &found, signature))
        return refuse(name, "its lines are not those of a checkpoint");
    pack(&found, &again);
    size_t signed_bytes = again.size;
    buffer_append_format(&again, "%s%s\n", signature_name,
                         hex_text(digits, signature, sizeof signature));
    if (!span_equal(buffer_span(&again), text))
        return refuse(name, "its lines are not as they are written");
    if (crypto_sign_verify_detached(signature, again.data, signed_bytes, found.key) != 0)
        return refuse(name, "its signature does not fit: it was altered");
    if (found.first == 0 || found.first > found.last)
        return refuse(name, "it names no events");
    *checkpoint = found;
    return STATUS_OK;
}
