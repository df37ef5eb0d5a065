#ifndef SOLO_RECOVERYD_FIX_H
#define SOLO_RECOVERYD_FIX_H

#include "recoveryd/examine.h"
#include "recoveryd/options.h"

/* Repairs what is safe to repair of what an examination found: has eventd fold the log anew, has
 * deployd carry out the plan for the services that are named and end duplicates, with --fix-orphans
 * also what nobody has a record of. Each finding is recorded before anything is done about it. Then
 * everything is examined once more, into the same `examination`; `fixed` gets what is found no
 * more, and each of these is recorded, too. Where nothing is to be repaired nothing is recorded.
 * unavailable: something is to be repaired and deployd does not answer. */
enum status fix(const struct settings *settings, const struct options *options,
                struct examination *examination, struct findings *fixed);

#endif
