#ifndef SOLO_COMMON_ACCESS_VOUCHER_VIEW_H
#define SOLO_COMMON_ACCESS_VOUCHER_VIEW_H

#include <sys/types.h>

#include "common/access/store_voucher.h"

/* A verifier's view of a voucher in RUN: the page is mapped, so that a look at it costs no system
 * call. Whether it is still the one that lies in RUN is looked at every VOUCHER_LOOK_MS; its owner
 * answers nothing before that time has passed since another one took its place, see
 * store_voucher_settle. A page that is cut off under a view reads as one that is withdrawn: SIGBUS,
 * which that causes, is met here (elsewhere it ends the process as ever). */
struct voucher_view {
    const volatile uint64_t *words; /* mapped; NULL while there is none to be believed */
    dev_t device;
    ino_t inode;
    uint64_t looked_ns; /* when it was the one in RUN */
    uint64_t mapped;    /* how often: what another page says has nothing to do with this one */
    char boot_id[BOOT_ID_BYTES];
    char path[4096];
};

/* Nothing is opened yet. */
enum status voucher_view_open(struct voucher_view *view, const char *run_dir, const char *file_name,
                              const char *boot_id);
void voucher_view_close(struct voucher_view *view);

/* What is vouched for. `now_ns` was read from clock_boottime_ns by the caller: what was answered
 * before that counts. unavailable, not logged: nothing. */
enum status voucher_view_look(struct voucher_view *view, uint64_t now_ns,
                              struct store_voucher_page *page);

#endif
