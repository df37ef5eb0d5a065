/* The type bytes of the msgpack specification from 0xc0 to 0xdf, by table. */
#include "common/wire/token.h"

/* What stands after a type byte from 0xc0 to 0xdf: the bytes of a number or of a length. */
static const struct {
    enum wire_type type;
    uint8_t bytes;
    bool is_signed;
} long_types[32] = {
    [0x00] = { WIRE_NIL, 0, false },     [0x02] = { WIRE_BOOL, 0, false },
    [0x03] = { WIRE_BOOL, 0, false },    [0x04] = { WIRE_BIN, 1, false },
    [0x05] = { WIRE_BIN, 2, false },     [0x06] = { WIRE_BIN, 4, false },
    [0x0a] = { WIRE_FLOAT, 4, false },   [0x0b] = { WIRE_FLOAT, 8, false },
    [0x0c] = { WIRE_INTEGER, 1, false }, [0x0d] = { WIRE_INTEGER, 2, false },
    [0x0e] = { WIRE_INTEGER, 4, false }, [0x0f] = { WIRE_INTEGER, 8, false },
    [0x10] = { WIRE_INTEGER, 1, true },  [0x11] = { WIRE_INTEGER, 2, true },
    [0x12] = { WIRE_INTEGER, 4, true },  [0x13] = { WIRE_INTEGER, 8, true },
    [0x19] = { WIRE_STR, 1, false },     [0x1a] = { WIRE_STR, 2, false },
    [0x1b] = { WIRE_STR, 4, false },     [0x1c] = { WIRE_ARRAY, 2, false },
    [0x1d] = { WIRE_ARRAY, 4, false },   [0x1e] = { WIRE_MAP, 2, false },
    [0x1f] = { WIRE_MAP, 4, false },
};

static uint64_t sign_extend(uint64_t bits, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (uint64_t)((int64_t)(bits << shift) >> shift);
}

enum token_result token_parse_long(struct span data, struct token *token)
{
    uint8_t first = data.data[0];
    if (first == 0xc1)
        return TOKEN_RESERVED;
    if ((first >= 0xc7 && first <= 0xc9) || (first >= 0xd4 && first <= 0xd8))
        return TOKEN_EXT;
    unsigned bytes = long_types[first - 0xc0].bytes;
    if (data.size < 1 + (size_t)bytes)
        return TOKEN_SHORT;
    token->type = long_types[first - 0xc0].type;
    token->head_bytes = 1 + bytes;
    uint64_t number = first == 0xc3;
    for (unsigned i = 1; i <= bytes; i++)
        number = number << 8 | data.data[i];
    if (long_types[first - 0xc0].is_signed) {
        number = sign_extend(number, bytes);
        token->is_negative = (int64_t)number < 0;
    }
    token_set_length(token, number);
    return TOKEN_WHOLE;
}
