#ifndef SOLO_TESTS_SUPPORT_WIRE_JSON_H
#define SOLO_TESTS_SUPPORT_WIRE_JSON_H

#include <jansson.h>

#include "common/base/buffer.h"

/* Tests write requests and read answers as JSON. A text that begins with "hex:" stands for bytes
 * (msgpack bin), both ways. */
void json_to_wire(const json_t *value, struct buffer *buffer);

/* NULL for bytes that are not one msgpack object. The caller owns the result. */
json_t *json_of_wire(struct span object);

#endif
