/* Record, repair, look again, record. What eventd folds anew changes what is wanted, so that comes
 * first and the plan is made after it. Cut off at any point and run again it goes on: what is right
 * by then is not found any more. */
#include "recoveryd/fix.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "recoveryd/carry_out.h"
#include "recoveryd/peer.h"

enum { CALL_MS_MAX = 30 * 1000, FOLD_MS_MAX = 10 * 60 * 1000, ANSWER_BYTES_MAX = 64 * 1024 };

struct repair {
    const struct settings *settings;
    const struct options *options;
    struct examination *examination;
    struct peer deployd;
};

static void repair_close(struct repair *repair)
{
    peer_close(&repair->deployd);
}

static bool is_fixable(const struct repair *repair, const struct finding *finding)
{
    switch (finding_fix(finding)) {
    case FIX_PLAN:
    case FIX_FOLD:
    case FIX_END:
        return true;
    case FIX_ORPHAN:
        return repair->options->has_fix_orphans;
    case FIX_PERSON:
    case FIX_DAMAGE:
        break;
    }
    return false;
}

/* Sent again under the same request_id when the answer was lost. */
static enum status ask(struct peer *peer, uint64_t timeout_ms, const struct method *method,
                       const void *request, void *reply, struct problem *problem)
{
    AUTO(arena_close) struct arena arena = { .limit = ANSWER_BYTES_MAX };
    struct uuid request_id = uuid_draw();
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = timeout_ms,
        .request_id = method->flags & METHOD_MUTATES ? &request_id : NULL,
    };
    return rpc_client_call_wait(peer->client, method, request, &options, &arena, reply, problem);
}

/* --- the log --- */

static enum status record(struct repair *repair, const struct finding *finding, uint64_t found_id,
                          uint64_t *event_id)
{
    AUTO(buffer_close) struct buffer evidence = { .limit = FRAME_BYTES_SMALL };
    struct verification_record_reply reply = { 0 };
    struct problem problem = { 0 };
    bool is_service = finding->tenant[0] != '\0' && finding->name[0] != '\0';
    write_map(&evidence, 6);
    write_key_str(&evidence, "about", finding->tenant[0] != '\0' ? finding->tenant : finding->name);
    write_key_u64(&evidence, "generation", finding->generation);
    write_key_u64(&evidence, "running_generation", finding->running_generation);
    write_key_u64(&evidence, "pid", finding->pid);
    write_key_u64(&evidence, "event", finding->event);
    write_key_str(&evidence, "reason", finding->reason);
    const struct verification_record_request request = {
        .tenant = is_service ? finding->tenant : "",
        .name = is_service ? finding->name : "",
        .code = finding_code_name(finding->code),
        .finding = buffer_span(&evidence),
        .found_id = found_id,
    };
    enum status status =
        ask(&repair->deployd, CALL_MS_MAX, &method_verification_record, &request, &reply, &problem);
    if (status != STATUS_OK)
        return log_failure(status, "record what was found", "code", request.code, "reason",
                           problem.message);
    *event_id = reply.event_id;
    return STATUS_OK;
}

static enum status record_found(struct repair *repair)
{
    struct findings *findings = &repair->examination->findings;
    for (size_t i = 0; i < findings->count; i++)
        if (is_fixable(repair, &findings->items[i]))
            TRY(record(repair, &findings->items[i], 0, &findings->items[i].found_id));
    return STATUS_OK;
}

static enum status record_fixed(struct repair *repair, const struct findings *before,
                                struct findings *fixed)
{
    for (size_t i = 0; i < before->count; i++) {
        const struct finding *finding = &before->items[i];
        uint64_t event_id;
        if (finding->found_id == 0 || findings_have_still(&repair->examination->findings, finding))
            continue;
        TRY(record(repair, finding, finding->found_id, &event_id));
        TRY(findings_add(fixed, finding));
    }
    return STATUS_OK;
}

/* --- repairs --- */

