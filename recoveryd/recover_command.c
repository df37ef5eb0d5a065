/* A recovery from end to end. The plan of a dry run and that of a real run come from the same
 * picture. */
#include "recoveryd/recover_command.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/daemon/parent.h"
#include "common/rpc/client.h"
#include "recoveryd/carry_out.h"
#include "recoveryd/compare.h"
#include "recoveryd/exit_codes.h"
#include "recoveryd/identity.h"
#include "recoveryd/report_json.h"
#include "recoveryd/report_text.h"
#include "recoveryd/vault_check.h"

enum { REPORT_BYTES_MAX = 64 * 1024 * 1024, TELL_MS_MAX = 1000 };

static enum status print_report(const struct report *report, const struct options *options)
{
    AUTO(buffer_close) struct buffer text = { .limit = REPORT_BYTES_MAX };
    if (options->output == OUTPUT_JSON)
        report_write_json(report, &text);
    else
        report_write_text(report, options->shows_all, &text);
    if (text.is_exhausted)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "print the report");
    enum status status = fd_write_all(STDOUT_FILENO, buffer_span(&text));
    /* What standard output lacks, the machine may have: this is no overload of ours. */
    return status == STATUS_OK ? STATUS_OK
                               : log_failure(STATUS_CANCELLED, "print the report", "reason",
                                             "standard output does not take it");
}

/* Only shown: whatever it is, it keeps no service down. */
static void vault_look(const struct settings *settings, struct vault_view *view)
{
    AUTO(findings_close) struct findings findings = { 0 };
    (void)vault_check(settings, VAULT_LOOK, &findings, view);
}

static int dry_run_code(const struct picture *picture, const struct options *options)
{
    const struct plan *plan = &picture->plan;
    if (options->has_detailed_exitcode &&
        (picture->log.branch.is_forked || plan_needs_person(plan) ||
         token_census_needs_person(&picture->tokens)))
        return EXIT_PERSON_NEEDED;
    if (options->has_detailed_exitcode && plan_has_changes(plan))
        return EXIT_CHANGES_DUE;
    return 0;
}

/* By a log of yesterday nothing is started and nothing ended: the plan is shown instead. */
static int refuse_forked(const struct picture *picture)
{
    char text[LOG_FORK_TEXT_BYTES];
    log_failure(STATUS_FAILED_PRECONDITION, "recover", "reason", "the log is FORKED", "because",
                log_branch_text(&picture->log.branch, text), "next",
                "put the newer store back, or `recoveryd resolve --keep log`");
    parent_say("the log is FORKED: nothing was recovered");
    return status_exit_code(STATUS_FAILED_PRECONDITION);
}

static int run_code(const struct report *report, const struct options *options)
{
    if (report->is_cut)
        return status_exit_code(STATUS_DEADLINE_EXCEEDED);
    bool needs_person = report->of[RESULT_FAILED] > 0 ||
                        plan_needs_person(&report->picture->plan) ||
                        token_census_needs_person(&report->picture->tokens) ||
                        (report->findings != NULL && report->findings->count > 0);
    return options->has_detailed_exitcode && needs_person ? EXIT_PERSON_NEEDED : 0;
}

/* What the report lists as failed or not attempted is no second finding of the verification. */
static bool is_told(const void *context, const struct finding *finding)
{
    const struct report *report = context;
    const struct plan *plan = &report->picture->plan;
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_entry *entry = &plan->entries[i];
        bool is_undone = report->outcomes[i].result == RESULT_FAILED ||
                         report->outcomes[i].result == RESULT_SKIPPED ||
                         entry->action == PLAN_REPORT;
        if (is_undone && strcmp(entry->tenant, finding->tenant) == 0 &&
            strcmp(entry->name, finding->name) == 0)
            return true;
    }
    return false;
}

static enum status verify(const struct settings *settings, struct report *report,
                          struct findings *findings, struct vault_view *vault)
{
    TRY(compare_wanted_with_actual(settings, is_told, report, findings, &report->checked));
    TRY(vault_check(settings, VAULT_VERIFY_SOON, findings, vault));
    report->is_verified = true;
    report->findings = findings;
    return STATUS_OK;
}

/* solod shows how the recovery at start ended; this one has resumed it. Without solod (the daemons
 * may be run by something else) there is nobody to tell. */
static void tell_parent(const struct settings *settings, int code)
{
    char path[4096];
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct rpc_client *client = NULL;
    AUTO(arena_close) struct arena arena = { .limit = FRAME_BYTES_SMALL };
    const struct system_recovered_request request = { .exit_code = (uint64_t)code };
    struct system_recovered_reply reply;
    struct problem problem;
    struct rpc_client_options parent = { .path = path };
    identity_set(&parent);
    if (loop != NULL && run_socket_path(path, settings->run_dir, "solod") == STATUS_OK &&
        rpc_client_open(&client, loop, &parent) == STATUS_OK)
        (void)rpc_client_call_wait(client, &method_system_recovered, &request,
                                   &(struct rpc_call_options){ .timeout_ms = TELL_MS_MAX }, &arena,
                                   &reply, &problem);
    rpc_client_close(&client);
    if (loop != NULL)
        ev_loop_destroy(loop);
}

static void close_run(struct carry_out **run)
{
    carry_out_close(run);
}

static enum status recover(const struct settings *settings, const struct options *options,
                           const struct picture *picture, int *code)
{
    AUTO(close_run) struct carry_out *run = NULL;
    AUTO(findings_close) struct findings findings = { 0 };
    struct vault_view vault = { 0 };
    struct report report = { .picture = picture, .vault = &vault };
    TRY(carry_out_open(&run, settings, options, picture));
    TRY(carry_out_run(run, &report));
    if (settings->verify_recovery)
        TRY(verify(settings, &report, &findings, &vault));
    else
        vault_look(settings,
                   &vault); /* after the services: a vaultd that hangs keeps none waiting */
    enum status status = carry_out_finish(run, &report);
    /* What was done is told also when the log could not be told. */
    TRY(print_report(&report, options));
    parent_say("recovered %llu, failed %llu", (unsigned long long)report.of[RESULT_RECOVERED],
               (unsigned long long)report.of[RESULT_FAILED]);
    tell_parent(settings, report.is_cut ? status_exit_code(STATUS_DEADLINE_EXCEEDED) : 0);
    *code = run_code(&report, options);
    return status;
}

static enum status plan_and_recover(const struct settings *settings, const struct options *options,
                                    int *code)
{
    AUTO(picture_close) struct picture picture = { 0 };
    TRY(picture_take(settings, &picture));
    token_census_take(settings, &picture.tokens);
    if (options->has_if_event && options->if_event != picture.log.last_event)
        return log_failure(STATUS_ABORTED, "recover", "reason",
                           "the log has moved on since the event of --if-event", "last_event",
                           NUMBER(picture.log.last_event));
    bool is_forked = picture.log.branch.is_forked;
    if (!options->is_dry_run && !is_forked)
        return recover(settings, options, &picture, code);
    struct vault_view vault;
    vault_look(settings, &vault);
    *code = options->is_dry_run ? dry_run_code(&picture, options) : refuse_forked(&picture);
    return print_report(&(struct report){ .picture = &picture, .vault = &vault }, options);
}

int recover_command(const struct settings *settings, const struct options *options)
{
    int code = 0;
    enum status status = plan_and_recover(settings, options, &code);
    return status == STATUS_OK ? code : status_exit_code(status);
}
