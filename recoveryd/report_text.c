/* The plan and the report for people. Columns are as wide as what stands in them, up to a bound;
 * names and reasons come from others and are made printable. */
#include "recoveryd/report_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/spec/printable.h"

enum { NAME_WIDTH_MAX = 48, ACTION_WIDTH = 16, REASON_WIDTH_MAX = 56 };

static const struct {
    char symbol;
    const char *words;
} actions[PLAN_ACTIONS] = {
    [PLAN_CANNOT_RECOVER] = { '!', "cannot recover" },
    [PLAN_REPORT] = { '!', "report" },
    [PLAN_STOP] = { '-', "stop" },
    [PLAN_REPLACE] = { '~', "replace" },
    [PLAN_WAIT] = { '~', "wait" },
    [PLAN_START] = { '+', "start" },
    [PLAN_KEEP] = { '=', "keep" },
};

/* Characters, not bytes: what a terminal counts, near enough. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void pad(struct buffer *text, const char *column, size_t width)
{
    buffer_append_text(text, column);
    for (size_t used = width_of(column); used < width; used++)
        buffer_append_text(text, " ");
}

static void write_fork(const struct log_branch *branch, struct buffer *text)
{
    char said[LOG_FORK_TEXT_BYTES];
    if (branch->is_forked)
        buffer_append_format(
            text,
            "FORKED   %s.\n         Nothing is deployed or recovered by it. Stop Solo and put the "
            "newer store back, or keep this log: `recoveryd resolve --keep log`\n",
            log_branch_text(branch, said));
}

static void write_log_line(const struct picture *picture, struct buffer *text)
{
    if (!picture->log.exists) {
        buffer_append_text(text, picture->log.branch.is_forked
                                     ? "Log      none: it is gone\n"
                                     : "Log      none: nothing was ever deployed\n");
        write_fork(&picture->log.branch, text);
        return;
    }
    buffer_append_format(
        text,
        "Log      %" PRIu64 " events, chain intact from %" PRIu64
        ", live projection %s; map %" PRIu64 "%% full\n",
        picture->log.last_event, picture->log.chain_from,
        picture->log.is_live_damaged ? "damaged: eventd will rebuild it at its start" : "matches",
        picture->log.map_used_bytes * 100 /
            (picture->log.map_bytes == 0 ? 1 : picture->log.map_bytes));
    write_fork(&picture->log.branch, text);
}

static void write_last_end(const struct picture *picture, struct buffer *text)
{
    static const char *const ends[][2] = {
#define RUN_END(name, words) { #name, words },
#include "common/api/run_ends.def"
#undef RUN_END
    };
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        if (strcmp(picture->last_end, ends[i][0]) == 0)
            buffer_append_format(text, "Last run %s\n", ends[i][1]);
}

static void write_cut(const struct recovery_cut *cut, struct buffer *text)
{
    if (cut->event_id != 0)
        buffer_append_format(text,
                             "Before   the recovery of event %" PRIu64
                             " has no end in the log: %" PRIu64 " of its %" PRIu64
                             " actions were done, %" PRIu64 " of them failed\n",
                             cut->event_id, cut->done, cut->total, cut->failed);
}

struct line {
    char name[4 * SERVICE_KEY_BYTES];
    char reason[4 * REASON_BYTES_MAX];
};

static void prepare_line(const struct report *report, size_t i, struct line *line)
{
    const struct plan_entry *entry = &report->picture->plan.entries[i];
    char key[SERVICE_KEY_BYTES], reason[2 * REASON_BYTES_MAX];
    text_printable(line->name, sizeof line->name,
                   span_of_text(service_key(key, entry->tenant, entry->name)));
    snprintf(reason, sizeof reason, "%s%s", entry->reason, entry->is_open ? " (open)" : "");
    const struct outcome *outcome = report->outcomes == NULL ? NULL : &report->outcomes[i];
    if (outcome != NULL && outcome->result != RESULT_NONE) {
        size_t used = (size_t)snprintf(reason, sizeof reason, "%s", result_name(outcome->result));
        bool is_reason_needed =
            outcome->result == RESULT_FAILED || outcome->result == RESULT_SKIPPED;
        if (outcome->pid != 0)
            used += (size_t)snprintf(reason + used, sizeof reason - used, ", pid %" PRIu64,
                                     outcome->pid);
        if (is_reason_needed && outcome->reason[0] != '\0')
            used += (size_t)snprintf(reason + used, sizeof reason - used, ": %s", outcome->reason);
        if (outcome->took_ms > 0)
            snprintf(reason + used, sizeof reason - used, ", %" PRIu64 " ms", outcome->took_ms);
    }
    text_printable(line->reason, sizeof line->reason, span_of_text(reason));
}

static bool is_shown(const struct report *report, size_t i, bool shows_all)
{
    return shows_all || report->picture->plan.entries[i].action != PLAN_KEEP;
}

static void write_entries(const struct report *report, bool shows_all, struct buffer *text)
{
    const struct plan *plan = &report->picture->plan;
    size_t name_width = 0, reason_width = 0;
    struct line line;
    for (size_t i = 0; i < plan->count; i++) {
        if (!is_shown(report, i, shows_all))
            continue;
        prepare_line(report, i, &line);
        size_t name = width_of(line.name), reason = width_of(line.reason);
        if (name > name_width)
            name_width = name > NAME_WIDTH_MAX ? NAME_WIDTH_MAX : name;
        if (reason > reason_width)
            reason_width = reason > REASON_WIDTH_MAX ? REASON_WIDTH_MAX : reason;
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_entry *entry = &plan->entries[i];
        if (!is_shown(report, i, shows_all))
            continue;
        prepare_line(report, i, &line);
        buffer_append_format(text, "  %c ", actions[entry->action].symbol);
        pad(text, line.name, name_width);
        buffer_append_text(text, "  ");
        pad(text, actions[entry->action].words, ACTION_WIDTH);
        buffer_append_text(text, " ");
        if (entry->evidence != 0) {
            pad(text, line.reason, reason_width);
            buffer_append_format(text, "  (event %" PRIu64 ")", entry->evidence);
        } else {
            buffer_append_text(text, line.reason);
        }
        buffer_append_text(text, "\n");
    }
    if (!shows_all && plan->of[PLAN_KEEP] > 0) {
        char count[48];
        snprintf(count, sizeof count, "%" PRIu64 " service%s", plan->of[PLAN_KEEP],
                 plan->of[PLAN_KEEP] == 1 ? "" : "s");
        buffer_append_text(text, "  = ");
        pad(text, count, name_width);
        buffer_append_text(text, "  ");
        pad(text, "keep", ACTION_WIDTH);
        buffer_append_text(text, " (--all lists them)\n");
    }
    if (plan->count > 0)
        buffer_append_text(text, "\n");
}

static void write_plan_summary(const struct plan *plan, struct buffer *text)
{
    buffer_append_format(
        text,
        "Plan: %" PRIu64 " to start, %" PRIu64 " to replace, %" PRIu64 " to stop, %" PRIu64
        " to keep, %" PRIu64 " to wait, %" PRIu64 " to report, %" PRIu64 " cannot be recovered.\n",
        plan->of[PLAN_START], plan->of[PLAN_REPLACE], plan->of[PLAN_STOP], plan->of[PLAN_KEEP],
        plan->of[PLAN_WAIT], plan->of[PLAN_REPORT], plan->of[PLAN_CANNOT_RECOVER]);
}

/* Each code once, however many findings it has. */
static void write_advice(const struct findings *findings, struct buffer *text)
{
    bool is_told[FINDING_CODES] = { 0 };
    for (size_t i = 0; i < findings->count; i++) {
        enum finding_code code = findings->items[i].code;
        if (!is_told[code])
            buffer_append_format(text, "%s  %-16s -> %s\n", i == 0 ? "\n" : "",
                                 finding_code_name(code), finding_code_next(code));
        is_told[code] = true;
    }
}

