/* Puts the parts together. */
#include "common/access/token_checks.h"

#include "common/api/records/schemas.h"
#include "common/base/file.h"

enum status token_checks_open(struct token_checks *checks, struct access *access,
                              struct ev_loop *loop, const struct settings *settings,
                              const char *daemon, const uint8_t *run_key)
{
    char dir[4096];
    struct span key = { 0 };
    if (run_key != NULL)
        key = span_of(run_key, sizeof access->run_key);
    TRY(path_join(dir, settings->token_persistence_enabled ? settings->data_dir : settings->run_dir,
                  tokens_schema.name));
    TRY(token_map_open(&checks->map, dir, settings->run_dir));
    TRY(token_report_open(&checks->report, loop, settings->run_dir, daemon, key));
    access->tokens = &checks->map.verifier;
    access->uses = &checks->report.uses;
    return STATUS_OK;
}

void token_checks_close(struct token_checks *checks)
{
    token_report_close(&checks->report);
    token_map_close(&checks->map);
}
