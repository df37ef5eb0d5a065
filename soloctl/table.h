#ifndef SOLO_SOLOCTL_TABLE_H
#define SOLO_SOLOCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/base/status.h"

/* A table for people, by way of libsmartcols: aligned, control characters escaped, cut to the
 * terminal's width where a column allows it, nothing cut when it is not a terminal. */
enum column_kind { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_LONG_TEXT /* may be cut */ };

struct column {
    const char *heading;
    enum column_kind kind;
    bool is_wide; /* shown with -o wide only */
};

struct table;

/* `columns` must outlive the table. */
enum status table_open(struct table **table, const struct column *columns, size_t count,
                       bool is_wide);
void table_close(struct table **table);
void table_hide_headings(struct table *table);

/* Begins a row; then one call per column, in order. `text` is copied, NULL and "" are shown as "-".
 */
void table_row(struct table *table);
void table_cell(struct table *table, const char *text);
void table_number(struct table *table, unsigned long long number); /* 0 is "-" */

/* Prints what was added. Out of memory anywhere before is told here. */
enum status table_print(struct table *table, FILE *out);

/* Whether colour may be used on standard output: a terminal, and NO_COLOR is not set. */
bool colour_is_wanted(void);

#endif
