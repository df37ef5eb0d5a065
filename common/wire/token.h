#ifndef SOLO_COMMON_WIRE_TOKEN_H
#define SOLO_COMMON_WIRE_TOKEN_H

#include "common/wire/reader.h"

/* The head of one msgpack object: its type byte and what that says. The scanner and the reader both
 * stand on this one parser, so that they cannot disagree about a byte. */
struct token {
    enum wire_type type;
    size_t head_bytes;   /* type byte, length and the value of a number */
    uint64_t body_bytes; /* that follow the head: text and binary */
    uint64_t elements;   /* objects that follow the head: two for each pair of a map */
    uint64_t bits;       /* of a number, bool or float; sign-extended when negative */
    bool is_negative;
};

enum token_result {
    TOKEN_WHOLE,
    TOKEN_SHORT,    /* the head goes on beyond the bytes that are there */
    TOKEN_EXT,      /* an ext type, which nobody here sends */
    TOKEN_RESERVED, /* 0xc1 */
};

/* What token_parse does with a type byte from 0xc0 to 0xdf. */
enum token_result token_parse_long(struct span data, struct token *token);

static inline void token_set_length(struct token *token, uint64_t length)
{
    if (token->type == WIRE_STR || token->type == WIRE_BIN)
        token->body_bytes = length;
    else if (token->type == WIRE_ARRAY)
        token->elements = length;
    else if (token->type == WIRE_MAP)
        token->elements = 2 * length;
    else
        token->bits = length;
}

static inline enum token_result token_parse(struct span data, struct token *token)
{
    *token = (struct token){ .type = WIRE_NONE, .head_bytes = 1 };
    if (data.size == 0)
        return TOKEN_SHORT;
    uint8_t first = data.data[0];
    if (first >= 0xc0 && first <= 0xdf)
        return token_parse_long(data, token);
    if (first <= 0x7f) {
        token->type = WIRE_INTEGER;
        token->bits = first;
    } else if (first >= 0xe0) {
        token->type = WIRE_INTEGER;
        token->bits = (uint64_t)(int8_t)first;
        token->is_negative = true;
    } else {
        token->type = first <= 0x8f ? WIRE_MAP : first <= 0x9f ? WIRE_ARRAY : WIRE_STR;
        token_set_length(token, token->type == WIRE_STR ? first & 0x1f : first & 0x0f);
    }
    return TOKEN_WHOLE;
}

#endif
