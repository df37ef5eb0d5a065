#ifndef SOLO_RECOVERYD_ARCHIVE_CHECK_H
#define SOLO_RECOVERYD_ARCHIVE_CHECK_H

#include "common/daemon/settings.h"
#include "recoveryd/findings.h"

/* Of a log whose oldest events were archived: that its cut is what a checkpoint says that is
 * signed by the key of this DATA, that the state at the cut is there, and every record that is
 * still needed. A whole log has nothing to be found. */
enum status checkpoint_check(const struct settings *settings, struct findings *findings);

/* And that the archives are there, from event 1 to the cut, each what its checkpoint says, and come
 * to the state at the cut. Reads all of them. */
enum status archive_check(const struct settings *settings, struct findings *findings);

#endif
