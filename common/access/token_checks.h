#ifndef SOLO_COMMON_ACCESS_TOKEN_CHECKS_H
#define SOLO_COMMON_ACCESS_TOKEN_CHECKS_H

#include "common/access/token_map.h"
#include "common/access/token_report.h"

/* What a daemon that verifies tokens opens at its start: the map of tokend's store, and the report
 * of what it saw. */
struct token_checks {
    struct token_map map;
    struct token_report report;
};

/* From now on `access` decides by tokens. `daemon` is our name; `run_key` may be NULL. */
enum status token_checks_open(struct token_checks *checks, struct access *access,
                              struct ev_loop *loop, const struct settings *settings,
                              const char *daemon, const uint8_t *run_key);
void token_checks_close(struct token_checks *checks);

#endif
