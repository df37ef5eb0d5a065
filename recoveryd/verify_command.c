/* Comparing without repairing. */
#include "recoveryd/verify_command.h"

#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "recoveryd/compare.h"
#include "recoveryd/exit_codes.h"
#include "recoveryd/fold_check.h"
#include "recoveryd/report_json.h"
#include "recoveryd/report_text.h"
#include "recoveryd/token_check.h"

enum { REPORT_BYTES_MAX = 64 * 1024 * 1024 };

static enum status verify(const struct settings *settings, const struct options *options, int *code)
{
    AUTO(findings_close) struct findings findings = { 0 };
    AUTO(picture_close) struct picture picture = { 0 };
    AUTO(buffer_close) struct buffer text = { .limit = REPORT_BYTES_MAX };
    uint64_t began_ns = clock_boottime_ns();
    struct verification verification = {
        .picture = &picture,
        .findings = &findings,
        .is_full = options->is_full,
    };
    if (options->is_full)
        TRY(fold_check(settings, &findings, &verification.folded));
    if (options->is_full)
        TRY(token_check(settings, &findings));
    AUTO(findings_close) struct findings differences = { 0 };
    TRY(compare_wanted_with_actual(settings, NULL, NULL, &differences, &verification.checked));
    for (size_t i = 0; i < differences.count; i++)
        TRY(findings_add(&findings, &differences.items[i]));
    TRY(picture_take(settings, &picture));
    token_census_take(settings, &picture.tokens);
    if (options->has_if_event && options->if_event != picture.log.last_event)
        return log_failure(STATUS_ABORTED, "verify", "reason",
                           "the log has moved on since the event of --if-event", "last_event",
                           NUMBER(picture.log.last_event));
    verification.took_ms = (clock_boottime_ns() - began_ns) / 1000000u;
    if (options->output == OUTPUT_JSON)
        verification_write_json(&verification, &text);
    else
        verification_write_text(&verification, &text);
    if (text.is_exhausted)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "print the findings");
    bool needs_person = findings.count > 0 || token_census_needs_person(&picture.tokens);
    *code = options->has_detailed_exitcode && needs_person ? EXIT_PERSON_NEEDED : 0;
    if (picture.log.is_live_damaged)
        *code = status_exit_code(STATUS_DATA_LOSS);
    return fd_write_all(STDOUT_FILENO, buffer_span(&text));
}

int verify_command(const struct settings *settings, const struct options *options)
{
    int code = 0;
    enum status status = verify(settings, options, &code);
    return status == STATUS_OK ? code : status_exit_code(status);
}
