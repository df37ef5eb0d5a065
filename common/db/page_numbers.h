#ifndef SOLO_COMMON_DB_PAGE_NUMBERS_H
#define SOLO_COMMON_DB_PAGE_NUMBERS_H

#include "common/db/db.h"

/* LMDB reads without looking at the number that stands in a page, and a writer dies of a wrong one.
 * So each page's own number is compared with the one that led to it, its form with what it is to
 * be, and a tree's count of rows with the rows there. */

enum page_extent {
    PAGES_OF_MAIN,    /* the free pages and the list of tables: what every commit needs */
    PAGES_BUT_EVENTS, /* and the tables, without the last level of those that are TABLE_UNSEALED */
    PAGES_ALL
};

/* In the snapshot of `txn`, of a store with a file that is mapped: only in a process that may die
 * of it. data_loss (logged), or io. */
enum status page_numbers_check(struct db_txn *txn, enum page_extent extent);

#endif
