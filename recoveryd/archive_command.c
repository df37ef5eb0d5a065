/* Archives of one log that follow one another are also folded on from one to the next. */
#include "recoveryd/archive_command.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "recoveryd/archives.h"
#include "recoveryd/event_store.h"

struct verification {
    const struct options *options;
    uint8_t key[LOG_PUBLIC_BYTES];
    bool has_key;
    uint8_t log_id[16]; /* whose archives are meant: those of DATA's log, else of the first one */
    bool has_log_id, is_log_readable;
    struct log_fold fold;
    uint8_t folded_id[16]; /* the log that the fold is of */
    json_t *items;         /* NULL: text */
    size_t bad;
};

static void verification_close(struct verification *verification)
{
    log_fold_close(&verification->fold);
    json_decref(verification->items);
}

static char reason[256];

static void note_reason(const char *what, const char *why)
{
    if (reason[0] == '\0')
        snprintf(reason, sizeof reason, "%s", why[0] == '\0' ? what : why);
}

/* "X.archive" -> "X.checkpoint" */
static bool checkpoint_path(const char *path, char beside[4096])
{
    size_t size = strlen(path), suffix = strlen(LOG_ARCHIVE_SUFFIX);
    if (size < suffix || strcmp(path + size - suffix, LOG_ARCHIVE_SUFFIX) != 0)
        return false;
    return snprintf(beside, 4096, "%.*s%s", (int)(size - suffix), path, LOG_CHECKPOINT_SUFFIX) <
           4096;
}

static bool is_by_key(const struct verification *verification,
                      const struct log_checkpoint *checkpoint)
{
    return !verification->has_key ||
           memcmp(verification->key, checkpoint->key, sizeof checkpoint->key) == 0;
}

static enum status verify(struct verification *verification, const char *path,
                          struct log_checkpoint *checkpoint)
{
    char beside[4096];
    struct hash digest;
    if (!checkpoint_path(path, beside))
        return log_failure(STATUS_DATA_LOSS, "verify an archive", "reason",
                           "its name does not end with " LOG_ARCHIVE_SUFFIX);
    enum status status = archive_read_checkpoint(beside, checkpoint, &digest);
    if (status == STATUS_NOT_FOUND)
        return log_failure(STATUS_DATA_LOSS, "verify an archive", "reason",
                           "its checkpoint is missing");
    TRY(status);
    if (verification->options->key != NULL && !is_by_key(verification, checkpoint))
        return log_failure(STATUS_DATA_LOSS, "verify an archive", "reason",
                           "its checkpoint is signed by another key");
    if (memcmp(verification->folded_id, checkpoint->store, 16) != 0) {
        log_fold_close(&verification->fold);
        log_fold_open(&verification->fold);
        memcpy(verification->folded_id, checkpoint->store, 16);
    }
    return archive_verify(path, checkpoint, &verification->fold);
}

/* Of named files each may be of any log; in the folder of DATA another log's has no business, and
 * its name may stand where ours should. */
static bool is_of_log(struct verification *verification, const struct log_checkpoint *checkpoint)
{
    if (verification->options->source_count > 0)
        return true;
    if (!verification->has_log_id)
        memcpy(verification->log_id, checkpoint->store, sizeof verification->log_id);
    verification->has_log_id = true;
    return memcmp(verification->log_id, checkpoint->store, sizeof verification->log_id) == 0;
}

static void tell_text(const struct verification *verification, const char *path,
                      const struct log_checkpoint *checkpoint, bool is_ours)
{
    char key[2 * LOG_PUBLIC_BYTES + 1], log[33], own[33];
    printf("%s: ", path);
    if (!is_ours)
        printf("OF ANOTHER LOG than the %s, which is %s: ",
               verification->is_log_readable ? "one of this DATA" : "first archive here",
               hex_text(own, verification->log_id, 16));
    printf("events %" PRIu64 " to %" PRIu64 " of log %s, %" PRIu64
           " bytes, chain intact, signed by %s%s\n",
           checkpoint->first, checkpoint->last, hex_text(log, checkpoint->store, 16),
           checkpoint->bytes, hex_text(key, checkpoint->key, LOG_PUBLIC_BYTES),
           is_by_key(verification, checkpoint)
               ? ""
               : ", which is not the key of this DATA: an earlier one, or a stranger's");
}

struct verdict {
    struct log_checkpoint checkpoint;
    bool is_good;
    bool is_ours; /* it may stand for the events that its name says, whole or damaged */
};

static enum status judge(struct verification *verification, const char *path,
                         struct verdict *verdict)
{
    *verdict = (struct verdict){ 0 };
    reason[0] = '\0';
    log_divert_failures(note_reason);
    enum status status = verify(verification, path, &verdict->checkpoint);
    log_divert_failures(NULL);
    if (status == STATUS_RESOURCE_EXHAUSTED || status == STATUS_IO)
        return log_failure(status, "verify an archive", "path", path, "reason", reason);
    verdict->is_good = status == STATUS_OK;
    verdict->is_ours = !verdict->is_good || is_of_log(verification, &verdict->checkpoint);
    verification->bad += !verdict->is_good || !verdict->is_ours;
    return STATUS_OK;
}

