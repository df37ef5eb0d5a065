/* Texts that claim to be tokens or accessors: refused, or exactly what is written for what was
 * read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of(data, size);
    if (token_text_is_valid(text)) {
        ensure(size == TOKEN_TEXT_SIZE);
        ensure(memcmp(data, "solo_", 5) == 0);
    }
    char *copy = malloc(size + 1);
    ensure(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    struct uuid accessor;
    char again[ACCESSOR_TEXT_BYTES];
    if (accessor_parse(copy, &accessor) == STATUS_OK)
        ensure(strcmp(accessor_text(again, &accessor), copy) == 0);
    free(copy);
    return 0;
}
