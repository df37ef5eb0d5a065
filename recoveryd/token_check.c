/* What became of a token is what was told of it last: in the outbox, or, if that says nothing, in
 * the log at the head of its subject. The store is read before the log, so that what passes from
 * the outbox into the log meanwhile is seen in one of them. */
#include "recoveryd/token_check.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/access/token_text.h"
#include "common/api/records/event_log.h"
#include "common/api/records/log_cut.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "recoveryd/event_store.h"
#include "recoveryd/outbox_fates.h"
#include "recoveryd/token_census.h"

enum { SLICE = 1000, LOOKS = 3, ARENA_BYTES = 2 * 1024 * 1024 };
static const struct timespec moment = { .tv_nsec = 150 * 1000 * 1000 };
static const uint64_t slack_ns = 3600 * 1000000000ull;
static const char subject_prefix[] = "token/";

struct token_check {
    struct event_store log;
    struct db tokens;
    bool has_tokens, is_without_trace;
    struct outbox_fates
        fates; /* as they were read last: again when they do not explain something */
    struct findings *findings;
    size_t found; /* of ours */
};

static void token_check_close(struct token_check *check)
{
    event_store_close(&check->log);
    db_close(&check->tokens);
    outbox_fates_close(&check->fates);
}

static enum status fate_in_log(struct db_txn *txn, const char *subject, enum token_fate *fate,
                               uint64_t *event_id)
{
    AUTO(arena_close) struct arena arena = { .limit = ARENA_BYTES };
    struct event event;
    TRY(event_log_head(txn, HEAD_OF_SUBJECT, subject, event_id));
    if (*event_id == 0)
        return STATUS_OK;
    TRY(event_log_read(txn, *event_id, &arena, &event));
    *fate = token_fate_of(event.type);
    return STATUS_OK;
}

/* --- one token --- */

static enum status has_row(struct db_txn *txn, const struct uuid *accessor, bool *is_there,
                           uint64_t *granted_ns)
{
    struct token_record record;
    struct span row;
    struct span hash;
    *is_there = false;
    *granted_ns = UINT64_MAX;
    enum status status =
        table_get(txn, TOKENS_BY_ACCESSOR, span_of(accessor->bytes, UUID_BYTES), &hash);
    if (status == STATUS_OK)
        status = table_get(txn, TOKENS_TOKENS, hash, &row);
    if (status == STATUS_OK && token_record_decode(row, &record) == STATUS_OK)
        *granted_ns = record.granted_ns;
    *is_there = status == STATUS_OK || status == STATUS_DATA_LOSS; /* damage is counted elsewhere */
    return status == STATUS_NOT_FOUND || status == STATUS_DATA_LOSS ? STATUS_OK : status;
}

/* What was granted before the log begins, and was not heard of since, has no event to be compared
 * with. Trusted time and the events' clock may differ a little. */
static enum status is_archived(struct db_txn *log, uint64_t event_id, uint64_t granted_ns,
                               bool *is_archived)
{
    struct log_cut cut;
    TRY(log_cut_read(log, &cut));
    *is_archived = event_id == 0 && cut.id != 0 && granted_ns <= cut.wall_ns + slack_ns;
    return STATUS_OK;
}

/* What was read before may be older than the rows: it explains a difference, and does not make one.
 */
static enum status ask_outbox(struct token_check *check, struct db_txn *tokens,
                              const struct uuid *accessor, bool is_there, enum token_fate *fate)
{
    outbox_fates_apply(&check->fates, accessor, fate);
    if (is_there == (*fate == LIVES))
        return STATUS_OK;
    TRY(outbox_fates_read(tokens, &check->fates));
    outbox_fates_apply(&check->fates, accessor, fate);
    return STATUS_OK;
}

/* *code: what is wrong, FINDING_CODES for nothing. */
static enum status look(struct token_check *check, const char *accessor, enum finding_code *code,
                        uint64_t *event_id)
{
    AUTO(db_end) struct db_txn tokens = { 0 };
    AUTO(db_end) struct db_txn log = { 0 };
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
    enum token_fate fate = NEVER_GRANTED;
    bool is_there = false, has_gone = false;
    struct uuid uuid;
    uint64_t granted_ns = UINT64_MAX;
    snprintf(subject, sizeof subject, "%s%s", subject_prefix, accessor);
    bool may_be_there = check->has_tokens && accessor_parse(accessor, &uuid) == STATUS_OK;
    if (may_be_there) {
        TRY(db_begin_read(&check->tokens, &tokens));
        TRY(has_row(&tokens, &uuid, &is_there, &granted_ns));
    }
    TRY(db_begin_read(&check->log.db, &log));
    TRY(fate_in_log(&log, subject, &fate, event_id));
    TRY(is_archived(&log, *event_id, granted_ns, &has_gone));
    if (has_gone)
        fate = LIVES;
    if (may_be_there && is_there != (fate == LIVES)) /* the outbox is read when it matters */
        TRY(ask_outbox(check, &tokens, &uuid, is_there, &fate));
    *code = is_there == (fate == LIVES) ? FINDING_CODES
            : is_there                  ? FINDING_token_extra
                                        : FINDING_token_missing;
    return STATUS_OK;
}

/* Each walk tells of what the other does not meet. */
static enum status examine(struct token_check *check, const char *tenant, const char *accessor,
                           enum finding_code told)
{
    enum finding_code code = FINDING_CODES;
    uint64_t event_id = 0;
    for (int i = 0; i < LOOKS; i++) {
        if (i > 0)
            nanosleep(&moment, NULL);
        TRY(look(check, accessor, &code, &event_id));
        if (code != told)
            return STATUS_OK;
    }
    check->found++;
    return findings_add(
        check->findings,
        &(struct finding){ .code = code, .tenant = tenant, .name = accessor, .event = event_id });
}

