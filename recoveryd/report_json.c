/* The plan and the report for programs: packed first, then shown as JSON, so that one place knows
 * how to escape. */
#include "recoveryd/report_json.h"

#include "common/base/auto.h"
#include "common/spec/spec_json.h"
#include "common/wire/writer.h"

enum { SCHEMA = 1, DOCUMENT_BYTES_MAX = 64 * 1024 * 1024 };

static void put_log(struct buffer *map, const struct picture *picture, bool is_damaged)
{
    write_str(map, "log");
    const struct log_branch *branch = &picture->log.branch;
    char said[LOG_FORK_TEXT_BYTES];
    write_map(map, picture->log.exists ? 6 : 3);
    write_key_u64(map, "last_event", picture->log.last_event);
    write_key_str(map, "chain", is_damaged ? "damaged" : picture->log.exists ? "intact" : "none");
    write_key_str(map, "forked", branch->is_forked ? log_branch_text(branch, said) : "");
    if (!picture->log.exists)
        return;
    write_key_u64(map, "chain_from", picture->log.chain_from);
    write_key_str(map, "live", picture->log.is_live_damaged ? "damaged" : "matches");
    write_key_u64(map, "map_full_percent",
                  picture->log.map_used_bytes * 100 /
                      (picture->log.map_bytes == 0 ? 1 : picture->log.map_bytes));
}

static void put_action(struct buffer *map, const struct plan_entry *entry,
                       const struct outcome *outcome)
{
    bool has_result = outcome != NULL && outcome->result != RESULT_NONE;
    write_map(map, 9 + (entry->is_open ? 1 : 0) + (has_result ? 5 : 0));
    write_key_str(map, "action", plan_action_name(entry->action));
    write_key_str(map, "tenant", entry->tenant);
    write_key_str(map, "service", entry->name);
    write_key_u64(map, "generation", entry->generation);
    write_key_str(map, "code", plan_code_name(entry->code));
    write_key_str(map, "reason", entry->reason);
    write_key_u64(map, "event", entry->evidence);
    write_key_u64(map, "running_generation", entry->running_generation);
    write_key_u64(map, "pid", entry->pid);
    if (entry->is_open)
        write_key_str(map, "outcome", "open");
    if (!has_result)
        return;
    write_key_str(map, "result", result_name(outcome->result));
    write_key_str(map, "result_code", outcome->code);
    write_key_str(map, "result_reason", outcome->reason);
    write_key_u64(map, "result_pid", outcome->pid);
    write_key_u64(map, "took_ms", outcome->took_ms);
}

static void put_summary(struct buffer *map, const struct plan *plan)
{
    static const enum plan_action order[] = { PLAN_START,         PLAN_KEEP, PLAN_REPLACE,
                                              PLAN_STOP,          PLAN_WAIT, PLAN_REPORT,
                                              PLAN_CANNOT_RECOVER };
    write_str(map, "summary");
    write_map(map, COUNT_OF(order));
    for (size_t i = 0; i < COUNT_OF(order); i++)
        write_key_u64(map, plan_action_name(order[i]), plan->of[order[i]]);
}

static void put_findings(struct buffer *map, const char *key, const struct findings *findings)
{
    write_str(map, key);
    write_array(map, findings == NULL ? 0 : findings->count);
    for (size_t i = 0; findings != NULL && i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        write_map(map, 9);
        write_key_str(map, "code", finding_code_name(finding->code));
        write_key_str(map, "tenant", finding->tenant);
        write_key_str(map, "service", finding->name);
        write_key_u64(map, "generation", finding->generation);
        write_key_u64(map, "running_generation", finding->running_generation);
        write_key_u64(map, "pid", finding->pid);
        write_key_u64(map, "event", finding->event);
        write_key_str(map, "reason", finding->reason);
        write_key_str(map, "next", finding_code_next(finding->code));
    }
}

