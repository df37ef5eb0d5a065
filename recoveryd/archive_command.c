/* Archives that follow one another are also folded on from one to the next. */
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
    struct log_fold fold;
    json_t *items; /* NULL: text */
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
    return archive_verify(path, checkpoint, &verification->fold);
}

static void tell_text(const struct verification *verification, const char *path,
                      const struct log_checkpoint *checkpoint, bool is_good)
{
    char key[2 * LOG_PUBLIC_BYTES + 1];
    if (!is_good)
        printf("%s: DAMAGED: %s\n", path, reason);
    else
        printf("%s: events %" PRIu64 " to %" PRIu64 ", %" PRIu64
               " bytes, chain intact, signed by %s%s\n",
               path, checkpoint->first, checkpoint->last, checkpoint->bytes,
               hex_text(key, checkpoint->key, LOG_PUBLIC_BYTES),
               is_by_key(verification, checkpoint)
                   ? ""
                   : ", which is not the key of this DATA: an earlier one, or a stranger's");
}

static void tell_json(json_t *items, const char *path, const struct log_checkpoint *checkpoint,
                      bool is_good)
{
    char key[2 * LOG_PUBLIC_BYTES + 1], digest[HASH_TEXT_BYTES];
    json_t *item = json_pack("{s:s, s:b}", "path", path, "intact", is_good);
    if (is_good)
        json_object_update_new(
            item,
            json_pack("{s:I, s:I, s:I, s:s, s:s}", "first", (json_int_t)checkpoint->first, "last",
                      (json_int_t)checkpoint->last, "bytes", (json_int_t)checkpoint->bytes,
                      "digest", hex_text(digest, checkpoint->archive.bytes, HASH_BYTES), "key",
                      hex_text(key, checkpoint->key, LOG_PUBLIC_BYTES)));
    else
        json_object_set_new(item, "reason", json_string(reason));
    json_array_append_new(items, item);
}

static enum status tell(struct verification *verification, const char *path)
{
    struct log_checkpoint checkpoint = { 0 };
    reason[0] = '\0';
    log_divert_failures(note_reason);
    enum status status = verify(verification, path, &checkpoint);
    log_divert_failures(NULL);
    if (status == STATUS_RESOURCE_EXHAUSTED || status == STATUS_IO)
        return log_failure(status, "verify an archive", "path", path, "reason", reason);
    bool is_good = status == STATUS_OK;
    verification->bad += !is_good;
    if (verification->items == NULL)
        tell_text(verification, path, &checkpoint, is_good);
    else
        tell_json(verification->items, path, &checkpoint, is_good);
    return STATUS_OK;
}

/* Where the log itself begins; 1 when it cannot be read. */
static uint64_t log_begins(const struct settings *settings)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t first;
    return event_store_open(&store, settings->data_dir) == STATUS_OK &&
                   db_begin_read(&store.db, &txn) == STATUS_OK &&
                   event_log_first(&txn, &first) == STATUS_OK
               ? first
               : 1;
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
    uint64_t next = 1, begins = log_begins(settings); /* before: what is cut since is archived */
    TRY(archives_list(settings, &archives));
    for (size_t i = 0; i < archives.count; i++) {
        const struct archive_range *range = &archives.items[i];
        char path[4096];
        if (range->first > next)
            tell_missing(verification, next, range->first - 1);
        next = range->last >= next ? range->last + 1 : next;
        TRY(archives_path(&archives, range, LOG_ARCHIVE_SUFFIX, path));
        TRY(tell(verification, path));
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
    for (unsigned i = 0; i < options->source_count; i++)
        TRY(tell(&verification, options->sources[i]));
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
