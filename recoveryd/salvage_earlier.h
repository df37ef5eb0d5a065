#ifndef SOLO_RECOVERYD_SALVAGE_EARLIER_H
#define SOLO_RECOVERYD_SALVAGE_EARLIER_H

#include "common/api/records/log_salvage.h"

/* What earlier salvages of this DATA could not prove, by the reports that they left there: a log
 * that was damaged again before anybody opened it tells nothing of that. */

enum { SALVAGE_REPORTS_MAX = 64 }; /* the newest */

struct salvage_earlier {
    struct log_salvage items[SALVAGE_REPORTS_MAX];
    struct buffer marks[SALVAGE_REPORTS_MAX];
    size_t count;
};

/* One that cannot be read is logged, and tells nothing. */
void salvage_earlier_read(struct salvage_earlier *earlier, const char *data_dir);
void salvage_earlier_close(struct salvage_earlier *earlier);

#endif