static void write_list(const struct findings *findings, char symbol, struct buffer *text)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        char key[SERVICE_KEY_BYTES], name[4 * SERVICE_KEY_BYTES], reason[4 * REASON_BYTES_MAX];
        bool is_service = finding->tenant[0] != '\0' && finding->name[0] != '\0';
        const char *about = finding->tenant[0] != '\0' ? finding->tenant : finding->name;
        text_printable(
            name, sizeof name,
            span_of_text(is_service ? service_key(key, finding->tenant, finding->name) : about));
        text_printable(reason, sizeof reason, span_of_text(finding->reason));
        buffer_append_format(text, "  %c ", symbol);
        pad(text, name, 24);
        buffer_append_text(text, "  ");
        pad(text, finding_code_name(finding->code), ACTION_WIDTH);
        buffer_append_format(text, " %s", reason);
        if (finding->event != 0)
            buffer_append_format(text, "  (event %" PRIu64 ")", finding->event);
        buffer_append_text(text, "\n");
    }
}

static void write_verified(uint64_t checked, size_t found, char end, struct buffer *text)
{
    buffer_append_format(text, "Verified %" PRIu64 " service%s, %zu inconsistenc%s%c\n", checked,
                         checked == 1 ? "" : "s", found, found == 1 ? "y" : "ies", end);
}

