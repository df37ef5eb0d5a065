/* A folder may hold other files, and archives of other logs: names only say where to look. */
#include "recoveryd/archives.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/log_cut.h"
#include "common/api/records/log_state.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

static int compare(const void *a_, const void *b_)
{
    const struct archive_range *a = a_, *b = b_;
    if (a->last != b->last)
        return a->last < b->last ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

static enum status read_names(DIR *folder, struct archives *archives)
{
    size_t capacity = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct archive_range range;
        if (!log_archive_name_parse(entry->d_name, LOG_ARCHIVE_SUFFIX, &range.first, &range.last))
            continue;
        if (archives->count == ARCHIVES_MAX)
            return log_failure(STATUS_RESOURCE_EXHAUSTED, "list archives", "folder",
                               archives->folder);
        if (archives->count == capacity) {
            capacity = capacity == 0 ? 64 : 2 * capacity;
            void *grown = realloc(archives->items, capacity * sizeof *archives->items);
            if (grown == NULL)
                return STATUS_RESOURCE_EXHAUSTED;
            archives->items = grown;
        }
        archives->items[archives->count++] = range;
    }
    return STATUS_OK;
}

enum status archives_list(const struct settings *settings, struct archives *archives)
{
    *archives = (struct archives){ 0 };
    TRY(log_archive_folder(archives->folder, settings->data_dir, settings->archive_dir));
    DIR *folder = opendir(archives->folder);
    if (folder == NULL && errno == ENOENT)
        return STATUS_OK;
    if (folder == NULL)
        return log_failure(status_from_errno(errno), "list archives", "folder", archives->folder,
                           "reason", strerror(errno));
    enum status status = read_names(folder, archives);
    closedir(folder);
    if (archives->count > 0)
        qsort(archives->items, archives->count, sizeof *archives->items, compare);
    return status;
}

void archives_lead_to(struct archives *archives, uint64_t last)
{
    size_t kept = archives->count;
    for (size_t i = archives->count; i-- > 0 && last > 0;)
        if (archives->items[i].last == last) {
            archives->items[--kept] = archives->items[i];
            last = archives->items[i].first - 1;
        }
    archives->count -= kept;
    if (archives->count > 0)
        memmove(archives->items, archives->items + kept, archives->count * sizeof *archives->items);
}

void archives_close(struct archives *archives)
{
    free(archives->items);
    archives->items = NULL;
    archives->count = 0;
}

enum status archives_path(const struct archives *archives, const struct archive_range *range,
                          const char *suffix, char path[4096])
{
    char name[LOG_ARCHIVE_NAME_BYTES];
    return path_join(path, archives->folder,
                     log_archive_name(name, range->first, range->last, suffix));
}

enum status archive_read_checkpoint(const char *path, struct log_checkpoint *checkpoint,
                                    struct hash *digest)
{
    AUTO(buffer_close) struct buffer text = { .limit = LOG_CHECKPOINT_BYTES_MAX };
    enum status status = file_read(path, &text);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return STATUS_DATA_LOSS;
    TRY(status);
    *digest = hash_of(buffer_span(&text));
    return log_checkpoint_read(buffer_span(&text), path, checkpoint);
}

static enum status set_fold(struct log_archive *archive, struct log_fold *fold)
{
    AUTO(buffer_close) struct buffer state = { .limit = LOG_STATE_BYTES_MAX + 1 };
    TRY(log_archive_read_state(archive, &state));
    log_fold_close(fold);
    log_fold_open(fold);
    TRY(log_state_unpack(buffer_span(&state), fold));
    fold->next = archive->last + 1;
    fold->previous = archive->hash;
    return STATUS_OK;
}

enum status archive_verify(const char *path, const struct log_checkpoint *checkpoint,
                           struct log_fold *fold)
{
    AUTO(log_archive_close) struct log_archive archive = { .fd = -1 };
    TRY(log_archive_open(&archive, path));
    TRY(log_archive_fits(&archive, checkpoint));
    if (fold->next == archive.first)
        return log_archive_verify(&archive, fold);
    TRY(log_archive_verify(&archive, NULL));
    return set_fold(&archive, fold);
}
