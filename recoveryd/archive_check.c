/* What is logged along the way is the reason of a finding. The cut and what belongs to it are read
 * in one snapshot; archives never change. */
#include "recoveryd/archive_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/log_cut.h"
#include "common/api/records/log_state.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "recoveryd/archives.h"
#include "recoveryd/event_store.h"

enum { ATTEMPTS_MAX = 5 };

struct standing {
    struct log_cut cut;
    struct log_checkpoint checkpoint; /* when has_checkpoint */
    struct hash digest;               /* of its text */
    bool has_checkpoint;
};

/* --- reasons --- */

static char reason[sizeof((struct finding *)0)->reason];

static void note_reason(const char *what, const char *why)
{
    if (reason[0] == '\0')
        snprintf(reason, sizeof reason, "%s: %s", what, why);
}

static void listen(void)
{
    reason[0] = '\0';
    log_divert_failures(note_reason);
}

/* The finding that a failure comes to; any other status than OK and data_loss is passed on. */
static enum status judge(enum status status, enum finding_code code, const char *name,
                         uint64_t event, struct findings *findings)
{
    log_divert_failures(NULL);
    if (status != STATUS_DATA_LOSS && status != STATUS_NOT_FOUND)
        return status;
    struct finding finding = { .code = code, .tenant = "", .name = name, .event = event };
    snprintf(finding.reason, sizeof finding.reason, "%s", reason);
    TRY(findings_add(findings, &finding));
    return STATUS_DATA_LOSS;
}

/* --- the checkpoint --- */

static enum status refuse(const char *why)
{
    return log_failure(STATUS_DATA_LOSS, "compare the log with its checkpoint", "reason", why);
}

static enum status compare_key(const struct settings *settings, const struct standing *standing)
{
    uint8_t key[LOG_PUBLIC_BYTES];
    enum status status = log_key_read_public(settings->data_dir, key);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK; /* a backup that was put back brings none */
    TRY(status);
    return memcmp(key, standing->checkpoint.key, sizeof key) == 0
               ? STATUS_OK
               : refuse("it is signed by another key than DATA/" LOG_PUBLIC_FILE);
}

static enum status read_checkpoint(struct db_txn *txn, struct standing *standing)
{
    struct span text;
    enum status status = log_cut_read_checkpoint(txn, &text);
    if (status == STATUS_NOT_FOUND)
        return standing->cut.id == 0 ? STATUS_OK : refuse("there is none");
    TRY(status);
    standing->digest = hash_of(text);
    TRY(log_checkpoint_read(text, "log.checkpoint", &standing->checkpoint));
    standing->has_checkpoint = true;
    const struct log_checkpoint *checkpoint = &standing->checkpoint;
    const struct log_cut *cut = &standing->cut;
    bool is_same = memcmp(checkpoint->store, txn->db->identity.id, 16) == 0 &&
                   checkpoint->last == cut->id && hash_equal(&checkpoint->hash, &cut->hash) &&
                   hash_equal(&checkpoint->state, &cut->state) &&
                   checkpoint->wall_ns == cut->wall_ns;
    return is_same ? STATUS_OK : refuse("the log begins elsewhere than it says");
}

static enum status read_standing(struct db_txn *txn, const struct settings *settings,
                                 struct standing *standing)
{
    *standing = (struct standing){ 0 };
    TRY(log_cut_read(txn, &standing->cut));
    TRY(read_checkpoint(txn, standing));
    return standing->has_checkpoint ? compare_key(settings, standing) : STATUS_OK;
}

static void free_ids(uint64_t **ids)
{
    free(*ids);
}

/* LMDB lets nobody read on in a snapshot in which a read has failed. `*is_same`: what is archived
 * is still the same. */
static enum status read_anew(struct db_txn *txn, const struct log_cut *cut, bool *is_same)
{
    struct db *db = txn->db;
    uint64_t id;
    db_end(txn);
    TRY(db_begin_read(db, txn));
    TRY(log_cut_id(txn, &id));
    *is_same = id == cut->id;
    return STATUS_OK;
}

static enum status check_kept(struct db_txn *txn, const struct log_cut *cut,
                              struct findings *findings)
{
    bool is_same = true;
    AUTO(free_ids) uint64_t *ids = NULL;
    AUTO(buffer_close) struct buffer state = { .limit = LOG_STATE_BYTES_MAX };
    size_t count;
    TRY(log_cut_read_state(txn, cut, &state));
    TRY(log_state_kept(buffer_span(&state), &ids, &count));
    for (size_t i = 0; i < count && is_same; i++) {
        AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
        struct event event;
        listen();
        enum status status = event_log_read(txn, ids[i], &arena, &event);
        if (status == STATUS_NOT_FOUND)
            note_reason("read event", "it is missing");
        status = judge(status, FINDING_kept_event_damaged, "events", ids[i], findings);
        if (status == STATUS_DATA_LOSS)
            status = read_anew(txn, cut, &is_same);
        TRY(status);
    }
    return STATUS_OK;
}

