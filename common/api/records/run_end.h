#ifndef SOLO_COMMON_API_RECORDS_RUN_END_H
#define SOLO_COMMON_API_RECORDS_RUN_END_H

#include "common/api/records/event_log.h"

enum { RUN_END_BYTES = 16 };

/* How the newest run that the log knows of ended, for one that begins in boot `boot_id`: a name of
 * run_ends.def, "first" when there was none, "unknown" where the log does not say (without shutdown
 * events an orderly end looks like a crash). */
enum status run_end_find(struct db_txn *txn, const char *boot_id, bool logs_shutdown_events,
                         char end[RUN_END_BYTES]);

#endif
