#ifndef SOLO_RECOVERYD_REGISTRY_CHECK_H
#define SOLO_RECOVERYD_REGISTRY_CHECK_H

#include "recoveryd/actual.h"
#include "recoveryd/findings.h"

/* What deployd answers against what it has written: `registry_differs` for each service of which
 * the two name another generation or process, and for each that only one of them has. Does nothing
 * when deployd was not asked. A registry that cannot be read is a finding without a service. */
enum status registry_check(const char *run_dir, const struct actual *actual,
                           struct findings *findings);

#endif
