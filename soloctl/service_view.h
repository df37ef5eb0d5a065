#ifndef SOLO_SOLOCTL_SERVICE_VIEW_H
#define SOLO_SOLOCTL_SERVICE_VIEW_H

#include "common/api/api.h"
#include "soloctl/item.h"
#include "soloctl/table.h"

/* A service as it is shown: as JSON, as a row of a table. */
struct exit_list {
    struct exit_row rows[EXITS_KEPT];
    size_t count;
};

/* Its last exits, newest first; texts live in the arena. */
enum status service_exits(const struct service_row *row, struct arena *arena,
                          struct exit_list *exits, struct problem *problem);

/* At least tenant, name, state, reason, generation, pid, restarts, started_at and last_exit. */
void service_item(const struct service_row *row, const struct exit_list *exits, struct item *item);
void exit_item(const struct exit_row *exit, struct item *item);

/* "exit code 1", "killed by SIGKILL". */
enum { EXIT_TEXT_BYTES = 64 };
char *exit_text(char text[EXIT_TEXT_BYTES], const struct exit_row *exit);

/* "memory 240 of 256 MiB, tasks 3 of 64, cpu 0.25 of 0.5"; "" when it has no limits, or when
 * nothing is known of their use yet. */
enum { USAGE_TEXT_BYTES = 192 };
char *usage_text(char text[USAGE_TEXT_BYTES], const struct service_row *row);

extern const struct column service_columns[];
extern const size_t service_column_count;
void service_table_row(struct table *table, const struct service_row *row,
                       const struct exit_list *exits, uint64_t now_ns);

/* Whether two rows of one service look the same to whoever watches. */
bool service_looks_equal(const struct service_row *a, const struct service_row *b);

#endif
