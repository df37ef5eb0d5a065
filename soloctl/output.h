#ifndef SOLO_SOLOCTL_OUTPUT_H
#define SOLO_SOLOCTL_OUTPUT_H

#include <stdio.h>

#include "soloctl/item.h"
#include "soloctl/session.h"

/* What goes to standard output for programs. With -o json one document and nothing else: a list is
 * spooled to a nameless file and printed at its end, so that a failure half way leaves standard
 * output empty. With -o jsonl one item per line as it comes, with -o name the names alone. */
struct list_output {
    enum format format;
    const char *kind;
    FILE *spool; /* json only */
    size_t count;
};

enum status list_begin(struct list_output *list, enum format format, const char *kind,
                       struct problem *problem);
void list_add(struct list_output *list, const struct item *item, const char *name);
void list_end(struct list_output *list);
/* Drops what was not printed yet; fine after list_end. */
void list_close(struct list_output *list);

/* A document that stands alone; `name` is what -o name prints. Not for tables. */
void document_print(enum format format, const struct item *item, const char *name);

/* Flushes standard output. False when nobody reads it any more or it is full: a stream ends then.
 */
bool output_flush(void);

#endif
