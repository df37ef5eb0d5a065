#ifndef SOLO_RECOVERYD_TOKEN_CHECK_H
#define SOLO_RECOVERYD_TOKEN_CHECK_H

#include "common/daemon/settings.h"
#include "recoveryd/findings.h"

/* The tokens in the store against what the log and the outbox tell of them: `token_missing` and
 * `token_extra`, each with its tenant and, as its name, the accessor. Reads every row and, along
 * the links of their type, every grant in the log; in slices, with memory that does not grow. What
 * differs is looked at again after a moment. A grant that eventd has yet to be told of is not
 * missed. After TOKEN_FINDINGS_MAX of them it stops. Does nothing when tokens are kept for a boot
 * only. */
enum { TOKEN_FINDINGS_MAX = 1000 };
enum status token_check(const struct settings *settings, struct findings *findings);

#endif
