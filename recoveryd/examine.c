/* The order is that of trust: the log first, because everything else is compared with it. */
#include "recoveryd/examine.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "recoveryd/archive_check.h"
#include "recoveryd/compare.h"
#include "recoveryd/event_store.h"
#include "recoveryd/fold_check.h"
#include "recoveryd/outbox_check.h"
#include "recoveryd/store_check.h"
#include "recoveryd/token_check.h"

enum { CHAIN_CHECKED = 1000 };

static enum status add_broken_chain(struct examination *examination, uint64_t event)
{
    struct finding finding = {
        .code = FINDING_chain_broken,
        .tenant = "",
        .name = "events",
        .event = event,
    };
    snprintf(finding.reason, sizeof finding.reason,
             "event %" PRIu64 " is damaged, missing, or does not follow the one before it", event);
    return findings_add(&examination->findings, &finding);
}

static enum status examine_all(const struct settings *settings, struct examination *examination)
{
    struct findings *findings = &examination->findings;
    uint64_t next;
    enum status status = fold_check(settings, findings, &examination->folded, &next);
    if (status == STATUS_DATA_LOSS)
        status = add_broken_chain(examination, next);
    TRY(status);
    TRY(archive_check(settings, findings));
    status = store_check(settings, findings);
    if (status != STATUS_DATA_LOSS) /* which is told below */
        TRY(status);
    status = token_check(settings, findings);
    if (status ==
        STATUS_NOT_FOUND) /* a head or a link of the log names it; the chain has shown it */
        status = log_failure(STATUS_DATA_LOSS, "compare tokens with the log", "reason",
                             "an event that it names is missing");
    return status == STATUS_DATA_LOSS ? STATUS_OK : status;
}

static void ignore_failure(const char *what, const char *reason)
{
    (void)what, (void)reason; /* it was logged before */
}

/* The first of the newest events that is damaged; 0 when it is not that. */
static uint64_t broken_event(const struct settings *settings)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t last, first, begin, checked = 0;
    if (event_store_open_unprobed(&store, settings->data_dir) != STATUS_OK ||
        db_begin_read(&store.db, &txn) != STATUS_OK || event_log_last(&txn, &last) != STATUS_OK ||
        event_log_first(&txn, &begin) != STATUS_OK)
        return 0;
    first = last > CHAIN_CHECKED ? last - CHAIN_CHECKED + 1 : 1;
    first = first < begin ? begin : first;
    bool is_broken = event_log_verify(&txn, first, CHAIN_CHECKED, &checked) == STATUS_DATA_LOSS;
    return is_broken ? first + checked : 0;
}

static enum status add_damaged_log(const struct settings *settings, struct examination *examination)
{
    const struct finding finding = { .code = FINDING_log_damaged, .tenant = "", .name = "events" };
    bool is_told = findings_need(&examination->findings, FIX_DAMAGE) ||
                   findings_need(&examination->findings, FIX_FOLD);
    if (is_told)
        return STATUS_OK;
    log_divert_failures(ignore_failure);
    uint64_t event = broken_event(settings);
    log_divert_failures(NULL);
    return event == 0 ? findings_add(&examination->findings, &finding)
                      : add_broken_chain(examination, event);
}

static enum status add_fork(struct examination *examination)
{
    const struct log_branch *branch = &examination->picture.log.branch;
    char text[LOG_FORK_TEXT_BYTES];
    struct finding finding = {
        .code = FINDING_log_forked,
        .tenant = "",
        .name = "events",
        .event = branch->anchor.id,
    };
    snprintf(finding.reason, sizeof finding.reason, "%s", log_branch_text(branch, text));
    return branch->is_forked ? findings_add(&examination->findings, &finding) : STATUS_OK;
}

static enum status compare(const struct settings *settings, struct examination *examination)
{
    AUTO(findings_close) struct findings differences = { 0 };
    TRY(compare_wanted_with_actual(settings, NULL, NULL, &differences, &examination->checked));
    TRY(findings_add_all(&examination->findings, &differences));
    TRY(picture_take(settings, &examination->picture));
    examination->has_picture = true;
    return add_fork(examination);
}

static enum status examine_tokens(const struct settings *settings, struct examination *examination)
{
    struct token_census *census = &examination->picture.tokens;
    token_census_take(settings, census);
    if (!token_census_needs_person(census))
        TRY(outbox_check(settings, &examination->findings));
    token_census_note(census);
    if (!token_census_needs_person(census))
        return STATUS_OK;
    struct finding finding = {
        .code = FINDING_tokens_damaged,
        .tenant = "",
        .name = "tokens",
    };
    if (!census->is_unreadable)
        snprintf(finding.reason, sizeof finding.reason, "%" PRIu64 " rows are damaged%s",
                 census->damaged, census->has_digest ? "" : "; others are missing or extra");
    return findings_add(&examination->findings, &finding);
}

enum status examine(const struct settings *settings, bool is_full, struct examination *examination)
{
    enum status status = projection_check(settings, &examination->findings);
    if (status != STATUS_DATA_LOSS)
        TRY(status);
    if (status == STATUS_OK)
        TRY(checkpoint_check(settings, &examination->findings));
    if (is_full && status == STATUS_OK)
        TRY(examine_all(settings, examination));
    if (status == STATUS_OK)
        status = compare(settings, examination);
    if (status == STATUS_DATA_LOSS)
        status = add_damaged_log(settings, examination);
    TRY(status);
    TRY(examine_tokens(settings, examination));
    return vault_check(settings, is_full ? VAULT_VERIFY : VAULT_VERIFY_SOON, &examination->findings,
                       &examination->vault);
}

void examination_close(struct examination *examination)
{
    picture_close(&examination->picture);
    findings_close(&examination->findings);
    *examination = (struct examination){ 0 };
}
