/* libsmartcols, its failures (only memory can run out) gathered until the end. */
#include "soloctl/table.h"

#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct table {
    struct libscols_table *scols;
    struct libscols_line *line;
    const struct column *columns;
    size_t count, next;
    bool is_wide, has_failed;
    size_t shown; /* columns of the current row so far */
};

bool colour_is_wanted(void)
{
    const char *no_colour = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && (no_colour == NULL || no_colour[0] == '\0');
}

enum status table_open(struct table **table, const struct column *columns, size_t count,
                       bool is_wide)
{
    struct table *new = calloc(1, sizeof *new);
    if (new == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    *new = (struct table){ .columns = columns, .count = count, .next = count, .is_wide = is_wide };
    *table = new;
    scols_init_debug(0);
    new->scols = scols_new_table();
    if (new->scols == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < count; i++) {
        if (columns[i].is_wide && !is_wide)
            continue;
        int flags = columns[i].kind == COLUMN_NUMBER                  ? SCOLS_FL_RIGHT
                    : columns[i].kind == COLUMN_LONG_TEXT && !is_wide ? SCOLS_FL_TRUNC
                                                                      : 0;
        if (scols_table_new_column(new->scols, columns[i].heading, 0, flags) == NULL)
            return STATUS_RESOURCE_EXHAUSTED;
    }
    return STATUS_OK;
}

void table_close(struct table **table)
{
    if (*table == NULL)
        return;
    if ((*table)->scols != NULL)
        scols_unref_table((*table)->scols);
    free(*table);
    *table = NULL;
}

void table_hide_headings(struct table *table)
{
    scols_table_enable_noheadings(table->scols, 1);
}

void table_row(struct table *table)
{
    table->line = scols_table_new_line(table->scols, NULL);
    table->has_failed = table->has_failed || table->line == NULL;
    table->next = table->shown = 0;
}

void table_cell(struct table *table, const char *text)
{
    if (table->line == NULL || table->next == table->count)
        return;
    const struct column *column = &table->columns[table->next++];
    if (column->is_wide && !table->is_wide)
        return;
    if (scols_line_set_data(table->line, table->shown++,
                            text == NULL || text[0] == '\0' ? "-" : text) != 0)
        table->has_failed = true;
}

void table_number(struct table *table, unsigned long long number)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", number);
    table_cell(table, number == 0 ? "-" : text);
}

enum status table_print(struct table *table, FILE *out)
{
    scols_table_set_stream(table->scols, out);
    if (table->has_failed || scols_print_table(table->scols) != 0)
        return STATUS_RESOURCE_EXHAUSTED;
    return STATUS_OK;
}