static void tell_json(json_t *items, const char *path, const struct verdict *verdict)
{
    char key[2 * LOG_PUBLIC_BYTES + 1], digest[HASH_TEXT_BYTES], log[33];
    const struct log_checkpoint *checkpoint = &verdict->checkpoint;
    json_t *item = json_pack("{s:s, s:b}", "path", path, "intact", verdict->is_good);
    if (verdict->is_good)
        json_object_update_new(
            item, json_pack("{s:s, s:b, s:I, s:I, s:I, s:s, s:s}", "log",
                            hex_text(log, checkpoint->store, 16), "of_another_log",
                            !verdict->is_ours, "first", (json_int_t)checkpoint->first, "last",
                            (json_int_t)checkpoint->last, "bytes", (json_int_t)checkpoint->bytes,
                            "digest", hex_text(digest, checkpoint->archive.bytes, HASH_BYTES),
                            "key", hex_text(key, checkpoint->key, LOG_PUBLIC_BYTES)));
    else
        json_object_set_new(item, "reason", json_string(reason));
    json_array_append_new(items, item);
}

static void tell(const struct verification *verification, const char *path,
                 const struct verdict *verdict)
{
    if (verification->items != NULL)
        tell_json(verification->items, path, verdict);
    else if (verdict->is_good)
        tell_text(verification, path, &verdict->checkpoint, verdict->is_ours);
    else
        printf("%s: DAMAGED: %s\n", path, reason);
}

static enum status read_log(struct verification *verification, const struct settings *settings,
                            uint64_t *begins)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(event_store_open(&store, settings->data_dir));
    TRY(db_begin_read(&store.db, &txn));
    TRY(event_log_first(&txn, begins));
    memcpy(verification->log_id, store.db.identity.id, sizeof verification->log_id);
    verification->has_log_id = verification->is_log_readable = true;
    return STATUS_OK;
}

/* Which log it is, and where it begins; 1 when it cannot be read. */
static uint64_t find_log(struct verification *verification, const struct settings *settings)
{
    static const char unread[] = "No archive was verified. Named, they are without the log: "
                                 "`recoveryd archive FILE...`\n";
    uint64_t begins = 1;
    event_store_guard_words(span_of_text(unread));
    enum status status = read_log(verification, settings, &begins);
    event_store_guard_words((struct span){ 0 });
    if (status != STATUS_OK)
        fprintf(stderr,
                "recoveryd: the log of %s cannot be read (%s): whether the archives are "
                "of it, and lead to where it begins, was not compared\n",
                settings->data_dir, status_text(status));
    return begins;
}

/* The archives of DATA begin with event 1, each follows another one, and the log the last. */
static void tell_missing(struct verification *verification, uint64_t first, uint64_t last)
{
    verification->bad++;
    if (verification->items == NULL)
        printf("events %" PRIu64 " to %" PRIu64 ": MISSING: no archive has them\n", first, last);
    else
        json_array_append_new(verification->items,
                              json_pack("{s:b, s:I, s:I, s:s}", "intact", 0, "first",
                                        (json_int_t)first, "last", (json_int_t)last, "reason",
                                        "no archive has them"));
}

static enum status tell_own(struct verification *verification, const struct settings *settings)
{
    AUTO(archives_close) struct archives archives = { 0 };
    uint64_t next = 1, begins = find_log(verification, settings); /* first: the rest is archived */
    TRY(archives_list(settings, &archives));
    for (size_t i = 0; i < archives.count; i++) {
        const struct archive_range *range = &archives.items[i];
        struct verdict verdict;
        char path[4096];
        TRY(archives_path(&archives, range, LOG_ARCHIVE_SUFFIX, path));
        TRY(judge(verification, path, &verdict));
        if (verdict.is_ours && range->first > next)
            tell_missing(verification, next, range->first - 1);
        if (verdict.is_ours && range->last >= next)
            next = range->last + 1;
        tell(verification, path, &verdict);
    }
    if (begins > next)
        tell_missing(verification, next, begins - 1);
    return STATUS_OK;
}

/* --key, else the public key of DATA when its own archives are meant. */
static enum status find_key(struct verification *verification, const struct settings *settings)
{
    const struct options *options = verification->options;
    if (options->key != NULL)
        verification->has_key = hex_parse(options->key, verification->key, LOG_PUBLIC_BYTES);
    else if (options->source_count == 0)
        verification->has_key =
            log_key_read_public(settings->data_dir, verification->key) == STATUS_OK;
    return STATUS_OK;
}

static enum status verify_all(const struct settings *settings, const struct options *options,
                              int *code)
{
    AUTO(verification_close)
    struct verification verification = {
        .options = options,
        .items = options->output == OUTPUT_JSON ? json_array() : NULL,
    };
    log_fold_open(&verification.fold);
    TRY(find_key(&verification, settings));
    if (options->source_count == 0)
        TRY(tell_own(&verification, settings));
    for (unsigned i = 0; i < options->source_count; i++) {
        struct verdict verdict;
        TRY(judge(&verification, options->sources[i], &verdict));
        tell(&verification, options->sources[i], &verdict);
    }
    if (verification.items != NULL) {
        json_t *document = json_pack("{s:s, s:i, s:O}", "kind", "archives", "schema", 1, "items",
                                     verification.items);
        json_dumpf(document, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(document);
    }
    *code = verification.bad == 0 ? 0 : status_exit_code(STATUS_DATA_LOSS);
    return STATUS_OK;
}

int archive_command(const struct settings *settings, const struct options *options)
{
    int code = 0;
    enum status status = verify_all(settings, options, &code);
    return status == STATUS_OK ? code : status_exit_code(status);
}
