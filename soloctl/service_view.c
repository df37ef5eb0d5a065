/* One place that knows how a service is shown. */
#include "soloctl/service_view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/size.h"
#include "common/spec/spec.h"
#include "common/wire/reader.h"
#include "soloctl/text.h"

enum status service_exits(const struct service_row *row, struct arena *arena,
                          struct exit_list *exits, struct problem *problem)
{
    struct reader reader = reader_of(row->exits);
    uint32_t count = 0;
    *exits = (struct exit_list){ 0 };
    if (row->exits.size == 0)
        return STATUS_OK;
    TRY(reader_array(&reader, &count));
    for (uint32_t i = 0; i < count && i < EXITS_KEPT; i++) {
        struct span map;
        TRY(reader_any(&reader, &map));
        TRY(fields_decode(&record_exit_row, map, arena, &exits->rows[i], problem));
        exits->count++;
    }
    return STATUS_OK;
}

char *exit_text(char text[EXIT_TEXT_BYTES], const struct exit_row *exit)
{
    const char *signal = exit->signal == 0 ? "" : signal_text((int)exit->signal);
    bool has_name = signal[0] >= 'A' && signal[0] <= 'Z'; /* real-time signals are numbers */
    if (exit->signal == 0)
        snprintf(text, EXIT_TEXT_BYTES, "exit code %" PRId64, exit->code);
    else
        snprintf(text, EXIT_TEXT_BYTES, has_name ? "killed by SIG%s" : "killed by signal %s",
                 signal);
    return text;
}

void exit_item(const struct exit_row *exit, struct item *item)
{
    const char *signal = exit->signal == 0 ? NULL : signal_text((int)exit->signal);
    item_time(item, "time", exit->wall_ns);
    item_number(item, "ran_ms", exit->ran_ms);
    if (exit->signal == 0)
        item_signed(item, "code", exit->code);
    else
        item_null(item, "code");
    item_text_or_null(item, "signal", signal);
    item_text(item, "reason", exit->reason);
    item_text(item, "output", exit->output);
}

static bool has_usage(const struct service_row *row)
{
    return row->memory_max != 0 || row->tasks_max != 0 || row->cpu_milli_max != 0;
}

__attribute__((format(printf, 2, 3))) static void add(char text[USAGE_TEXT_BYTES],
                                                      const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    if (used > 0)
        used += (size_t)snprintf(text + used, USAGE_TEXT_BYTES - used, ", ");
    va_start(arguments, format);
    vsnprintf(text + used, USAGE_TEXT_BYTES - used, format, arguments);
    va_end(arguments);
}

char *usage_text(char text[USAGE_TEXT_BYTES], const struct service_row *row)
{
    char size[SIZE_PART_TEXT_BYTES];
    text[0] = '\0';
    if (row->memory_max != 0)
        add(text, "memory %s", size_part_text(size, row->memory_bytes, row->memory_max));
    if (row->tasks_max != 0)
        add(text, "tasks %" PRIu64 " of %" PRIu64, row->tasks, row->tasks_max);
    if (row->cpu_milli_max != 0)
        add(text, "cpu %.2g of %g", (double)row->cpu_milli / 1e3, (double)row->cpu_milli_max / 1e3);
    return text;
}

static void usage_item(const struct service_row *row, struct item *item)
{
    AUTO(item_close) struct item usage = ITEM_EMPTY;
    if (!has_usage(row)) {
        item_null(item, "usage");
        return;
    }
    item_number(&usage, "memory_bytes", row->memory_bytes);
    item_number_or_null(&usage, "memory_max", row->memory_max);
    item_number(&usage, "tasks", row->tasks);
    item_number_or_null(&usage, "tasks_max", row->tasks_max);
    item_number(&usage, "cpu_milli", row->cpu_milli);
    item_number_or_null(&usage, "cpu_milli_max", row->cpu_milli_max);
    item_bool(&usage, "is_high", row->is_usage_high);
    item_item(item, "usage", &usage);
}

void service_item(const struct service_row *row, const struct exit_list *exits, struct item *item)
{
    item_text(item, "tenant", row->tenant);
    item_text(item, "name", row->name);
    item_text(item, "state", row->state);
    item_text(item, "reason", row->reason);
    item_number(item, "generation", row->generation);
    item_number(item, "since", row->since);
    item_number_or_null(item, "pid", row->pid);
    item_bool(item, "is_ready", row->is_ready);
    item_number(item, "restarts", row->restarts);
    item_time(item, "started_at", row->started_ns);
    item_time(item, "next_due", row->due_ns);
    item_text_or_null(item, "limits", row->limits);
    usage_item(row, item);
    item_number(item, "limit_breaches", row->breaches);
    item_text_or_null(item, "last_limit_breach", row->breach);
    item_hash(item, "spec_hash", &row->spec_hash);
    if (exits->count == 0) {
        item_null(item, "last_exit");
    } else {
        AUTO(item_close) struct item last = ITEM_EMPTY;
        exit_item(&exits->rows[0], &last);
        item_item(item, "last_exit", &last);
    }
}

const struct column service_columns[] = {
    { "NAME", COLUMN_TEXT, false },         { "STATE", COLUMN_TEXT, false },
    { "GENERATION", COLUMN_NUMBER, false }, { "PID", COLUMN_NUMBER, false },
    { "RESTARTS", COLUMN_NUMBER, false },   { "AGE", COLUMN_NUMBER, false },
    { "SINCE", COLUMN_NUMBER, true },       { "STARTED", COLUMN_TEXT, true },
    { "NEXT", COLUMN_TEXT, true },          { "LAST EXIT", COLUMN_TEXT, true },
    { "USAGE", COLUMN_TEXT, true },         { "BREACHES", COLUMN_NUMBER, true },
    { "REASON", COLUMN_LONG_TEXT, false },
};
const size_t service_column_count = COUNT_OF(service_columns);

void service_table_row(struct table *table, const struct service_row *row,
                       const struct exit_list *exits, uint64_t now_ns)
{
    char key[SERVICE_KEY_BYTES], age[AGE_BYTES], exit[EXIT_TEXT_BYTES];
    char started[TIME_TEXT_BYTES], due[TIME_TEXT_BYTES], restarts[24];
    char usage[USAGE_TEXT_BYTES];
    table_row(table);
    table_cell(table, service_key(key, row->tenant, row->name));
    table_cell(table, row->state);
    table_number(table, row->generation);
    table_number(table, row->pid);
    snprintf(restarts, sizeof restarts, "%" PRIu64, row->restarts);
    table_cell(table, restarts);
    table_cell(table, row->pid == 0 ? "-" : age_text(age, row->started_ns, now_ns));
    table_number(table, row->since);
    table_cell(table, row->started_ns == 0 ? "-" : time_text(started, row->started_ns));
    table_cell(table, row->due_ns == 0 ? "-" : time_text(due, row->due_ns));
    table_cell(table, exits->count == 0 ? "-" : exit_text(exit, &exits->rows[0]));
    table_cell(table, usage_text(usage, row));
    table_number(table, row->breaches);
    table_cell(table, row->reason);
}

bool service_looks_equal(const struct service_row *a, const struct service_row *b)
{
    return strcmp(a->state, b->state) == 0 && strcmp(a->reason, b->reason) == 0 &&
           a->generation == b->generation && a->since == b->since && a->pid == b->pid &&
           a->restarts == b->restarts && a->is_ready == b->is_ready;
}
