/* Comparing, and with --fix repairing what is safe to repair. */
#include "recoveryd/verify_command.h"

#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/store_child.h"
#include "recoveryd/event_store.h"
#include "recoveryd/examine.h"
#include "recoveryd/exit_codes.h"
#include "recoveryd/fix.h"
#include "recoveryd/peer.h"
#include "recoveryd/report_json.h"
#include "recoveryd/report_text.h"

enum { REPORT_BYTES_MAX = 64 * 1024 * 1024, TELL_MS_MAX = 1000 };

/* solod shows it, and where something else runs the daemons deployd does. */
static void tell(const struct settings *settings, const struct verification *verification, int code)
{
    AUTO(peer_close) struct peer solod = { 0 }, deployd = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = FRAME_BYTES_SMALL };
    const struct system_verified_request request = {
        .exit_code = (uint64_t)code,
        .checked = verification->checked,
        .found = verification->findings->count,
        .took_ms = verification->took_ms,
        .is_full = verification->is_full,
    };
    const struct verification_note_request note = {
        .exit_code = request.exit_code,
        .checked = request.checked,
        .found = request.found,
        .took_ms = request.took_ms,
        .is_full = request.is_full,
    };
    struct system_verified_reply reply;
    struct verification_note_reply noted;
    struct problem problem;
    if (peer_open_daemon(&solod, settings->run_dir, "solod") == STATUS_OK &&
        peer_ask(&solod, TELL_MS_MAX, &method_system_verified, &request, &arena, &reply,
                 &problem) == STATUS_OK)
        return;
    if (peer_open_daemon(&deployd, settings->run_dir, "deployd") == STATUS_OK)
        (void)peer_ask(&deployd, TELL_MS_MAX, &method_verification_note, &note, &arena, &noted,
                       &problem);
}

static enum status write_report(const struct verification *verification,
                                const struct options *options, struct buffer *text)
{
    if (options->output == OUTPUT_JSON)
        verification_write_json(verification, text);
    else
        verification_write_text(verification, text);
    return text->is_exhausted ? log_failure(STATUS_RESOURCE_EXHAUSTED, "print the findings")
                              : STATUS_OK;
}

static enum status print(const struct verification *verification, const struct options *options)
{
    AUTO(buffer_close) struct buffer text = { .limit = REPORT_BYTES_MAX };
    TRY(write_report(verification, options, &text));
    return fd_write_all(STDOUT_FILENO, buffer_span(&text));
}

/* The report of a verification that a damaged page ends: there is nobody left to write it then. */
static enum status prepare_last_words(const struct options *options)
{
    static struct buffer text = { .limit = FRAME_BYTES_SMALL };
    AUTO(findings_close) struct findings findings = { 0 };
    const struct finding finding = {
        .code = FINDING_log_damaged,
        .tenant = "",
        .name = "events",
        .reason = "a page of the event store cannot be: reading it ended the verification",
    };
    const struct picture none = { .tokens.is_skipped = true };
    const struct vault_view vault = { .state = "not shown" };
    const struct verification verification = {
        .picture = &none,
        .findings = &findings,
        .is_full = options->is_full,
        .is_log_damaged = true,
        .vault = &vault,
    };
    TRY(findings_add(&findings, &finding));
    buffer_clear(&text);
    TRY(write_report(&verification, options, &text));
    event_store_guard_words(buffer_span(&text));
    return STATUS_OK;
}

static int exit_code(const struct examination *examination, const struct options *options)
{
    const struct findings *findings = &examination->findings;
    bool needs_person = findings_need(findings, FIX_PERSON) || findings_need(findings, FIX_ORPHAN);
    if (!examination->has_picture || findings_need(findings, FIX_DAMAGE) ||
        examination->picture.log.is_live_damaged)
        return status_exit_code(STATUS_DATA_LOSS);
    if (!options->has_detailed_exitcode || findings->count == 0)
        return 0;
    return needs_person ? EXIT_PERSON_NEEDED : EXIT_CHANGES_DUE;
}

static enum status verify(const struct settings *settings, const struct options *options, int *code)
{
    AUTO(examination_close) struct examination examination = { 0 };
    AUTO(findings_close) struct findings fixed = { 0 };
    uint64_t began_ns = clock_boottime_ns();
    TRY(prepare_last_words(options));
    TRY(examine(settings, options->is_full, &examination));
    uint64_t last_event = examination.picture.log.last_event;
    if (options->has_if_event && options->if_event != last_event)
        return log_failure(STATUS_ABORTED, "verify", "reason",
                           "the log has moved on since the event of --if-event", "last_event",
                           NUMBER(last_event));
    enum status repaired =
        options->has_fix ? fix(settings, options, &examination, &fixed) : STATUS_OK;
    if (!examination.has_picture)
        TRY(repaired); /* there is nothing left to tell */
    const struct verification verification = {
        .picture = &examination.picture,
        .findings = &examination.findings,
        .checked = examination.checked,
        .is_full = options->is_full,
        .is_log_damaged = !examination.has_picture,
        .folded = examination.folded,
        .vault = &examination.vault,
        .fixed = options->has_fix ? &fixed : NULL,
        .took_ms = (clock_boottime_ns() - began_ns) / 1000000u,
    };
    *code = exit_code(&examination, options);
    tell(settings, &verification, *code == status_exit_code(STATUS_DATA_LOSS) ? *code : 0);
    bool is_silent = options->is_background && examination.findings.count == 0 && fixed.count == 0;
    if (!is_silent)
        TRY(print(&verification, options));
    return repaired;
}

int verify_command(const struct settings *settings, const struct options *options)
{
    int code = 0;
    if (options->is_background)
        store_child_step_back(); /* nobody waits for it */
    enum status status = verify(settings, options, &code);
    return status == STATUS_OK ? code : status_exit_code(status);
}
