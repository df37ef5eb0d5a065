/* One page, one writer, which never maps it: what was cut off is there again with the next write.
 * The number is odd while the rest changes, and is written after it; nothing else of the page but
 * the number of the last commit, one aligned word, changes under an even one. Nothing here has to
 * survive the boot. */
#include "common/access/store_voucher.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"

static const char magic[8] = "voucher";
static const char id_key[] = "voucher.id";

static bool read_page(int fd, struct store_voucher_page *page)
{
    return pread(fd, page, sizeof *page, 0) == (ssize_t)sizeof *page &&
           memcmp(page->magic, magic, sizeof magic) == 0;
}

/* Whether what lies at the path is what we have open. */
static bool is_in_place(const struct store_voucher *voucher)
{
    struct stat ours, there;
    return fstat(voucher->fd, &ours) == 0 && lstat(voucher->path, &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* O_NONBLOCK: whatever lies there, to open it takes no time. */
static int open_page(const struct store_voucher *voucher)
{
    return open(voucher->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* --- writing --- */

/* Removed, so that nobody believes it for long. */
static void give_up(struct store_voucher *voucher)
{
    fd_close(&voucher->fd);
    if (unlink(voucher->path) < 0 && errno != ENOENT)
        errno_failure("remove", voucher->path);
    voucher->left_ns = clock_boottime_ns();
}

static bool write_part(const struct store_voucher *voucher, size_t at, size_t size)
{
    errno = ENOSPC; /* which it is when a part was written */
    return pwrite(voucher->fd, (const char *)&voucher->page + at, size, (off_t)at) == (ssize_t)size;
}

/* The number last, in a call of its own: calls are not seen out of order. */
static void write_page(struct store_voucher *voucher)
{
    enum { AT_NUMBER = offsetof(struct store_voucher_page, number) };
    if (voucher->fd < 0 || (write_part(voucher, 0, AT_NUMBER) &&
                            write_part(voucher, AT_NUMBER, sizeof voucher->page.number)))
        return;
    errno_failure("write", voucher->path);
    give_up(voucher);
}

/* In the place of whatever lies there, or lay there. */
static void make_page(struct store_voucher *voucher)
{
    struct stat status;
    voucher->left_ns = clock_boottime_ns();
    if (lstat(voucher->path, &status) == 0 && S_ISDIR(status.st_mode) && rmdir(voucher->path) < 0)
        errno_failure("remove", voucher->path);
    /* The number of the last commit tells of everybody's writes: for our daemons, as the store. */
    if (file_write(voucher->path, span_of(&voucher->page, sizeof voucher->page), 0640) != STATUS_OK)
        return;
    voucher->fd = open_page(voucher);
    if (voucher->fd < 0)
        errno_failure("open", voucher->path);
}

/* One that was removed or moved is mapped by others still. */
static void leave_page(struct store_voucher *voucher)
{
    uint64_t number = voucher->page.number;
    voucher->page.number |= 1;
    write_part(voucher, 0, sizeof voucher->page);
    voucher->page.number = number;
    fd_close(&voucher->fd);
}

/* --- the owner --- */

void store_voucher_make(struct store_voucher *voucher, const char *run_dir, const char *file_name,
                        const char *boot_id)
{
    struct store_voucher_page page;
    *voucher = (struct store_voucher){ .is_open = true, .fd = -1 };
    snprintf(voucher->boot_id, sizeof voucher->boot_id, "%s", boot_id);
    enum status status = path_join(voucher->path, run_dir, file_name);
    ensure(status == STATUS_OK); /* sockets with longer names lie there */
    voucher->fd = open_page(voucher);
    if (voucher->fd >= 0 && read_page(voucher->fd, &page) && is_in_place(voucher)) {
        voucher->page = page;
        return;
    }
    fd_close(&voucher->fd);
    memcpy(voucher->page.magic, magic, sizeof magic);
    voucher->page.number = 1;
    make_page(voucher);
}

bool store_voucher_covers(struct store_voucher *voucher, struct db *db)
{
    const struct store_voucher_page *page = &voucher->page;
    AUTO(db_end) struct db_txn txn = { 0 };
    bool covers = store_voucher_is_given(voucher) && store_voucher_names(page, db) &&
                  memcmp(page->boot_id, voucher->boot_id, sizeof page->boot_id) == 0 &&
                  db->found_txn >= page->txn && db_begin_read(db, &txn) == STATUS_OK &&
                  store_voucher_fits(page, &txn);
    if (!covers)
        store_voucher_withdraw(voucher);
    return covers;
}

enum status store_voucher_start(struct store_voucher *voucher, struct db_txn *txn)
{
    uint8_t *id = voucher->page.next_id;
    random_fill(id, VOUCHER_ID_BYTES);
    write_page(voucher);
    return db_meta_put(txn, id_key, span_of(id, VOUCHER_ID_BYTES));
}

void store_voucher_withdraw(struct store_voucher *voucher)
{
    voucher->page.number |= 1;
    write_page(voucher);
}

void store_voucher_give(struct store_voucher *voucher, const struct db *db)
{
    struct store_voucher_page *page = &voucher->page;
    store_voucher_withdraw(voucher);
    memcpy(page->boot_id, voucher->boot_id, sizeof page->boot_id);
    page->device = db->device;
    page->inode = db->inode;
    page->born_ns = db->born_ns;
    store_voucher_advance(voucher, db_last_txn(db));
    page->number++;
    write_page(voucher);
}

/* All of it: what was cut off is there again. */
void store_voucher_advance(struct store_voucher *voucher, uint64_t txn)
{
    memcpy(voucher->page.id, voucher->page.next_id, sizeof voucher->page.id);
    voucher->page.txn = txn;
    write_page(voucher);
}

void store_voucher_settle(struct store_voucher *voucher)
{
    static const uint64_t look_ns = VOUCHER_LOOK_MS * UINT64_C(1000000);
    if (voucher->left_ns == 0)
        return;
    uint64_t until_ns = voucher->left_ns + look_ns, now_ns;
    while ((now_ns = clock_boottime_ns()) < until_ns)
        nanosleep(&(struct timespec){ .tv_nsec = (long)(until_ns - now_ns) }, NULL);
    voucher->left_ns = 0;
}

void store_voucher_keep(struct store_voucher *voucher)
{
    struct store_voucher_page page;
    if (voucher->fd >= 0 && !is_in_place(voucher))
        leave_page(voucher);
    if (voucher->fd < 0)
        make_page(voucher);
    else if (!read_page(voucher->fd, &page) || memcmp(&page, &voucher->page, sizeof page) != 0)
        write_page(voucher);
}

bool store_voucher_is_given(const struct store_voucher *voucher)
{
    return voucher->is_open && voucher->page.number % 2 == 0;
}

bool store_voucher_is_written(const struct store_voucher *voucher)
{
    return voucher->fd >= 0;
}

void store_voucher_close(struct store_voucher *voucher)
{
    if (voucher->is_open)
        fd_close(&voucher->fd);
    voucher->is_open = false;
}

/* --- what a page says --- */

bool store_voucher_names(const struct store_voucher_page *page, const struct db *db)
{
    return page->device == db->device && page->inode == db->inode && page->born_ns == db->born_ns;
}

/* The row's seal is not asked: nothing else is like the id by chance. */
bool store_voucher_fits(const struct store_voucher_page *page, struct db_txn *txn)
{
    MDB_val key = { sizeof id_key - 1, (void *)(uintptr_t)id_key }, row;
    return mdb_get(txn->txn, txn->db->meta, &key, &row) == 0 && row.mv_size > VOUCHER_ID_BYTES &&
           (memcmp(row.mv_data, page->id, VOUCHER_ID_BYTES) == 0 ||
            memcmp(row.mv_data, page->next_id, VOUCHER_ID_BYTES) == 0);
}

bool store_voucher_holds(const struct store_voucher_page *page, const char *boot_id)
{
    return memcmp(page->magic, magic, sizeof magic) == 0 && page->number % 2 == 0 &&
           memcmp(page->boot_id, boot_id, sizeof page->boot_id) == 0;
}
