/* Comparing, and with --fix repairing what is safe to repair. */
#include "recoveryd/verify_command.h"

#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "recoveryd/examine.h"
#include "recoveryd/exit_codes.h"
#include "recoveryd/fix.h"
#include "recoveryd/report_json.h"
#include "recoveryd/report_text.h"

enum { REPORT_BYTES_MAX = 64 * 1024 * 1024 };

static enum status print(const struct verification *verification, const struct options *options)
{
    AUTO(buffer_close) struct buffer text = { .limit = REPORT_BYTES_MAX };
    if (options->output == OUTPUT_JSON)
        verification_write_json(verification, &text);
    else
        verification_write_text(verification, &text);
    if (text.is_exhausted)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "print the findings");
    return fd_write_all(STDOUT_FILENO, buffer_span(&text));
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
    TRY(examine(settings, options->is_full, &examination));
    uint64_t last_event = examination.picture.log.last_event;
    if (options->has_if_event && options->if_event != last_event)
        return log_failure(STATUS_ABORTED, "verify", "reason",
                           "the log has moved on since the event of --if-event", "last_event",
                           NUMBER(last_event));
    if (options->has_fix)
        TRY(fix(settings, options, &examination, &fixed));
    const struct verification verification = {
        .picture = &examination.picture,
        .findings = &examination.findings,
        .checked = examination.checked,
        .is_full = options->is_full,
        .is_log_damaged = !examination.has_picture,
        .folded = examination.folded,
        .vault = examination.vault,
        .fixed = options->has_fix ? &fixed : NULL,
        .took_ms = (clock_boottime_ns() - began_ns) / 1000000u,
    };
    *code = exit_code(&examination, options);
    return print(&verification, options);
}

int verify_command(const struct settings *settings, const struct options *options)
{
    int code = 0;
    enum status status = verify(settings, options, &code);
    return status == STATUS_OK ? code : status_exit_code(status);
}
