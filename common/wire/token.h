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

enum token_result token_parse(struct span data, struct token *token);

#endif
