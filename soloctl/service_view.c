/* One place that knows how a service is shown. */
#include "soloctl/service_view.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
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
    { "REASON", COLUMN_LONG_TEXT, false },
};
const size_t service_column_count = COUNT_OF(service_columns);

void service_table_row(struct table *table, const struct service_row *row,
                       const struct exit_list *exits, uint64_t now_ns)
{
    char key[SERVICE_KEY_BYTES], age[AGE_BYTES], exit[EXIT_TEXT_BYTES];
    char started[TIME_TEXT_BYTES], due[TIME_TEXT_BYTES], restarts[24];
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
    table_cell(table, row->reason);
}

bool service_looks_equal(const struct service_row *a, const struct service_row *b)
{
    return strcmp(a->state, b->state) == 0 && strcmp(a->reason, b->reason) == 0 &&
           a->generation == b->generation && a->since == b->since && a->pid == b->pid &&
           a->restarts == b->restarts && a->is_ready == b->is_ready;
}
