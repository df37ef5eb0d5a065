#ifndef SOLO_COMMON_DB_WALK_H
#define SOLO_COMMON_DB_WALK_H

#include <sys/types.h>

#include "common/db/db.h"

/* The full walk: every row of a store with its seal, every digest, and `check_rows` for what proves
 * itself otherwise. The quick probe before an open leaves most of that alone. It is done by a child
 * (`program --walk-store NAME DIR HOW`), because a damaged page may end it, in snapshots that are
 * short where a table is large. The result is db_probe_judge's. */

enum walk_how {
    WALK_ALONE,         /* nobody writes: without locks, leaving no trace; a page that would end a
                           writer ends it */
    WALK_BESIDE_WRITER, /* with a slot among the readers, at the lowest priority */
    /* What `check_rows` looks at and nothing else, for a process that waits for this one: */
    WALK_ROWS,               /* nobody writes */
    WALK_ROWS_BESIDE_WRITER, /* with a slot among the readers */
    WALK_HALF_OF_COPY        /* the second part of two, of a copy */
};

/* Looks at each row that proves itself otherwise, of these parts at one: two processes read what
 * one would take too long for. */
typedef enum status walk_rows(struct db *db, unsigned part, unsigned parts);

/* Waits for it. */
enum status db_walk(const struct db_schema *schema, const char *dir, enum walk_how how);
/* `*pidfd` is the caller's; NULL for who will wait for the process. */
enum status db_walk_start(const struct db_schema *schema, const char *dir, enum walk_how how,
                          pid_t *pid, int *pidfd);

/* The child: returns its exit code. `how` as it stands in its arguments. */
int db_walk_main(const struct db_schema *schema, const char *dir, const char *how,
                 walk_rows *check_rows);

#endif
