#ifndef SOLO_RECOVERYD_ARCHIVES_H
#define SOLO_RECOVERYD_ARCHIVES_H

#include "common/api/records/log_archive.h"
#include "common/daemon/settings.h"

/* The archives of a log in their folder, and whether one is what it should be. */

enum { ARCHIVES_MAX = 65536 };

struct archive_range {
    uint64_t first, last;
};

struct archives {
    char folder[4096];
    struct archive_range *items; /* oldest first */
    size_t count;
};

/* All that lie there; an absent folder has none. */
enum status archives_list(const struct settings *settings, struct archives *archives);
/* Of those only the ones that lead back from the event `last` without a gap. */
void archives_lead_to(struct archives *archives, uint64_t last);
void archives_close(struct archives *archives);
enum status archives_path(const struct archives *archives, const struct archive_range *range,
                          const char *suffix, char path[4096]);

/* A checkpoint file, whose signature fits; `digest` is that of its text. not_found (not logged). */
enum status archive_read_checkpoint(const char *path, struct log_checkpoint *checkpoint,
                                    struct hash *digest);
/* Reads a whole archive and compares it with its checkpoint. A `fold` that stands before it then
 * stands behind it; one that does not is set there by the archive's own state. data_loss (logged)
 * when something is not as it must be. */
enum status archive_verify(const char *path, const struct log_checkpoint *checkpoint,
                           struct log_fold *fold);

#endif
