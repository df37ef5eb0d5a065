#ifndef SOLO_COMMON_DB_SUSPECT_H
#define SOLO_COMMON_DB_SUSPECT_H

#include "common/db/db.h"

/* A damaged page that the quick probe does not read may end a daemon (LMDB aborts, or the kernel
 * ends it), and would end the next one. So a process that ends like that by itself leaves a mark,
 * STORE.suspect, and the next open begins with the full walk, for less time than a start may
 * take. That leaves STORE/walked; who dies like that soon after it keeps the store shut. */

enum { SUSPECT_AGAIN_SECONDS = 600 };

/* In a writer that has opened `dir`: from now on a deadly signal leaves the mark. One store to a
 * process: the first. */
void suspect_guard(const char *dir);

/* Before an open, with the lease held: walks the whole store when the mark is there, once.
 * data_loss (logged) when that ends the walk, as it would end who opens the store, or when it was
 * made within SUSPECT_AGAIN_SECONDS after a walk that found nothing so bad: then the mark stays,
 * and with it the store shut until somebody removes the mark or puts another store there. */
enum status suspect_check(const struct db_schema *schema, const char *dir);

#endif
