#ifndef SOLO_COMMON_DB_PROBE_H
#define SOLO_COMMON_DB_PROBE_H

#include "common/base/status.h"

struct db;
struct db_schema;

/* The quick probe: what a program runs when its argv says `--probe-store NAME DIR`. Checks file
 * length against both meta pages, page size, flags, roots, then meta, digests of the flagged
 * tables, and `check_rows` of the store's own (may be NULL). Opens without a trace and asks nobody
 * for the lease: the parent holds it. The exit code is a status's. */
int db_probe_main(const struct db_schema *schema, const char *dir,
                  enum status (*check_rows)(struct db *db));

/* Runs that child and waits for it: OK, or data_loss (also when the child died of the file: abort,
 * SIGBUS, SIGFPE, endless walk), io, or unavailable when somebody killed it. */
/* The child's part, in a process that may die of it. */
enum status db_probe_here(const struct db_schema *schema, const char *dir,
                          enum status (*check_rows)(struct db *db));
/* What the end of such a child says about the store; `result` is waitpid's. */
enum status db_probe_judge(const char *dir, int result);

enum status db_probe(const struct db_schema *schema, const char *dir);

#endif
