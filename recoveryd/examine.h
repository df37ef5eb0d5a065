#ifndef SOLO_RECOVERYD_EXAMINE_H
#define SOLO_RECOVERYD_EXAMINE_H

#include "common/daemon/settings.h"
#include "recoveryd/report.h"
#include "recoveryd/vault_check.h"

/* Everything that `recoveryd verify` looks at, once; with `is_full` the whole log, every row and
 * every secret. Damage is a finding, not a failure. */
struct examination {
    struct picture picture; /* empty when has_picture is false: the log cannot be read */
    bool has_picture;
    struct findings findings;
    uint64_t checked; /* services compared */
    uint64_t folded;  /* events, with is_full */
    struct vault_view vault;
};

enum status examine(const struct settings *settings, bool is_full, struct examination *examination);
void examination_close(struct examination *examination);

#endif
