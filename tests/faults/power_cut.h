#ifndef SOLO_TESTS_FAULTS_POWER_CUT_H
#define SOLO_TESTS_FAULTS_POWER_CUT_H

#include "tests/faults/disk.h"
#include "tests/faults/random.h"

/* What a power cut may leave of what was recorded. The disk keeps every write whose sync has
 * returned; of the others any, in any order, one of them torn at a sector. A folder's entry stays
 * when the folder was synced after it, else it may. */

struct power_cut; /* the disk at one moment of the recording */

struct power_cut *power_cut_open(const struct disk_op *ops, size_t count);
void power_cut_close(struct power_cut **cut);

/* Goes on by one operation; false at the end. */
bool power_cut_step(struct power_cut *cut);
/* Whether a cut here differs from one before: there is something that it may leave or take. */
bool power_cut_is_open(const struct power_cut *cut);
/* The newest mark before this moment: what must be there. */
uint64_t power_cut_mark(const struct power_cut *cut);

/* How a cut ends: all of what is not synced is lost, or all is there, or as chance has it. */
enum cut_kind { CUT_TAKES_ALL, CUT_LEAVES_ALL, CUT_AS_IT_COMES };
typedef bool power_cut_visit(void *context, const struct power_cut *cut, enum cut_kind kind);

/* A cut at every moment of what was recorded at which one differs from those before: all lost, all
 * there, and three times as it comes; until `visit` says false. Returns how much was recorded. */
size_t power_cut_each(power_cut_visit *visit, void *context);

/* Writes what is left of `store` (a folder's path in the recording) into the existing folder `to`;
 * false: there is no such folder after this cut. */
bool power_cut_play(const struct power_cut *cut, enum cut_kind kind, struct random *random,
                    const char *store, const char *to);

#endif
