#ifndef SOLO_RECOVERYD_OUTBOX_CHECK_H
#define SOLO_RECOVERYD_OUTBOX_CHECK_H

#include "common/daemon/settings.h"
#include "recoveryd/findings.h"

/* tokend's outbox against what eventd has of it: `outbox_gap` when numbers between the two are in
 * neither, so that events are lost: of a log that was put back from an earlier time, say. Silent
 * when a store is absent or cannot be read; others say so. */
enum status outbox_check(const struct settings *settings, struct findings *findings);

#endif
