/* Trusted time: a look at the clocks, what follows from it, and the row it is kept in. */
#include "common/api/records/token_clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/table.h"

static const char anchor_key[] = "clock";
static const uint64_t second_ns = 1000000000u;
static const uint64_t suspect_ns = 30ull * 86400u * 1000000000u;

/* --- looking --- */

/* Who is shut in as systemd/units have it may not ask the kernel, not even that. Then it is the
 * word of systemd-timesyncd that counts, who told the kernel (see its manual); without it, as with
 * another client of NTP, nobody has said so. */
static bool kernel_is_synchronised(void)
{
    struct timex timex = { 0 };
    int state = adjtimex(&timex);
    if (state >= 0)
        return state != TIME_ERROR && (timex.status & STA_UNSYNC) == 0;
    return access("/run/systemd/timesync/synchronized", F_OK) == 0;
}

#ifdef SOLO_FAULTS
static void shift(uint64_t *ns, int64_t seconds)
{
    *ns = (uint64_t)((int64_t)*ns + seconds * (int64_t)second_ns);
}

/* A file that is being replaced is looked at again by the next caller; a test writes it whole. */
static void apply_test_clock(struct token_time *time)
{
    const char *path = getenv("SOLO_TEST_CLOCK");
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    if (file == NULL)
        return;
    char boot_id[BOOT_ID_BYTES];
    int64_t boottime_s, wall_s;
    int is_synchronised;
    if (fscanf(file, "%36s %" SCNd64 " %" SCNd64 " %d", boot_id, &boottime_s, &wall_s,
               &is_synchronised) == 4) {
        if (strcmp(boot_id, "-") != 0)
            memcpy(time->boot_id, boot_id, sizeof boot_id);
        shift(&time->boottime_ns, boottime_s);
        shift(&time->wall_ns, wall_s);
        time->is_synchronised = is_synchronised != 0;
    }
    fclose(file);
}
#else
static void apply_test_clock(struct token_time *time)
{
    (void)time;
}
#endif

enum status token_time_read_again(struct token_time *time)
{
    time->boottime_ns = clock_boottime_ns();
    time->wall_ns = clock_wall_ns();
    apply_test_clock(time);
    return STATUS_OK;
}

enum status token_time_read(struct token_time *time)
{
    TRY(clock_boot_id(time->boot_id));
    time->is_synchronised = kernel_is_synchronised();
    return token_time_read_again(time);
}

/* --- deciding --- */

