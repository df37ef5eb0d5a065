#ifndef SOLO_COMMON_DB_COPY_H
#define SOLO_COMMON_DB_COPY_H

#include "common/db/walk.h"

/* A compact copy of a store, made beside its running writer: by a child of this program, because it
 * takes a while and because a damaged page may end it. */

/* Starts the child (`program --copy-store NAME FROM TO`). It makes the directory `to`, whose parent
 * must exist, copies one snapshot into it, syncs it, and reads back every row; when something is
 * wrong it removes `to` again. Its end is judged by db_probe_judge. `*pidfd` is the caller's. */
enum status db_copy_start(const struct db_schema *schema, const char *from, const char *to,
                          pid_t *pid, int *pidfd);

/* The child: returns its exit code. `check_rows` (may be NULL) looks at every row that has no
 * digest, half of them in a child of its own (walk.h). */
int db_copy_main(const struct db_schema *schema, const char *from, const char *to,
                 walk_rows *check_rows);

/* Gives a store that nobody has open a new incarnation, and its modes: the last step of putting a
 * copy back. */
enum status db_renew_incarnation(const struct db_schema *schema, const char *dir);

#endif