static void write_findings(const struct findings *findings, struct buffer *text)
{
    write_list(findings, '!', text);
    write_advice(findings, text);
}

void report_write_text(const struct report *report, bool shows_all, struct buffer *text)
{
    write_log_line(report->picture, text);
    token_census_write_text(&report->picture->tokens, text);
    if (report->vault != NULL)
        vault_view_write_text(report->vault, text);
    write_last_end(report->picture, text);
    write_cut(&report->picture->cut, text);
    buffer_append_text(text, "\n");
    write_entries(report, shows_all, text);
    if (report->outcomes == NULL) {
        write_plan_summary(&report->picture->plan, text);
        return;
    }
    buffer_append_format(text,
                         "Recovery: %" PRIu64 " recovered, %" PRIu64 " stopped, %" PRIu64
                         " failed, %" PRIu64 " skipped, %" PRIu64 " kept in %" PRIu64 " ms.\n",
                         report->of[RESULT_RECOVERED], report->of[RESULT_STOPPED],
                         report->of[RESULT_FAILED], report->of[RESULT_SKIPPED],
                         report->picture->plan.of[PLAN_KEEP], report->took_ms);
    if (report->is_cut)
        buffer_append_text(text, "Time ran out; run recoveryd again to go on.\n");
    if (!report->is_verified)
        return;
    if (report->findings->count == 0) {
        bool is_all_done = report->of[RESULT_FAILED] + report->of[RESULT_SKIPPED] == 0 &&
                           report->picture->plan.of[PLAN_REPORT] == 0;
        buffer_append_format(text, "Verified %" PRIu64 " services: %s.\n", report->checked,
                             is_all_done ? "what runs is what is wanted"
                                         : "nothing disagrees beyond what is listed above");
        return;
    }
    write_verified(report->checked, report->findings->count, ':', text);
    write_findings(report->findings, text);
}

void verification_write_text(const struct verification *verification, struct buffer *text)
{
    if (verification->is_log_damaged)
        buffer_append_text(text, "Log      damaged: services were not compared\n");
    else
        write_log_line(verification->picture, text);
    token_census_write_text(&verification->picture->tokens, text);
    vault_view_write_text(verification->vault, text);
    if (verification->is_full)
        buffer_append_format(text,
                             "Fold     %" PRIu64 " events checked and folded anew from the first\n",
                             verification->folded);
    buffer_append_text(text, "\n");
    if (verification->fixed != NULL && verification->fixed->count > 0) {
        write_list(verification->fixed, '+', text);
        buffer_append_format(text, "Fixed %zu.\n\n", verification->fixed->count);
    }
    write_findings(verification->findings, text);
    if (verification->is_log_damaged)
        return;
    if (verification->findings->count == 0) {
        buffer_append_format(text, "Verified %" PRIu64 " services: what runs is what is wanted.\n",
                             verification->checked);
        return;
    }
    buffer_append_text(text, "\n");
    write_verified(verification->checked, verification->findings->count, '.', text);
}