bool token_anchor_holds(const struct token_anchor *anchor, const struct token_time *time)
{
    return strcmp(anchor->boot_id, time->boot_id) == 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

struct token_anchor token_anchor_start(const struct token_anchor *previous,
                                       const struct token_time *time)
{
    if (token_anchor_holds(previous, time))
        return *previous;
    struct token_anchor anchor = {
        .boottime_ns = time->boottime_ns,
        .wall_ns = later(time->wall_ns, previous->mark_ns),
        .mark_ns = previous->mark_ns,
        /* A new store has no mark to compare with, and no token that could be lost or revived. */
        .is_suspect = previous->mark_ns != 0 && time->wall_ns > previous->mark_ns &&
                      time->wall_ns - previous->mark_ns > suspect_ns,
    };
    memcpy(anchor.boot_id, time->boot_id, sizeof anchor.boot_id);
    return anchor;
}

bool token_anchor_trust(struct token_anchor *anchor, const struct token_time *time)
{
    if (!anchor->is_suspect)
        return false;
    memcpy(anchor->boot_id, time->boot_id, sizeof anchor->boot_id);
    anchor->boottime_ns = time->boottime_ns;
    anchor->wall_ns = later(time->wall_ns, anchor->mark_ns);
    anchor->is_suspect = false;
    return true;
}

uint64_t token_clock_now(const struct token_anchor *anchor, const struct token_time *time)
{
    if (!token_anchor_holds(anchor, time))
        return later(time->wall_ns, anchor->mark_ns);
    /* CLOCK_BOOTTIME never steps back. */
    uint64_t passed =
        time->boottime_ns > anchor->boottime_ns ? time->boottime_ns - anchor->boottime_ns : 0;
    return anchor->wall_ns + passed;
}

uint64_t token_clock_look(const struct token_anchor *anchor, struct token_time *time,
                          uint64_t boottime_ns)
{
    time->boottime_ns = boottime_ns;
    if (!token_anchor_holds(anchor, time))
        time->wall_ns = clock_wall_ns();
    apply_test_clock(time);
    return token_clock_now(anchor, time);
}

/* The clock is not believed, but what has passed since the boot began is sure. */
static bool advance_suspect(struct token_anchor *anchor, const struct token_time *time)
{
    uint64_t passed =
        time->boottime_ns > anchor->boottime_ns ? time->boottime_ns - anchor->boottime_ns : 0;
    if (passed < TOKEN_MARK_INTERVAL_S * second_ns)
        return false;
    anchor->boottime_ns += passed;
    anchor->wall_ns += passed;
    anchor->mark_ns += passed;
    return true;
}

bool token_anchor_advance(struct token_anchor *anchor, const struct token_time *time)
{
    if (!token_anchor_holds(anchor, time))
        return false;
    if (anchor->is_suspect)
        return advance_suspect(anchor, time);
    uint64_t now = token_clock_now(anchor, time);
    if (anchor->mark_ns >= now + (TOKEN_MARK_AHEAD_S - TOKEN_MARK_INTERVAL_S) * second_ns)
        return false;
    anchor->mark_ns = now + TOKEN_MARK_AHEAD_S * second_ns;
    return true;
}

/* --- keeping: boot id [36], then boottime, wall and mark u64 big-endian, suspect u8 --- */

enum {
    AT_BOOTTIME = BOOT_ID_BYTES - 1,
    AT_WALL = AT_BOOTTIME + 8,
    AT_MARK = AT_WALL + 8,
    AT_SUSPECT = AT_MARK + 8,
    ANCHOR_BYTES,
};

enum status token_anchor_read(struct db_txn *txn, struct token_anchor *anchor)
{
    struct span row;
    enum status status = db_meta_get(txn, anchor_key, &row);
    if (status == STATUS_NOT_FOUND) {
        *anchor = (struct token_anchor){ 0 };
        return STATUS_OK;
    }
    TRY(status);
    if (row.size != ANCHOR_BYTES || row.data[AT_SUSPECT] > 1)
        return log_failure(STATUS_DATA_LOSS, "read the anchor of time", "reason",
                           "not the form of its row");
    struct token_anchor read = {
        .boottime_ns = table_number_value(span_of(row.data + AT_BOOTTIME, 8)),
        .wall_ns = table_number_value(span_of(row.data + AT_WALL, 8)),
        .mark_ns = table_number_value(span_of(row.data + AT_MARK, 8)),
        .is_suspect = row.data[AT_SUSPECT] == 1,
    };
    memcpy(read.boot_id, row.data, BOOT_ID_BYTES - 1);
    *anchor = read;
    return STATUS_OK;
}

enum status token_anchor_write(struct db_txn *txn, const struct token_anchor *anchor)
{
    uint8_t row[ANCHOR_BYTES];
    struct table_number boottime = table_number(anchor->boottime_ns);
    struct table_number wall = table_number(anchor->wall_ns);
    struct table_number mark = table_number(anchor->mark_ns);
    memcpy(row, anchor->boot_id, BOOT_ID_BYTES - 1);
    memcpy(row + AT_BOOTTIME, boottime.bytes, 8);
    memcpy(row + AT_WALL, wall.bytes, 8);
    memcpy(row + AT_MARK, mark.bytes, 8);
    row[AT_SUSPECT] = anchor->is_suspect;
    return db_meta_put(txn, anchor_key, span_of(row, sizeof row));
}
