/* By LMDB 0.9's layout (meta_pages.c has the header and the meta page):
 *
 *   behind the header: offsets of the nodes u16, up to `lower`
 *   node:  0 low u16   2 high u16   4 flags u16   6 size of key u16   8 key, then the value
 *          (in a branch low, high and flags are the page's number, in a leaf the value's size)
 *   tree:  6 depth u16   32 rows u64   40 root u64 (also the value of a node with SUB_TREE) */
#include "common/db/page_numbers.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum {
    HEADER_BYTES = 16,
    NODE_BYTES = 8,
    TREE_BYTES = 48,
    META_BYTES = 152,
    META_TREE_FREE = 40,
    META_TREE_MAIN = 88,
    META_LAST_PAGE = 136,
    META_TXN = 144,
    BRANCH = 0x01,
    LEAF = 0x02,
    OVERFLOW = 0x04,
    ON_OVERFLOW = 0x01, /* flags of a node */
    SUB_TREE = 0x02,
    DEPTH_MAX = 32,
    SNAPSHOT_ATTEMPTS = 1000,
};

struct pages {
    const struct db *db;
    const uint8_t *map;
    size_t map_bytes, page_bytes;
    uint64_t end; /* behind the last page */
    enum page_extent extent;
};

static uint16_t u16_at(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t u64_at(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static enum status damage(const struct pages *pages, uint64_t number, const char *reason)
{
    return log_failure(STATUS_DATA_LOSS, "check pages of store", "dir", pages->db->dir, "page",
                       NUMBER(number), "reason", reason);
}

static enum status find_page(const struct pages *pages, uint64_t number, uint16_t kind,
                             const uint8_t **page)
{
    if (number < 2 || number >= pages->end || number >= pages->map_bytes / pages->page_bytes)
        return damage(pages, number, "it lies outside of the file");
    *page = pages->map + number * pages->page_bytes;
    if (u64_at(*page) != number)
        return damage(pages, number, "another number stands in it");
    if ((u16_at(*page + 10) & (BRANCH | LEAF | OVERFLOW)) != kind)
        return damage(pages, number, "it is of another kind");
    return STATUS_OK;
}

static enum status find_node(const struct pages *pages, const uint8_t *page, size_t i,
                             const uint8_t **node, size_t *value_bytes)
{
    size_t offset = u16_at(page + HEADER_BYTES + 2 * i);
    if (offset < HEADER_BYTES || offset + NODE_BYTES > pages->page_bytes)
        return damage(pages, u64_at(page), "a node lies outside of it");
    *node = page + offset;
    size_t used = offset + NODE_BYTES + u16_at(*node + 6);
    if (used > pages->page_bytes)
        return damage(pages, u64_at(page), "a key lies outside of it");
    *value_bytes = pages->page_bytes - used;
    return STATUS_OK;
}

static bool has_unread_leaves(const struct pages *pages, const char *name, size_t name_bytes)
{
    const struct db_schema *schema = pages->db->schema;
    for (size_t i = 0; i < schema->table_count && pages->extent == PAGES_BUT_EVENTS; i++)
        if (strlen(schema->tables[i].name) == name_bytes &&
            memcmp(schema->tables[i].name, name, name_bytes) == 0)
            return (schema->tables[i].flags & TABLE_UNSEALED) != 0;
    return false;
}

static enum status check_tree(const struct pages *pages, const uint8_t *tree, bool has_leaves);

/* What a leaf's node leads to. */
static enum status check_node(const struct pages *pages, const uint8_t *node, size_t value_bytes)
{
    uint16_t flags = u16_at(node + 4), key_bytes = u16_at(node + 6);
    const uint8_t *value = node + NODE_BYTES + key_bytes, *page;
    if (flags & ON_OVERFLOW)
        return value_bytes < sizeof(uint64_t) ? damage(pages, 0, "a node is cut off")
                                              : find_page(pages, u64_at(value), OVERFLOW, &page);
    if (!(flags & SUB_TREE) || pages->extent == PAGES_OF_MAIN)
        return STATUS_OK;
    if (value_bytes < TREE_BYTES)
        return damage(pages, 0, "a tree is cut off");
    return check_tree(pages, value,
                      !has_unread_leaves(pages, (const char *)node + NODE_BYTES, key_bytes));
}

/* The pages from `number` on, of which `levels` are below one another; adds the rows to `*rows`. */
static enum status check_pages(const struct pages *pages, uint64_t number, unsigned levels,
                               bool has_leaves, uint64_t *rows)
{
    const uint8_t *page = NULL, *node = NULL;
    size_t value_bytes = 0;
    if (levels == 1 && !has_leaves)
        return STATUS_OK;
    TRY(find_page(pages, number, levels == 1 ? LEAF : BRANCH, &page));
    size_t lower = u16_at(page + 12), upper = u16_at(page + 14);
    if (lower < HEADER_BYTES || lower > upper || upper > pages->page_bytes)
        return damage(pages, number, "its nodes lie outside of it");
    size_t count = (lower - HEADER_BYTES) / 2;
    *rows += levels == 1 ? count : 0;
    for (size_t i = 0; i < count; i++) {
        TRY(find_node(pages, page, i, &node, &value_bytes));
        uint64_t child =
            u16_at(node) | (uint64_t)u16_at(node + 2) << 16 | (uint64_t)u16_at(node + 4) << 32;
        TRY(levels == 1 ? check_node(pages, node, value_bytes)
                        : check_pages(pages, child, levels - 1, has_leaves, rows));
    }
    return STATUS_OK;
}

static enum status check_tree(const struct pages *pages, const uint8_t *tree, bool has_leaves)
{
    uint64_t root = u64_at(tree + 40), rows = 0;
    unsigned depth = u16_at(tree + 6);
    if (depth > DEPTH_MAX || (depth == 0) != (root == UINT64_MAX))
        return damage(pages, root, "a tree has an impossible depth");
    if (depth > 0)
        TRY(check_pages(pages, root, depth, has_leaves, &rows));
    if (has_leaves && rows != u64_at(tree + 32))
        return damage(pages, root, "below it are not as many rows as its tree counts");
    return STATUS_OK;
}

/* The meta page of the snapshot. The second commit after it writes over it: so it counts only when
 * who begins to read afterwards still gets the same snapshot. */
static enum status find_snapshot(struct db_txn *txn, int fd, struct pages *pages,
                                 uint8_t meta[META_BYTES])
{
    struct db *db = txn->db;
    for (int i = 0; i < SNAPSHOT_ATTEMPTS; i++) {
        AUTO(db_end) struct db_txn afterwards = { 0 };
        uint64_t wanted = mdb_txn_id(txn->txn);
        ssize_t size = pread(fd, meta, META_BYTES, (off_t)((wanted & 1) * pages->page_bytes));
        if (size < 0)
            return errno_failure("read meta page", db->dir);
        TRY(db_begin_read(db, &afterwards));
        if (size == META_BYTES && mdb_txn_id(afterwards.txn) == wanted &&
            u64_at(meta + META_TXN) == wanted) {
            pages->end = u64_at(meta + META_LAST_PAGE) + 1;
            return STATUS_OK;
        }
        db_end(txn);
        TRY(db_begin_read(db, txn));
    }
    return log_failure(STATUS_UNAVAILABLE, "check pages of store", "dir", db->dir, "reason",
                       "its meta page cannot be read, or changes too often");
}

static enum status check(struct pages *pages, const uint8_t meta[META_BYTES])
{
    TRY(check_tree(pages, meta + META_TREE_FREE, true));
    return check_tree(pages, meta + META_TREE_MAIN, true);
}

enum status page_numbers_check(struct db_txn *txn, enum page_extent extent)
{
    struct pages pages = { .db = txn->db, .extent = extent };
    uint8_t meta[META_BYTES];
    struct stat stat;
    MDB_stat sizes;
    int fd;
    int rc = mdb_env_get_fd(txn->db->env, &fd);
    if (rc == 0)
        rc = mdb_env_stat(txn->db->env, &sizes);
    ensure(rc == 0);
    pages.page_bytes = sizes.ms_psize;
    TRY(find_snapshot(txn, fd, &pages, meta));
    void *map = MAP_FAILED;
    if (fstat(fd, &stat) == 0)
        map = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        int error = errno;
        return log_failure(status_from_errno(error), "map store", "dir", txn->db->dir, "reason",
                           strerror(error));
    }
    pages.map = map;
    pages.map_bytes = (size_t)stat.st_size;
    enum status status = check(&pages, meta);
    munmap(map, pages.map_bytes);
    return status;
}
