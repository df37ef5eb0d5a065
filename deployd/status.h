#ifndef SOLO_DEPLOYD_STATUS_H
#define SOLO_DEPLOYD_STATUS_H

#include "deployd/deployd.h"

/* Answers from memory: what is listed, described and counted. */

/* Rows of service.list after a key, as many as fit; the buffers are packed lists. `next` gets the
 * key to go on after, "" at the end. `only` NULL for all tenants. */
enum status status_list(const struct deployd *deployd, const struct tenant *only, const char *after,
                        struct buffer *list, char next[SERVICE_KEY_BYTES]);

enum status status_tenants(struct deployd *deployd, const char *only, struct buffer *list);

/* system.status; all of it for operators and daemons. */
void status_write(struct deployd *deployd, bool is_operator, struct buffer *map);

/* daemon.stats */
void status_write_counters(void *context, struct buffer *buffer);

#endif