static enum status check_log(struct db_txn *txn, const struct settings *settings,
                             struct standing *standing, struct findings *findings)
{
    AUTO(log_fold_close) struct log_fold fold = { 0 };
    listen();
    enum status status = read_standing(txn, settings, standing);
    if (status == STATUS_OK)
        status = log_fold_open_at_cut(&fold, txn);
    TRY(judge(status, FINDING_checkpoint_damaged, "events", standing->cut.id, findings));
    return standing->cut.id == 0 ? STATUS_OK : check_kept(txn, &standing->cut, findings);
}

static enum status look(const struct settings *settings, struct standing *standing,
                        struct findings *findings, bool *is_settled)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(db_end) struct db_txn txn = { 0 };
    *is_settled = true;
    *standing = (struct standing){ 0 };
    enum status status = event_store_open(&store, settings->data_dir);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    TRY(db_begin_read(&store.db, &txn));
    status = check_log(&txn, settings, standing, findings);
    db_end(&txn);
    TRY(event_store_is_settled(&store, is_settled));
    return status;
}

static enum status look_until_settled(const struct settings *settings, struct standing *standing,
                                      struct findings *findings)
{
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        AUTO(findings_close) struct findings found = { 0 };
        bool is_settled;
        enum status status = look(settings, standing, &found, &is_settled);
        if (!is_settled)
            continue;
        TRY(findings_add_all(findings, &found));
        return status;
    }
    return log_failure(STATUS_ABORTED, "look where the log begins", "reason",
                       "the store kept changing while no writer held it");
}

enum status checkpoint_check(const struct settings *settings, struct findings *findings)
{
    struct standing standing;
    enum status status = look_until_settled(settings, &standing, findings);
    return status == STATUS_DATA_LOSS ? STATUS_OK : status; /* it is told */
}

/* --- the archives --- */

static enum status check_archive(const struct archives *archives, const struct archive_range *range,
                                 struct log_fold *fold, struct hash *before)
{
    char path[4096];
    struct log_checkpoint checkpoint;
    struct hash digest;
    TRY(archives_path(archives, range, LOG_CHECKPOINT_SUFFIX, path));
    enum status status = archive_read_checkpoint(path, &checkpoint, &digest);
    if (status == STATUS_NOT_FOUND)
        return refuse("its checkpoint is missing");
    TRY(status);
    if (!hash_is_zero(before) && !hash_equal(before, &checkpoint.previous))
        return refuse("its checkpoint does not follow the one before");
    *before = digest;
    TRY(archives_path(archives, range, LOG_ARCHIVE_SUFFIX, path));
    return archive_verify(path, &checkpoint, fold);
}

static enum status tell_missing(const struct archives *archives, uint64_t last,
                                struct findings *findings)
{
    char name[64];
    struct finding finding = {
        .code = FINDING_archive_missing, .tenant = "", .name = name, .event = last
    };
    snprintf(name, sizeof name, "events to %" PRIu64, last);
    snprintf(finding.reason, sizeof finding.reason,
             "%.180s has no archive that ends with event %" PRIu64, archives->folder, last);
    return findings_add(findings, &finding);
}

static enum status check_all(const struct archives *archives, const struct standing *standing,
                             struct findings *findings)
{
    AUTO(log_fold_close) struct log_fold fold = { 0 };
    struct hash before = { { 0 } };
    log_fold_open(&fold);
    for (size_t i = 0; i < archives->count; i++) {
        const struct archive_range *range = &archives->items[i];
        char name[LOG_ARCHIVE_NAME_BYTES];
        log_archive_name(name, range->first, range->last, LOG_ARCHIVE_SUFFIX);
        listen();
        enum status status = check_archive(archives, range, &fold, &before);
        if (status == STATUS_OK && range->last == standing->cut.id &&
            !hash_equal(&before, &standing->digest))
            status = refuse("its checkpoint is another one than the log's");
        status = judge(status, FINDING_archive_damaged, name, range->first, findings);
        if (status == STATUS_DATA_LOSS)
            memset(&before, 0, sizeof before);
        else
            TRY(status);
    }
    return STATUS_OK;
}

enum status archive_check(const struct settings *settings, struct findings *findings)
{
    AUTO(archives_close) struct archives archives = { 0 };
    AUTO(findings_close) struct findings told = { 0 }; /* by checkpoint_check */
    struct standing standing;
    enum status status = look_until_settled(settings, &standing, &told);
    if (status == STATUS_DATA_LOSS || standing.cut.id == 0)
        return STATUS_OK;
    TRY(status);
    TRY(archives_list(settings, &archives));
    archives_lead_to(&archives, standing.cut.id);
    uint64_t missing = archives.count == 0 ? standing.cut.id : archives.items[0].first - 1;
    if (missing > 0)
        TRY(tell_missing(&archives, missing, findings));
    return check_all(&archives, &standing, findings);
}
