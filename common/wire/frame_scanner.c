/* Walks heads only: the bytes of texts are skipped by their announced length. What an open
 * container still lacks is counted per level, so nothing is allocated and nothing recurses. A head
 * is read again when its text has not arrived in full; a refusal leaves the scanner before the
 * object that it refused, so that the caller may try again with a greater bytes_max. */
#include "common/wire/frame_scanner.h"

#include "common/wire/token.h"

static enum status refuse(const char **rule, const char *text)
{
    *rule = text;
    return STATUS_INVALID_ARGUMENT;
}

/* Every element takes a byte or more: those announced here and those that open containers still
 * lack must fit together. Each level still counts the one that is being read. */
static bool elements_fit(const struct frame_scanner *scanner, uint64_t elements, size_t bytes_left)
{
    for (size_t level = 0; level < scanner->depth; level++)
        elements += scanner->missing[level] - 1;
    return elements <= bytes_left;
}

/* One object or head of a container, at the position. *is_short: more bytes are needed first. */
static enum status scan_one(struct frame_scanner *scanner, struct span data, size_t bytes_max,
                            bool *is_short, const char **rule)
{
    static const char too_long[] = "is longer than this request may be";
    size_t left = bytes_max - scanner->position;
    struct token token;
    struct span rest = span_of(data.data + scanner->position, data.size - scanner->position);
    switch (token_parse(rest, &token)) {
    case TOKEN_SHORT:
        *is_short = true;
        return rest.size >= left ? refuse(rule, too_long) : STATUS_OK;
    case TOKEN_EXT:
        return refuse(rule, "has an ext type, which is not accepted");
    case TOKEN_RESERVED:
        return refuse(rule, "is not msgpack: byte 0xc1");
    case TOKEN_WHOLE:
        break;
    }
    if (token.head_bytes > left || token.body_bytes > left - token.head_bytes)
        return refuse(rule, too_long);
    if (token.body_bytes > rest.size - token.head_bytes) {
        *is_short = true;
        return STATUS_OK;
    }
    bool is_container = token.type == WIRE_ARRAY || token.type == WIRE_MAP;
    if (is_container && scanner->depth == FRAME_DEPTH_MAX)
        return refuse(rule, "is nested too deep");
    if (is_container && !elements_fit(scanner, token.elements, left - token.head_bytes))
        return refuse(rule, "announces more elements than it can hold");
    scanner->position += token.head_bytes + (size_t)token.body_bytes;
    if (token.elements > 0) {
        scanner->missing[scanner->depth++] = token.elements;
        return STATUS_OK;
    }
    while (scanner->depth > 0 && --scanner->missing[scanner->depth - 1] == 0)
        scanner->depth--;
    return STATUS_OK;
}

enum status frame_scan(struct frame_scanner *scanner, struct span data, size_t bytes_max,
                       bool *is_complete, const char **rule)
{
    *is_complete = false;
    while (scanner->position == 0 || scanner->depth > 0) {
        bool is_short = false;
        TRY(scan_one(scanner, data, bytes_max, &is_short, rule));
        if (is_short)
            return STATUS_OK;
    }
    *is_complete = true;
    return STATUS_OK;
}

enum status frame_check(struct span data, size_t bytes_max, const char **rule)
{
    struct frame_scanner scanner = { 0 };
    bool is_complete;
    TRY(frame_scan(&scanner, data, bytes_max, &is_complete, rule));
    if (!is_complete)
        return refuse(rule, "ends in the middle of an object");
    if (scanner.position != data.size)
        return refuse(rule, "goes on after its end");
    return STATUS_OK;
}
