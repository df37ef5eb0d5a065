#include "tests/faults/power_cut.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/buffer.h"
#include "common/base/ensure.h"
#include "common/base/file.h"

/* What a disk writes whole or not at all. */
enum { SECTOR_BYTES = 512, FILES_MAX = 16, PENDING_MAX = 4096, IMAGE_BYTES_MAX = 64 << 20 };

struct image {
    char path[4096];
    char old_path[4096];  /* while its rename is not synced; else "" */
    bool is_entry_synced; /* its name is in a synced folder */
    struct buffer synced; /* what the disk keeps */
    const struct disk_op *pending[PENDING_MAX];
    size_t pending_count;
};

struct power_cut {
    const struct disk_op *ops;
    size_t count, next;
    struct image files[FILES_MAX];
    size_t file_count;
    uint64_t mark;
};

static struct image *image_of(struct power_cut *cut, const char *path)
{
    for (size_t i = 0; i < cut->file_count; i++)
        if (strcmp(cut->files[i].path, path) == 0)
            return &cut->files[i];
    ensure(cut->file_count < FILES_MAX);
    struct image *file = &cut->files[cut->file_count++];
    snprintf(file->path, sizeof file->path, "%s", path);
    file->synced.limit = IMAGE_BYTES_MAX;
    return file;
}

/* Past the end there are zeros first. */
static void put_bytes(struct buffer *image, uint64_t offset, const uint8_t *bytes, size_t size)
{
    static const uint8_t zeros[4096];
    while (image->size < offset + size) {
        size_t missing = (size_t)(offset + size - image->size);
        ensure(buffer_append(image, zeros, missing < sizeof zeros ? missing : sizeof zeros) ==
               STATUS_OK);
    }
    memcpy(image->data + offset, bytes, size);
}

static void put(struct buffer *image, const struct disk_op *op)
{
    put_bytes(image, op->offset, op->bytes, op->size);
}

static void sync_file(struct image *file)
{
    for (size_t i = 0; i < file->pending_count; i++)
        put(&file->synced, file->pending[i]);
    file->pending_count = 0;
}

static bool is_in(const char *path, const char *folder)
{
    size_t size = strlen(folder);
    return strncmp(path, folder, size) == 0 && path[size] == '/';
}

static void sync_folder(struct power_cut *cut, const char *folder)
{
    for (size_t i = 0; i < cut->file_count; i++) {
        struct image *file = &cut->files[i];
        if (!is_in(file->path, folder))
            continue;
        if (strchr(file->path + strlen(folder) + 1, '/') != NULL) {
            file->old_path[0] = '\0'; /* that of the folder above it */
            continue;
        }
        file->is_entry_synced = true; /* the file's own name */
        if (is_in(file->old_path, folder) &&
            strchr(file->old_path + strlen(folder) + 1, '/') == NULL)
            file->old_path[0] = '\0';
    }
}

/* Of a folder with its files, or of one file. */
static void rename_path(struct power_cut *cut, const char *from, const char *to)
{
    for (size_t i = 0; i < cut->file_count; i++) {
        struct image *file = &cut->files[i];
        char path[4096];
        if (!is_in(file->path, from) && strcmp(file->path, from) != 0)
            continue;
        memcpy(file->old_path, file->path, sizeof file->old_path);
        ensure((size_t)snprintf(path, sizeof path, "%s%s", to, file->path + strlen(from)) <
               sizeof path);
        strcpy(file->path, path);
    }
}

struct power_cut *power_cut_open(const struct disk_op *ops, size_t count)
{
    struct power_cut *cut = calloc(1, sizeof *cut);
    ensure(cut != NULL);
    cut->ops = ops;
    cut->count = count;
    return cut;
}

void power_cut_close(struct power_cut **cut)
{
    if (*cut == NULL)
        return;
    for (size_t i = 0; i < (*cut)->file_count; i++)
        buffer_close(&(*cut)->files[i].synced);
    free(*cut);
    *cut = NULL;
}

/* A synced write has returned when another operation follows it: of its file, it alone is there. */
static void end_synced_writes(struct power_cut *cut)
{
    for (size_t i = 0; i < cut->file_count; i++) {
        struct image *file = &cut->files[i];
        size_t kept = 0;
        for (size_t j = 0; j < file->pending_count; j++) {
            if (file->pending[j]->kind == DISK_WRITE_SYNCED)
                put(&file->synced, file->pending[j]);
            else
                file->pending[kept++] = file->pending[j];
        }
        file->pending_count = kept;
    }
}

