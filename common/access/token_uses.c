/* A table with open addressing that is never more than half full. Only the report takes rows out,
 * and it takes all of them. */
#include "common/access/token_uses.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"

static const uint64_t minute_ns = 60 * UINT64_C(1000000000);

_Static_assert(sizeof((struct token_uses *)0)->key == crypto_shorthash_KEYBYTES, "its key fits");

/* NULL when the table is full. */
static struct token_use_count *find(struct token_uses *uses, const char *accessor)
{
    uint64_t hash;
    _Static_assert(sizeof hash == crypto_shorthash_BYTES, "it fits a number");
    if (accessor[0] == '\0' || strlen(accessor) > TOKEN_ACCESSOR_BYTES_MAX)
        return NULL;
    if (uses->count == 0)
        random_fill(uses->key, sizeof uses->key);
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)accessor, strlen(accessor),
                     uses->key);
    size_t at = hash % TOKEN_USES_SLOTS;
    while (uses->slots[at].accessor[0] != '\0' && strcmp(uses->slots[at].accessor, accessor) != 0)
        at = (at + 1) % TOKEN_USES_SLOTS;
    struct token_use_count *use = &uses->slots[at];
    if (use->accessor[0] != '\0')
        return use;
    if (uses->count == TOKEN_USES_MAX)
        return NULL;
    snprintf(use->accessor, sizeof use->accessor, "%s", accessor);
    uses->count++;
    return use;
}

void token_uses_note(struct token_uses *uses, const char *accessor)
{
    struct token_use_count *use = find(uses, accessor);
    if (use != NULL)
        use->minute = clock_wall_ns() / minute_ns;
}

void token_uses_note_denial(struct token_uses *uses, const char *accessor, const char *method)
{
    struct token_use_count *use = accessor[0] == '\0' ? &uses->unknown : find(uses, accessor);
    if (use == NULL)
        return;
    use->denied++;
    use->method = method;
}

const struct token_use_count *token_uses_next(const struct token_uses *uses, size_t *at)
{
    for (; *at < TOKEN_USES_SLOTS; ++*at)
        if (uses->slots[*at].accessor[0] != '\0')
            return &uses->slots[(*at)++];
    bool is_last = *at == TOKEN_USES_SLOTS && uses->unknown.denied > 0;
    *at = TOKEN_USES_SLOTS + 1;
    return is_last ? &uses->unknown : NULL;
}

void token_uses_reset(struct token_uses *uses)
{
    memset(uses, 0, sizeof *uses);
}
