/* The plan and the report for programs: packed first, then shown as JSON, so that one place knows
 * how to escape. */
#include "recoveryd/report_json.h"

#include "common/base/auto.h"
#include "common/spec/spec_json.h"
#include "common/wire/writer.h"

enum { SCHEMA = 1, DOCUMENT_BYTES_MAX = 64 * 1024 * 1024 };

static void put_text(struct buffer *map, const char *key, const char *value)
{
    write_str(map, key);
    write_str(map, value);
}

static void put_number(struct buffer *map, const char *key, uint64_t value)
{
    write_str(map, key);
    write_u64(map, value);
}

static void put_bool(struct buffer *map, const char *key, bool value)
{
    write_str(map, key);
    write_bool(map, value);
}

static void put_log(struct buffer *map, const struct picture *picture, bool is_damaged)
{
    write_str(map, "log");
    const struct log_branch *branch = &picture->log.branch;
    char said[LOG_FORK_TEXT_BYTES];
    write_map(map, picture->log.exists ? 6 : 2);
    put_number(map, "last_event", picture->log.last_event);
    put_text(map, "chain", is_damaged ? "damaged" : picture->log.exists ? "intact" : "none");
    if (!picture->log.exists)
        return;
    put_number(map, "chain_from", picture->log.chain_from);
    put_text(map, "live", picture->log.is_live_damaged ? "damaged" : "matches");
    put_text(map, "forked", branch->is_forked ? log_branch_text(branch, said) : "");
    put_number(map, "map_full_percent",
               picture->log.map_used_bytes * 100 /
                   (picture->log.map_bytes == 0 ? 1 : picture->log.map_bytes));
}

static void put_action(struct buffer *map, const struct plan_entry *entry,
                       const struct outcome *outcome)
{
    bool has_result = outcome != NULL && outcome->result != RESULT_NONE;
    write_map(map, 9 + (entry->is_open ? 1 : 0) + (has_result ? 5 : 0));
    put_text(map, "action", plan_action_name(entry->action));
    put_text(map, "tenant", entry->tenant);
    put_text(map, "service", entry->name);
    put_number(map, "generation", entry->generation);
    put_text(map, "code", plan_code_name(entry->code));
    put_text(map, "reason", entry->reason);
    put_number(map, "event", entry->evidence);
    put_number(map, "running_generation", entry->running_generation);
    put_number(map, "pid", entry->pid);
    if (entry->is_open)
        put_text(map, "outcome", "open");
    if (!has_result)
        return;
    put_text(map, "result", result_name(outcome->result));
    put_text(map, "result_code", outcome->code);
    put_text(map, "result_reason", outcome->reason);
    put_number(map, "result_pid", outcome->pid);
    put_number(map, "took_ms", outcome->took_ms);
}

static void put_summary(struct buffer *map, const struct plan *plan)
{
    static const enum plan_action order[] = { PLAN_START,         PLAN_KEEP, PLAN_REPLACE,
                                              PLAN_STOP,          PLAN_WAIT, PLAN_REPORT,
                                              PLAN_CANNOT_RECOVER };
    write_str(map, "summary");
    write_map(map, COUNT_OF(order));
    for (size_t i = 0; i < COUNT_OF(order); i++)
        put_number(map, plan_action_name(order[i]), plan->of[order[i]]);
}

static void put_findings(struct buffer *map, const char *key, const struct findings *findings)
{
    write_str(map, key);
    write_array(map, findings == NULL ? 0 : findings->count);
    for (size_t i = 0; findings != NULL && i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        write_map(map, 9);
        put_text(map, "code", finding_code_name(finding->code));
        put_text(map, "tenant", finding->tenant);
        put_text(map, "service", finding->name);
        put_number(map, "generation", finding->generation);
        put_number(map, "running_generation", finding->running_generation);
        put_number(map, "pid", finding->pid);
        put_number(map, "event", finding->event);
        put_text(map, "reason", finding->reason);
        put_text(map, "next", finding_code_next(finding->code));
    }
}

static void show(const struct buffer *document, struct buffer *text)
{
    if (document->is_exhausted || json_from_wire(buffer_span(document), text) != STATUS_OK)
        text->is_exhausted = true;
    buffer_append_text(text, "\n");
}

void report_write_json(const struct report *report, struct buffer *text)
{
    AUTO(buffer_close) struct buffer map = { .limit = DOCUMENT_BYTES_MAX };
    const struct plan *plan = &report->picture->plan;
    bool is_done = report->outcomes != NULL;
    write_map(&map, (is_done ? 19u : 10u) + (report->vault != NULL ? 1 : 0));
    put_text(&map, "kind", is_done ? "recovery_report" : "recovery_plan");
    put_number(&map, "schema", SCHEMA);
    put_bool(&map, "dry_run", !is_done);
    put_log(&map, report->picture, false);
    token_census_write_map(&report->picture->tokens, &map);
    if (report->vault != NULL)
        vault_view_write_map(report->vault, &map);
    put_text(&map, "last_run", report->picture->log.exists ? report->picture->last_end : "first");
    write_str(&map, "actions");
    write_array(&map, plan->count);
    for (size_t i = 0; i < plan->count; i++)
        put_action(&map, &plan->entries[i], is_done ? &report->outcomes[i] : NULL);
    put_summary(&map, plan);
    put_bool(&map, "has_changes", plan_has_changes(plan));
    put_bool(&map, "needs_person",
             plan_needs_person(plan) || token_census_needs_person(&report->picture->tokens) ||
                 (is_done && (report->of[RESULT_FAILED] > 0 ||
                              (report->findings != NULL && report->findings->count > 0))));
    if (is_done) {
        put_number(&map, "recovered", report->of[RESULT_RECOVERED]);
        put_number(&map, "stopped", report->of[RESULT_STOPPED]);
        put_number(&map, "failed", report->of[RESULT_FAILED]);
        put_number(&map, "skipped", report->of[RESULT_SKIPPED]);
        put_bool(&map, "time_ran_out", report->is_cut);
        put_bool(&map, "verified", report->is_verified);
        put_number(&map, "checked", report->checked);
        put_findings(&map, "inconsistencies", report->findings);
        put_number(&map, "took_ms", report->took_ms);
    }
    show(&map, text);
}

void verification_write_json(const struct verification *verification, struct buffer *text)
{
    AUTO(buffer_close) struct buffer map = { .limit = DOCUMENT_BYTES_MAX };
    write_map(&map, 9u + (verification->is_full ? 1 : 0) + (verification->fixed != NULL ? 1 : 0));
    put_text(&map, "kind", "verification_report");
    put_number(&map, "schema", SCHEMA);
    put_log(&map, verification->picture, verification->is_log_damaged);
    token_census_write_map(&verification->picture->tokens, &map);
    vault_view_write_map(verification->vault, &map);
    put_bool(&map, "full", verification->is_full);
    put_number(&map, "checked", verification->checked);
    if (verification->is_full)
        put_number(&map, "folded", verification->folded);
    put_findings(&map, "inconsistencies", verification->findings);
    if (verification->fixed != NULL)
        put_findings(&map, "fixed", verification->fixed);
    put_number(&map, "took_ms", verification->took_ms);
    show(&map, text);
}
