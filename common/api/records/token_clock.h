#ifndef SOLO_COMMON_API_RECORDS_TOKEN_CLOCK_H
#define SOLO_COMMON_API_RECORDS_TOKEN_CLOCK_H

#include "common/base/clock.h"
#include "common/db/db.h"

/* The time by which tokens expire. Within a boot it is an anchor plus CLOCK_BOOTTIME, so that
 * stepping the wall clock changes nothing. The anchor stands in the `meta` of the tokens store;
 * tokend writes it, every verifier reads it there.
 *
 * At the first start of a boot the anchor is the wall clock or the mark, whichever is later. The
 * mark is a time that was certainly not reached before the boot began: tokend keeps it a little
 * ahead of the trusted time. A wall clock more than 30 days past the mark is suspect: tokens expire
 * by it (whoever cannot tell refuses), but the mark moves only by what has passed since the boot
 * began, and nothing is swept or warned of, until the kernel says that the clock is synchronised or
 * an operator trusts it; then the wall clock of that moment is the anchor, if it is not before the
 * mark. */

struct token_anchor {
    char boot_id[BOOT_ID_BYTES]; /* of the boot in which it holds; "" in a new store */
    uint64_t boottime_ns;        /* at this reading of CLOCK_BOOTTIME ... */
    uint64_t wall_ns;            /* ... it was this time */
    uint64_t mark_ns;            /* 0 in a new store */
    bool is_suspect;
};

/* One look at the clocks of the machine. */
struct token_time {
    char boot_id[BOOT_ID_BYTES];
    uint64_t boottime_ns;
    uint64_t wall_ns;
    bool is_synchronised; /* by the kernel's word: adjtimex(2) */
};

enum {
    TOKEN_MARK_AHEAD_S = 120,   /* how far ahead of the trusted time the mark is put */
    TOKEN_MARK_INTERVAL_S = 60, /* how often, while it moves */
};

/* With SOLO_FAULTS and SOLO_TEST_CLOCK=FILE in the environment the look is what stands in FILE:
 * "BOOT_ID BOOTTIME_OFFSET_S WALL_OFFSET_S SYNCHRONISED", offsets added to the real clocks, BOOT_ID
 * of 36 characters or - for the real one. It is read anew each time. */
enum status token_time_read(struct token_time *time);
/* boottime_ns and wall_ns only; the boot does not change while a process lives. */
enum status token_time_read_again(struct token_time *time);

/* Pure. Whether it is an anchor of this boot. */
bool token_anchor_holds(const struct token_anchor *anchor, const struct token_time *time);
/* Pure. The anchor with which this boot goes on: unchanged within its boot, otherwise decided as
 * above. */
struct token_anchor token_anchor_start(const struct token_anchor *previous,
                                       const struct token_time *time);
/* Pure. The clock is trusted now, by the kernel's or an operator's word: ends a suspicion. Returns
 * false, and changes nothing, when there is none. */
bool token_anchor_trust(struct token_anchor *anchor, const struct token_time *time);
/* Pure. Puts the mark ahead when it is due; of a suspect anchor by what has passed, the anchor with
 * it. False when it was not. */
bool token_anchor_advance(struct token_anchor *anchor, const struct token_time *time);

/* Pure. The trusted time. For an anchor of another boot (tokend has not started in this one yet) it
 * is what token_anchor_start would decide at this look; who looks again keeps that anchor. */
uint64_t token_clock_now(const struct token_anchor *anchor, const struct token_time *time);

/* The same with a look at the clocks that decide it, for who asks often and has just read the one
 * of the boot. `time` was read before. */
uint64_t token_clock_look(const struct token_anchor *anchor, struct token_time *time,
                          uint64_t boottime_ns);

/* Of the open transaction of a tokens store. A store without one gives an anchor of no boot. */
enum status token_anchor_read(struct db_txn *txn, struct token_anchor *anchor);
enum status token_anchor_write(struct db_txn *txn, const struct token_anchor *anchor);

#endif
