/* Text of others is never trusted on a terminal: an escape sequence in a name could hide a line. */
#include "common/spec/printable.h"

#include <stdio.h>

#include "common/base/name.h"

/* Bytes of the character that begins here and may be shown as it is; 0 for none. */
static size_t shown_bytes(const uint8_t *at, size_t left)
{
    if (at[0] < 0x80)
        return at[0] >= 0x20 && at[0] != 0x7f ? 1 : 0;
    size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    bool is_whole = size <= left && utf8_is_valid(span_of(at, size));
    /* U+0080 to U+009F are control characters too. */
    bool is_control = is_whole && at[0] == 0xc2 && at[1] < 0xa0;
    return is_whole && !is_control ? size : 0;
}

char *text_printable(char *printable, size_t size, struct span text)
{
    size_t used = 0;
    for (size_t i = 0; i < text.size && used + 5 <= size;) {
        size_t shown = shown_bytes(text.data + i, text.size - i);
        if (shown > 0)
            memcpy(printable + used, text.data + i, shown);
        else
            snprintf(printable + used, size - used, "\\x%02x", text.data[i]);
        used += shown > 0 ? shown : 4;
        i += shown > 0 ? shown : 1;
    }
    printable[used] = '\0';
    return printable;
}
