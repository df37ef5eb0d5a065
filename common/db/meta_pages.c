/* Reads both meta pages as they lie in the file, by LMDB 0.9's layout on 64-bit machines:
 *
 *   page header:  0 page number u64   8 pad u16   10 flags u16   12 lower u16   14 upper u16
 *   meta:        16 magic u32   20 version u32   24 address u64   32 map size u64
 *                40 free tree: page size u32, flags u16, depth u16, 4 counts u64, root u64 (at 80)
 *                88 main tree: the same (root at 128)
 *               136 last page u64   144 transaction id u64
 *
 * Numbers are in the machine's byte order, as LMDB has them. */
#include "common/db/meta_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum {
    META_BYTES = 152,
    META_FLAG = 0x08,
    LMDB_VERSION = 1,
    DEPTH_MAX = 32,
    READ_ATTEMPTS = 5,
};
static const uint32_t lmdb_magic = 0xBEEFC0DE;
static const uint64_t no_page = UINT64_MAX;

static uint16_t u16_at(const uint8_t *page, size_t offset)
{
    uint16_t value;
    memcpy(&value, page + offset, sizeof value);
    return value;
}

static uint32_t u32_at(const uint8_t *page, size_t offset)
{
    uint32_t value;
    memcpy(&value, page + offset, sizeof value);
    return value;
}

static uint64_t u64_at(const uint8_t *page, size_t offset)
{
    uint64_t value;
    memcpy(&value, page + offset, sizeof value);
    return value;
}

static const char *tree_rule(const uint8_t *page, size_t tree, uint64_t last_page)
{
    uint64_t root = u64_at(page, tree + 40);
    uint16_t depth = u16_at(page, tree + 6);
    if (root == no_page)
        return depth == 0 ? NULL : "a tree without a root has a depth";
    if (root < 2 || root > last_page)
        return "the root of a tree lies outside of the file";
    if (depth == 0 || depth > DEPTH_MAX)
        return "a tree has an impossible depth";
    return NULL;
}

/* The rule that one meta page breaks, or NULL. */
static const char *meta_rule(const uint8_t *page, uint64_t number, const struct meta_pages *pages)
{
    if (u64_at(page, 0) != number || (u16_at(page, 10) & META_FLAG) == 0)
        return "not a meta page";
    if (u32_at(page, 16) != lmdb_magic || u32_at(page, 20) != LMDB_VERSION)
        return "not LMDB's magic and version";
    if (u32_at(page, 40) != pages->page_bytes)
        return "the meta pages name different page sizes";
    uint64_t last_page = u64_at(page, 136);
    if (last_page < 1 || last_page >= UINT64_MAX / pages->page_bytes)
        return "an impossible number of pages";
    return NULL;
}

/* Of the newer page only. LMDB does not look at the other one, and when the disk refuses a meta
 * page it leaves there the new roots beside the old number of pages. */
static const char *trees_rule(const uint8_t *page)
{
    uint64_t last_page = u64_at(page, 136);
    const char *rule = tree_rule(page, 40, last_page);
    return rule != NULL ? rule : tree_rule(page, 88, last_page);
}

/* `error` is the system's when it is that which keeps a page from us, else 0. */
static bool read_page(int fd, uint8_t page[META_BYTES], uint64_t offset, int *error)
{
    ssize_t size = pread(fd, page, META_BYTES, (off_t)offset);
    *error = size < 0 ? errno : 0;
    return size == META_BYTES;
}

static const char *read_once(int fd, struct meta_pages *pages, int *error)
{
    uint8_t first[META_BYTES], second[META_BYTES];
    if (!read_page(fd, first, 0, error))
        return "shorter than a meta page";
    pages->page_bytes = u32_at(first, 40);
    if (pages->page_bytes < 512 || pages->page_bytes > 65536 ||
        (pages->page_bytes & (pages->page_bytes - 1)) != 0)
        return "an impossible page size";
    if (!read_page(fd, second, pages->page_bytes, error))
        return "shorter than two meta pages";
    const char *rule = meta_rule(first, 0, pages);
    if (rule == NULL)
        rule = meta_rule(second, 1, pages);
    if (rule != NULL)
        return rule;
    pages->txnids[0] = u64_at(first, 144);
    pages->txnids[1] = u64_at(second, 144);
    const uint8_t *newer = pages->txnids[0] >= pages->txnids[1] ? first : second;
    pages->pages_used = u64_at(newer, 136) + 1;
    return trees_rule(newer);
}

enum status meta_pages_read(const char *dir, struct meta_pages *pages)
{
    char path[4096];
    TRY(path_join(path, dir, "data.mdb"));
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) < 0) {
        int reason = errno;
        return reason == ENOENT ? STATUS_NOT_FOUND
                                : log_failure(status_from_errno(reason), "open store", "path", path,
                                              "reason", strerror(reason));
    }
    /* A writer may be in the middle of writing a meta page: what looks wrong is read again. */
    const char *rule = NULL;
    int error = 0;
    for (int attempt = 0; attempt < READ_ATTEMPTS && error == 0; attempt++) {
        rule = read_once(fd, pages, &error);
        if (rule == NULL) {
            pages->file_bytes = (uint64_t)stat.st_size;
            return STATUS_OK;
        }
    }
    if (error != 0)
        return log_failure(status_from_errno(error), "read meta pages", "path", path, "reason",
                           strerror(error));
    return log_failure(STATUS_DATA_LOSS, "check meta pages", "path", path, "reason", rule);
}
