#ifndef SOLO_RECOVERYD_REGISTRY_ROWS_H
#define SOLO_RECOVERYD_REGISTRY_ROWS_H

#include "common/api/api.h"

/* Each row of RUN/registry, until `visit` returns another status than OK; its texts live during the
 * call. Opened whichever way leaves no trace. not_found: there is none, or its rows are of services
 * of another event log than the one with this incarnation. */
enum status registry_rows_each(const char *run_dir, const uint8_t incarnation[16],
                               enum status (*visit)(void *context, const struct service_row *row),
                               void *context);

#endif
