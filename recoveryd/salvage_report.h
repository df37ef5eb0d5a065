#ifndef SOLO_RECOVERYD_SALVAGE_REPORT_H
#define SOLO_RECOVERYD_SALVAGE_REPORT_H

#include "recoveryd/record_scan.h"
#include "recoveryd/salvage_losses.h"

/* What `recoveryd salvage` tells of what it did. */
struct salvage_report {
    const struct record_scan *scan;
    const struct salvage_losses *losses;
    const char *quarantine; /* where the damaged store is */
};

enum status salvage_report_print(const struct salvage_report *report, bool is_json);
/* Of a store that an earlier run made, and nobody has opened since. */
enum status salvage_report_print_made(const struct log_salvage *made, bool is_json);
/* As JSON, synced, beside the damaged store: whoever salvages may be cut off before he has told. */
enum status salvage_report_keep(const struct salvage_report *report);

#endif
