#ifndef SOLO_RECOVERYD_SALVAGE_BEHIND_H
#define SOLO_RECOVERYD_SALVAGE_BEHIND_H

#include "common/api/records/event_log.h"
#include "recoveryd/record_scan.h"

/* What events behind a gap say is wanted. They are whole, but not proven, so nothing is started by
 * them: a person is told the names, and deploys again what is right. */
struct behind {
    char key[SERVICE_KEY_BYTES];
    struct live_row row;
    bool is_wanted;
};

struct salvage_behind {
    struct behind *services; /* by key */
    size_t count, capacity;
    size_t wanted_count; /* of them */
};

/* Of the events after `until`. */
enum status salvage_behind_find(struct salvage_behind *behind, struct record_scan *scan,
                                uint64_t until);
void salvage_behind_close(struct salvage_behind *behind);

#endif