bool power_cut_step(struct power_cut *cut)
{
    if (cut->next == cut->count)
        return false;
    end_synced_writes(cut);
    const struct disk_op *op = &cut->ops[cut->next++];
    struct image *file;
    switch (op->kind) {
    case DISK_WRITE:
    case DISK_WRITE_SYNCED: /* until the next step it may be there: its call has not returned */
        file = image_of(cut, op->path);
        ensure(file->pending_count < PENDING_MAX);
        file->pending[file->pending_count++] = op;
        break;
    case DISK_RANGE:
        break;
    case DISK_SYNC:
        sync_file(image_of(cut, op->path));
        break;
    case DISK_SYNC_FOLDER:
        sync_folder(cut, op->path);
        break;
    case DISK_RENAME:
        rename_path(cut, op->path, op->to);
        break;
    case DISK_MARK:
        cut->mark = op->offset;
        break;
    }
    return true;
}

bool power_cut_is_open(const struct power_cut *cut)
{
    for (size_t i = 0; i < cut->file_count; i++)
        if (cut->files[i].pending_count > 0 || cut->files[i].old_path[0] != '\0' ||
            !cut->files[i].is_entry_synced)
            return true;
    return false;
}

uint64_t power_cut_mark(const struct power_cut *cut)
{
    return cut->mark;
}

/* Some of its sectors. */
static void put_torn(struct buffer *image, const struct disk_op *op, struct random *random)
{
    for (size_t at = 0; at < op->size; at += SECTOR_BYTES) {
        size_t size = op->size - at < SECTOR_BYTES ? op->size - at : SECTOR_BYTES;
        if (random_below(random, 2) == 0)
            put_bytes(image, op->offset + at, op->bytes + at, size);
    }
}

static void play_file(const struct image *file, enum cut_kind kind, struct random *random,
                      struct buffer *image)
{
    if (file->synced.size > 0)
        put_bytes(image, 0, file->synced.data, file->synced.size);
    size_t torn = kind == CUT_AS_IT_COMES && file->pending_count > 0
                      ? (size_t)random_below(random, file->pending_count)
                      : SIZE_MAX;
    for (size_t i = 0; i < file->pending_count; i++) {
        if (kind == CUT_TAKES_ALL)
            continue;
        if (i == torn)
            put_torn(image, file->pending[i], random);
        else if (kind == CUT_LEAVES_ALL || random_below(random, 2) == 0)
            put(image, file->pending[i]);
    }
}

static bool chance(enum cut_kind kind, struct random *random)
{
    return kind == CUT_LEAVES_ALL || (kind == CUT_AS_IT_COMES && random_below(random, 2) == 0);
}

static void write_image(const char *folder, const char *name, const struct buffer *image)
{
    char path[4096];
    ensure(path_join(path, folder, name) == STATUS_OK);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ensure(fd >= 0 && fd_write_all(fd, buffer_span(image)) == STATUS_OK);
}

bool power_cut_play(const struct power_cut *cut, enum cut_kind kind, struct random *random,
                    const char *store, const char *to)
{
    bool is_there = false, is_renamed = chance(kind, random);
    for (size_t i = 0; i < cut->file_count; i++) {
        const struct image *file = &cut->files[i];
        AUTO(buffer_close) struct buffer image = { .limit = IMAGE_BYTES_MAX };
        const char *path = file->old_path[0] != '\0' && !is_renamed ? file->old_path : file->path;
        if (!is_in(path, store))
            continue;
        is_there = true;
        if (!file->is_entry_synced && !chance(kind, random))
            continue;
        play_file(file, kind, random, &image);
        write_image(to, path + strlen(store) + 1, &image);
    }
    return is_there;
}

size_t power_cut_each(power_cut_visit *visit, void *context)
{
    static const enum cut_kind kinds[] = { CUT_TAKES_ALL, CUT_LEAVES_ALL, CUT_AS_IT_COMES,
                                           CUT_AS_IT_COMES, CUT_AS_IT_COMES };
    size_t count;
    const struct disk_op *ops = disk_ops(&count);
    struct power_cut *cut = power_cut_open(ops, count);
    bool goes_on = true;
    while (goes_on && power_cut_step(cut))
        for (size_t i = 0; i < COUNT_OF(kinds) && goes_on && power_cut_is_open(cut); i++)
            goes_on = visit(context, cut, kinds[i]);
    power_cut_close(&cut);
    return count;
}