static void show(const struct buffer *document, struct buffer *text)
{
    if (document->is_exhausted || json_from_wire(buffer_span(document), text) != STATUS_OK)
        text->is_exhausted = true;
    buffer_append_text(text, "\n");
}

static void put_cut(struct buffer *map, const struct recovery_cut *cut)
{
    write_str(map, "before");
    if (cut->event_id == 0) {
        write_nil(map);
        return;
    }
    write_map(map, 4);
    write_key_u64(map, "event", cut->event_id);
    write_key_u64(map, "total", cut->total);
    write_key_u64(map, "done", cut->done);
    write_key_u64(map, "failed", cut->failed);
}

void report_write_json(const struct report *report, struct buffer *text)
{
    AUTO(buffer_close) struct buffer map = { .limit = DOCUMENT_BYTES_MAX };
    const struct plan *plan = &report->picture->plan;
    bool is_done = report->outcomes != NULL;
    write_map(&map, (is_done ? 20u : 11u) + (report->vault != NULL ? 1 : 0));
    write_key_str(&map, "kind", is_done ? "recovery_report" : "recovery_plan");
    write_key_u64(&map, "schema", SCHEMA);
    write_key_bool(&map, "dry_run", !is_done);
    put_log(&map, report->picture, false);
    token_census_write_map(&report->picture->tokens, &map);
    if (report->vault != NULL)
        vault_view_write_map(report->vault, &map);
    write_key_str(&map, "last_run",
                  report->picture->log.exists ? report->picture->last_end : "first");
    put_cut(&map, &report->picture->cut);
    write_str(&map, "actions");
    write_array(&map, plan->count);
    for (size_t i = 0; i < plan->count; i++)
        put_action(&map, &plan->entries[i], is_done ? &report->outcomes[i] : NULL);
    put_summary(&map, plan);
    write_key_bool(&map, "has_changes", plan_has_changes(plan));
    write_key_bool(&map, "needs_person",
                   report->picture->log.branch.is_forked || plan_needs_person(plan) ||
                       token_census_needs_person(&report->picture->tokens) ||
                       (is_done && (report->of[RESULT_FAILED] > 0 ||
                                    (report->findings != NULL && report->findings->count > 0))));
    if (is_done) {
        write_key_u64(&map, "recovered", report->of[RESULT_RECOVERED]);
        write_key_u64(&map, "stopped", report->of[RESULT_STOPPED]);
        write_key_u64(&map, "failed", report->of[RESULT_FAILED]);
        write_key_u64(&map, "skipped", report->of[RESULT_SKIPPED]);
        write_key_bool(&map, "time_ran_out", report->is_cut);
        write_key_bool(&map, "verified", report->is_verified);
        write_key_u64(&map, "checked", report->checked);
        put_findings(&map, "inconsistencies", report->findings);
        write_key_u64(&map, "took_ms", report->took_ms);
    }
    show(&map, text);
}

void verification_write_json(const struct verification *verification, struct buffer *text)
{
    AUTO(buffer_close) struct buffer map = { .limit = DOCUMENT_BYTES_MAX };
    write_map(&map, 9u + (verification->is_full ? 1 : 0) + (verification->fixed != NULL ? 1 : 0));
    write_key_str(&map, "kind", "verification_report");
    write_key_u64(&map, "schema", SCHEMA);
    put_log(&map, verification->picture, verification->is_log_damaged);
    token_census_write_map(&verification->picture->tokens, &map);
    vault_view_write_map(verification->vault, &map);
    write_key_bool(&map, "full", verification->is_full);
    write_key_u64(&map, "checked", verification->checked);
    if (verification->is_full)
        write_key_u64(&map, "folded", verification->folded);
    put_findings(&map, "inconsistencies", verification->findings);
    if (verification->fixed != NULL)
        put_findings(&map, "fixed", verification->fixed);
    write_key_u64(&map, "took_ms", verification->took_ms);
    show(&map, text);
}
