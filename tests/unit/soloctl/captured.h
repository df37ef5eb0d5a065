#ifndef SOLO_TESTS_UNIT_SOLOCTL_CAPTURED_H
#define SOLO_TESTS_UNIT_SOLOCTL_CAPTURED_H

#include <jansson.h>

/* Turns a descriptor (1 or 2) into a file; captured_text gives what was written since. One at a
 * time. */
void capture(int fd);
const char *captured_text(void);
/* The same, parsed; the test fails when it is not exactly one JSON value. */
json_t *captured_json(void);

#endif