static enum status fold_anew(struct repair *repair)
{
    AUTO(peer_close) struct peer eventd = { 0 };
    const struct event_fold_request request = {};
    struct event_fold_reply reply = { 0 };
    struct problem problem = { 0 };
    if (!findings_need(&repair->examination->findings, FIX_FOLD))
        return STATUS_OK;
    enum status status = peer_open_daemon(&eventd, repair->settings->run_dir, "eventd");
    if (status == STATUS_OK)
        status = ask(&eventd, FOLD_MS_MAX, &method_event_fold, &request, &reply, &problem);
    if (status != STATUS_OK)
        return log_failure(status, "have eventd fold the log anew", "reason", problem.message);
    log_info("eventd has folded the log anew", "events", NUMBER(reply.events));
    return STATUS_OK;
}

static enum status end_processes(struct repair *repair)
{
    const struct findings *findings = &repair->examination->findings;
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        struct process_end_reply reply;
        struct problem problem = { 0 };
        if (finding->found_id == 0 || finding->instance[0] == '\0')
            continue;
        const struct process_end_request request = {
            .pid = finding->pid,
            .start_ticks = finding->start_ticks,
            .instance = finding->instance,
        };
        enum status status =
            ask(&repair->deployd, CALL_MS_MAX, &method_process_end, &request, &reply, &problem);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            log_warning("a process was not ended", "pid", NUMBER(finding->pid), "reason",
                        problem.message);
    }
    return STATUS_OK;
}

/* What was found about the entry's service; 0 for nothing that a plan mends. */
static uint64_t cause_of(const struct repair *repair, const struct plan_entry *entry)
{
    const struct findings *findings = &repair->examination->findings;
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        bool is_planned = finding_fix(finding) == FIX_PLAN || finding_fix(finding) == FIX_FOLD ||
                          finding->code == FINDING_no_record;
        if (is_planned && finding->found_id != 0 && strcmp(finding->tenant, entry->tenant) == 0 &&
            strcmp(finding->name, entry->name) == 0)
            return finding->found_id;
    }
    return 0;
}

static void close_run(struct carry_out **run)
{
    carry_out_close(run);
}

static void free_causes(uint64_t **causes)
{
    free(*causes);
}

static enum status carry_out_plan(struct repair *repair)
{
    AUTO(picture_close) struct picture picture = { 0 };
    AUTO(close_run) struct carry_out *run = NULL;
    AUTO(free_causes) uint64_t *causes = NULL;
    struct report report = { .picture = &picture };
    size_t due = 0;
    TRY(picture_take(repair->settings, &picture));
    causes = calloc(picture.plan.count + 1, sizeof *causes);
    if (causes == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < picture.plan.count; i++) {
        struct plan_entry *entry = &picture.plan.entries[i];
        causes[i] = cause_of(repair, entry);
        due += causes[i] != 0;
        /* What has no record is only reported, unless an operator wants it ended. */
        if (entry->action == PLAN_REPORT && causes[i] != 0)
            entry->action = PLAN_STOP;
    }
    if (due == 0)
        return STATUS_OK;
    TRY(carry_out_open_repair(&run, repair->settings, repair->options, &picture, causes));
    return carry_out_run(run, &report);
}

static enum status repair_all(struct repair *repair)
{
    TRY(record_found(repair));
    TRY(fold_anew(repair));
    TRY(end_processes(repair));
    return carry_out_plan(repair);
}

enum status fix(const struct settings *settings, const struct options *options,
                struct examination *examination, struct findings *fixed)
{
    AUTO(repair_close)
    struct repair repair = { settings, options, examination, { 0 } };
    AUTO(examination_close) struct examination before = { 0 };
    bool is_needed = false;
    for (size_t i = 0; i < examination->findings.count; i++)
        is_needed = is_needed || is_fixable(&repair, &examination->findings.items[i]);
    if (!is_needed)
        return STATUS_OK;
    if (examination->picture.log.branch.is_forked)
        return log_failure(STATUS_FAILED_PRECONDITION, "repair", "reason",
                           "the log is FORKED: first put the newer store back, or `recoveryd "
                           "resolve --keep log`");
    enum status status = peer_open_daemon(&repair.deployd, settings->run_dir, "deployd");
    if (status != STATUS_OK)
        return log_failure(status, "repair", "reason", "deployd does not answer", "hint",
                           "without daemons the next start recovers what is due");
    TRY(repair_all(&repair));
    before = *examination;
    *examination = (struct examination){ 0 };
    TRY(examine(settings, options->is_full, examination));
    return record_fixed(&repair, &before.findings, fixed);
}
