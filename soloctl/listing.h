#ifndef SOLO_SOLOCTL_LISTING_H
#define SOLO_SOLOCTL_LISTING_H

#include "common/wire/fields.h"
#include "soloctl/output.h"
#include "soloctl/table.h"

/* A list that a daemon gives in pages, shown as a table or for programs: all of it, or what the
 * operands name. `things` and `thing` are its words. */
struct listing {
    struct session *session;
    const struct arguments *arguments;
    const char *things, *thing;
    struct list_output list;
    struct table *table; /* NULL: for programs */
    size_t shown;
    bool found[OPERANDS_MAX];
};

enum status listing_begin(struct listing *listing, const struct column *columns, size_t count,
                          struct problem *problem);
/* Whether what has this name is shown; it counts as found then. `other` (may be NULL) is a second
 * name of it. */
bool listing_takes(struct listing *listing, const char *name, const char *other);
/* Prints it; not_found when an operand named nothing. */
enum status listing_end(struct listing *listing, struct problem *problem);
void listing_close(struct listing *listing); /* a zeroed one is fine */

/* Calls `take` with each record of a packed list, decoded into `row`, whose texts live until it
 * returns. */
enum status records_each(struct span list, const struct field_table *table, void *row,
                         size_t row_bytes, void (*take)(void *context, const void *row),
                         void *context, struct problem *problem);

#endif