/* --- all rows --- */

static enum status check_rows(struct token_check *check, uint8_t at[UUID_BYTES], bool *is_done)
{
    static struct {
        char accessor[ACCESSOR_TEXT_BYTES], tenant[NAME_BYTES_MAX + 1];
    } rows[SLICE];
    size_t count = 0;
    enum status status;
    {
        AUTO(db_end) struct db_txn txn = { 0 };
        AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
        struct span key, hash, row;
        TRY(db_begin_read(&check->tokens, &txn));
        TRY(table_cursor_open(&txn, TOKENS_BY_ACCESSOR, &cursor));
        status = table_cursor_seek(&cursor, span_of(at, UUID_BYTES), &key, &hash);
        for (; status == STATUS_OK && count < SLICE;
             status = table_cursor_next(&cursor, &key, &hash)) {
            struct token_record record;
            if (key.size != UUID_BYTES || memcmp(key.data, at, UUID_BYTES) == 0 ||
                table_get(&txn, TOKENS_TOKENS, hash, &row) != STATUS_OK ||
                token_record_decode(row, &record) != STATUS_OK)
                continue; /* what is damaged is counted elsewhere */
            accessor_text(rows[count].accessor, &record.accessor);
            memcpy(rows[count].tenant, record.tenant, sizeof record.tenant);
            memcpy(at, key.data, UUID_BYTES);
            count++;
        }
    }
    *is_done = status == STATUS_NOT_FOUND;
    for (size_t i = 0; i < count && check->found < TOKEN_FINDINGS_MAX; i++)
        TRY(examine(check, rows[i].tenant, rows[i].accessor, FINDING_token_extra));
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* --- all grants --- */

/* From the grant `*id` on to older ones; *id becomes the next, 0 after the last. */
static enum status check_grants(struct token_check *check, uint64_t *id)
{
    for (int i = 0; i < SLICE && *id != 0 && check->found < TOKEN_FINDINGS_MAX; i++) {
        AUTO(arena_close) struct arena arena = { .limit = ARENA_BYTES };
        struct event event;
        char tenant[NAME_BYTES_MAX + 1], accessor[ACCESSOR_TEXT_BYTES];
        {
            AUTO(db_end) struct db_txn txn = { 0 };
            TRY(db_begin_read(&check->log.db, &txn));
            uint64_t first;
            TRY(event_log_first(&txn, &first));
            enum status status = event_log_read(&txn, *id, &arena, &event);
            if (status == STATUS_NOT_FOUND && *id < first) {
                *id = 0; /* it and those before were archived meanwhile */
                return STATUS_OK;
            }
            TRY(status);
        }
        *id = event.previous_of_type;
        if (strncmp(event.subject, subject_prefix, sizeof subject_prefix - 1) != 0 ||
            map_bool(event.payload, TOKEN_IS_OF_BOOT, false))
            continue;
        snprintf(tenant, sizeof tenant, "%s", event.tenant);
        snprintf(accessor, sizeof accessor, "%s", event.subject + sizeof subject_prefix - 1);
        TRY(examine(check, tenant, accessor, FINDING_token_missing));
    }
    if (check->found >= TOKEN_FINDINGS_MAX)
        *id = 0;
    return STATUS_OK;
}

static enum status newest_grant(struct token_check *check, uint64_t *id)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&check->log.db, &txn));
    return event_log_head(&txn, HEAD_OF_TYPE, event_type_name(EVENT_capability_granted), id);
}

static enum status check_store(const struct settings *settings, struct findings *findings,
                               bool *is_settled)
{
    AUTO(token_check_close)
    struct token_check check = {
        .tokens.lease = FILE_LOCK_NONE,
        .findings = findings,
    };
    uint64_t grant;
    *is_settled = true;
    enum status status = event_store_open(&check.log, settings->data_dir);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    status = token_census_open_walked(settings, &check.tokens, &check.is_without_trace);
    check.has_tokens = status == STATUS_OK;
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return STATUS_OK; /* it is logged, and the census says that they cannot be read */
    uint8_t at[UUID_BYTES] = { 0 };
    for (bool is_done = !check.has_tokens; !is_done && check.found < TOKEN_FINDINGS_MAX;)
        TRY(check_rows(&check, at, &is_done));
    TRY(newest_grant(&check, &grant));
    while (grant != 0)
        TRY(check_grants(&check, &grant));
    TRY(event_store_is_settled(&check.log, is_settled));
    return *is_settled && check.has_tokens && check.is_without_trace
               ? db_is_stable(&check.tokens, is_settled)
               : STATUS_OK;
}

enum status token_check(const struct settings *settings, struct findings *findings)
{
    bool is_settled = false;
    if (!settings->token_persistence_enabled)
        return STATUS_OK;
    for (int attempt = 0; attempt < LOOKS && !is_settled; attempt++) {
        AUTO(findings_close) struct findings found = { 0 };
        TRY(check_store(settings, &found, &is_settled));
        for (size_t i = 0; is_settled && i < found.count; i++)
            TRY(findings_add(findings, &found.items[i]));
    }
    return is_settled ? STATUS_OK
                      : log_failure(STATUS_ABORTED, "compare tokens with the log", "reason",
                                    "the stores kept changing while no writer held them");
}
