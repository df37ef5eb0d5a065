#ifndef SOLO_COMMON_SPEC_SPEC_JSON_H
#define SOLO_COMMON_SPEC_SPEC_JSON_H

#include "common/spec/spec.h"

/* JSON text to the map that service.deploy takes, and msgpack to JSON for people. jansson reads,
 * duplicate keys are refused, errors carry line and column. */

/* One spec. `map` gets the fields as written (not yet canonical), keys checked only by spec_decode.
 */
enum status spec_from_json(struct span text, struct buffer *map, struct problem *problem);

/* Any JSON object as a packed map, at most map->limit bytes. */
enum status object_from_json(struct span text, struct buffer *map, struct problem *problem);

/* One object, an array of objects, or one object per line. Calls `take` with each as a packed map
 * and its place ("[3]", "line 7") until it fails. */
enum status specs_from_json(struct span text,
                            enum status (*take)(void *context, struct span map, const char *place,
                                                struct problem *problem),
                            void *context, struct problem *problem);

/* Any packed object as JSON text, one line; bin becomes hexadecimal. */
enum status json_from_wire(struct span object, struct buffer *text);

#endif
