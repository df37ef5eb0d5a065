/* Nothing is synced: after a power cut a file may be damaged, which shows. Who uses an artefact
 * holds a shared lock on its file, which the one who makes room respects. */
#include "tenantd/build_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/name.h"
#include "common/spec/build.h"

#define NEW_PREFIX ".new-"

enum { COPY_BYTES = 256 * 1024, NEW_NAME_BYTES = NAME_BYTES_MAX + 40 };

static enum status failure(const char *what, const char *name)
{
    int error = errno;
    return log_failure(status_from_errno(error), what, "file", name, "reason", strerror(error));
}

static bool is_full(void)
{
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
}

/* ---- copying ---- */

/* Reads `size` bytes, hashes them behind `key`, and writes them to `out` unless that is -1.
 * data_loss when there are fewer. */
static enum status copy(int from, uint64_t size, const struct hash *key, int out, struct hash *hash)
{
    static uint8_t bytes[COPY_BYTES];
    struct hash_state state;
    hash_begin(&state);
    hash_add(&state, span_of(key->bytes, HASH_BYTES));
    for (uint64_t at = 0; at < size;) {
        uint64_t left = size - at;
        ssize_t got = pread(from, bytes, left < COPY_BYTES ? left : COPY_BYTES, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure("read", "artefact");
        if (got == 0)
            return STATUS_DATA_LOSS;
        hash_add(&state, span_of(bytes, (size_t)got));
        if (out >= 0 && fd_write_all(out, span_of(bytes, (size_t)got)) != STATUS_OK)
            return is_full() ? STATUS_RESOURCE_EXHAUSTED : failure("write", "artefact");
        at += (uint64_t)got;
    }
    *hash = hash_end(&state);
    return STATUS_OK;
}

/* ---- the bound ---- */

struct kept {
    char name[HASH_TEXT_BYTES];
    uint64_t bytes;
    struct timespec used;
};

struct listing {
    struct kept *items;
    size_t count, room;
    uint64_t bytes;
};

static void listing_close(struct listing *listing)
{
    free(listing->items);
}

static int by_age(const void *a, const void *b)
{
    const struct kept *first = a, *second = b;
    if (first->used.tv_sec != second->used.tv_sec)
        return first->used.tv_sec < second->used.tv_sec ? -1 : 1;
    return (first->used.tv_nsec > second->used.tv_nsec) -
           (first->used.tv_nsec < second->used.tv_nsec);
}

static bool is_key(const char *name)
{
    uint8_t bytes[HASH_BYTES];
    return strlen(name) == HASH_TEXT_BYTES - 1 && hex_parse(name, bytes, sizeof bytes);
}

static enum status note(struct listing *listing, const char *name, const struct stat *file)
{
    if (listing->count == listing->room) {
        size_t room = listing->room == 0 ? 64 : 2 * listing->room;
        struct kept *items = realloc(listing->items, room * sizeof *items);
        if (items == NULL)
            return log_failure(STATUS_RESOURCE_EXHAUSTED, "list builds", "reason", "memory");
        listing->items = items;
        listing->room = room;
    }
    struct kept *kept = &listing->items[listing->count++];
    memcpy(kept->name, name, sizeof kept->name);
    kept->bytes = (uint64_t)file->st_size;
    kept->used = file->st_mtim;
    listing->bytes += kept->bytes;
    return STATUS_OK;
}

static DIR *folder_open(const struct build_cache *cache)
{
    int fd = openat(cache->folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL)
        fd_close(&fd);
    return directory;
}

static enum status list(const struct build_cache *cache, struct listing *listing)
{
    AUTO(directory_close) DIR *directory = folder_open(cache);
    if (directory == NULL)
        return failure("read directory", BUILDS_FOLDER);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat file;
        if (is_key(entry->d_name) &&
            fstatat(cache->folder->fd, entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0)
            TRY(note(listing, entry->d_name, &file));
    }
    if (listing->count > 1)
        qsort(listing->items, listing->count, sizeof *listing->items, by_age);
    return STATUS_OK;
}

/* false: somebody uses it. */
static bool remove_unused(const struct build_cache *cache, const char *name)
{
    AUTO(fd_close) int fd = openat(cache->folder->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
        return false;
    if (unlinkat(cache->folder->fd, name, 0) < 0 && errno != ENOENT)
        return false;
    return true;
}

static void make_room(const struct build_cache *cache, const char *newest)
{
    AUTO(listing_close) struct listing all = { 0 };
    if (list(cache, &all) != STATUS_OK)
        return;
    size_t count = all.count;
    for (size_t i = 0; i < all.count && (all.bytes > cache->bytes_max || count > BUILDS_KEPT_MAX);
         i++) {
        if (strcmp(all.items[i].name, newest) == 0 || !remove_unused(cache, all.items[i].name))
            continue;
        all.bytes -= all.items[i].bytes;
        count--;
    }
    if (all.bytes > cache->bytes_max)
        log_warning("built programs take more than build_cache_max, and all of them are in use",
                    "bytes", NUMBER(all.bytes), "build_cache_max", NUMBER(cache->bytes_max));
}

/* ---- what others see ---- */

static bool is_unfinished_of(const char *name, const char *tenant)
{
    if (strncmp(name, NEW_PREFIX, strlen(NEW_PREFIX)) != 0)
        return false;
    name += strlen(NEW_PREFIX);
    name += strspn(name, "0123456789");
    return *name == '-' && strcmp(name + 1, tenant) == 0;
}

void build_cache_open(struct build_cache *cache, const struct folder *folder, const char *tenant,
                      uint64_t bytes_max)
{
    *cache = (struct build_cache){ .folder = folder, .tenant = tenant, .bytes_max = bytes_max };
    AUTO(directory_close) DIR *directory = folder_open(cache);
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;)
        if (is_unfinished_of(entry->d_name, tenant))
            unlinkat(folder->fd, entry->d_name, 0);
}

static enum status write_new(struct build_cache *cache, const char *name, const struct hash *key,
                             int artefact, uint64_t size)
{
    struct hash hash;
    AUTO(fd_close)
    int fd =
        openat(cache->folder->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return is_full() ? STATUS_RESOURCE_EXHAUSTED : failure("make", name);
    TRY(copy(artefact, size, key, fd, &hash));
    if (fd_write_all(fd, span_of(hash.bytes, HASH_BYTES)) != STATUS_OK)
        return is_full() ? STATUS_RESOURCE_EXHAUSTED : failure("write", name);
    return STATUS_OK;
}

enum status build_cache_put(struct build_cache *cache, const struct hash *key, int artefact,
                            uint64_t size)
{
    char name[HASH_TEXT_BYTES], fresh[NEW_NAME_BYTES];
    folder_renew(cache->folder);
    build_key_text(key, name);
    snprintf(fresh, sizeof fresh, NEW_PREFIX "%" PRIu64 "-%s", cache->next++, cache->tenant);
    enum status status = write_new(cache, fresh, key, artefact, size);
    if (status == STATUS_OK && renameat(cache->folder->fd, fresh, cache->folder->fd, name) < 0)
        status = failure("rename", fresh);
    if (status != STATUS_OK) {
        unlinkat(cache->folder->fd, fresh, 0);
        return status;
    }
    make_room(cache, name);
    return STATUS_OK;
}

static enum status read_whole(const struct hash *key, int fd, int out)
{
    struct stat file;
    struct hash stored, found;
    if (fstat(fd, &file) < 0)
        return failure("stat", BUILDS_FOLDER);
    if (!S_ISREG(file.st_mode) || file.st_size <= HASH_BYTES ||
        file.st_size > BUILD_ARTEFACT_BYTES_MAX + HASH_BYTES)
        return STATUS_DATA_LOSS;
    uint64_t size = (uint64_t)file.st_size - HASH_BYTES;
    if (pread(fd, stored.bytes, HASH_BYTES, (off_t)size) != HASH_BYTES)
        return STATUS_DATA_LOSS;
    TRY(copy(fd, size, key, out, &found));
    return hash_equal(&stored, &found) ? STATUS_OK : STATUS_DATA_LOSS;
}

enum status build_cache_take(struct build_cache *cache, const struct hash *key, int out, int *pin)
{
    char name[HASH_TEXT_BYTES];
    build_key_text(key, name);
    AUTO(fd_close) int fd = openat(cache->folder->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP ? STATUS_NOT_FOUND : failure("open", name);
    /* Whoever makes room has it for a moment only; then it is gone, which is found out later. */
    if (pin != NULL && flock(fd, LOCK_SH | LOCK_NB) < 0)
        return STATUS_NOT_FOUND;
    enum status status = read_whole(key, fd, out);
    if (status == STATUS_DATA_LOSS) {
        log_warning("a built program is damaged, and is built again", "file", name);
        unlinkat(cache->folder->fd, name, 0);
        return STATUS_NOT_FOUND;
    }
    TRY(status);
    futimens(fd, NULL);
    if (pin != NULL) {
        *pin = fd;
        fd = -1;
    }
    return STATUS_OK;
}
