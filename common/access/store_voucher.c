/* One page, one writer. Its number is odd while nothing is vouched for and while the page changes;
 * who reads looks at it before and after. Nothing here has to survive the boot. */
#include "common/access/store_voucher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"

static const char magic[8] = "voucher";

struct store_voucher_page {
    char magic[8];
    char boot_id[BOOT_ID_BYTES];
    _Atomic uint64_t number; /* 0: never given */
    _Atomic uint64_t device, inode, born_ns;
    _Atomic uint64_t txn;
};

static enum status failure(const char *what, const char *path)
{
    int error = errno;
    return log_failure(status_from_errno(error), what, "path", path, "reason", strerror(error));
}

/* Keeps `*fd` then. */
static enum status map_page(struct store_voucher *voucher, const char *path, int *fd,
                            int protection, const char *boot_id)
{
    void *page = mmap(NULL, sizeof *voucher->page, protection, MAP_SHARED, *fd, 0);
    if (page == MAP_FAILED)
        return failure("map a page", path);
    voucher->page = page;
    voucher->fd = *fd;
    *fd = -1;
    snprintf(voucher->path, sizeof voucher->path, "%s", path);
    snprintf(voucher->boot_id, sizeof voucher->boot_id, "%s", boot_id);
    return STATUS_OK;
}

static bool is_whole(int fd)
{
    struct store_voucher_page page;
    return pread(fd, &page, sizeof page, 0) == (ssize_t)sizeof page &&
           memcmp(page.magic, magic, sizeof magic) == 0;
}

/* --- the owner --- */

/* Real bytes, so that a full disk is met here and not when the page is written to. A page that is
 * there is kept: verifiers have it mapped. */
static enum status make(struct store_voucher *voucher, const char *path, const char *boot_id)
{
    AUTO(fd_close) int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno != ENOENT)
        return failure("open", path);
    if (fd < 0 || !is_whole(fd)) {
        struct store_voucher_page page = { .number = 1 };
        memcpy(page.magic, magic, sizeof magic);
        TRY(file_write(path, span_of(&page, sizeof page), 0644));
        fd_close(&fd);
        fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            return failure("open", path);
    }
    return map_page(voucher, path, &fd, PROT_READ | PROT_WRITE, boot_id);
}

enum status store_voucher_make(struct store_voucher *voucher, const char *run_dir,
                               const char *file_name, const char *boot_id)
{
    char path[4096];
    TRY(path_join(path, run_dir, file_name));
    return make(voucher, path, boot_id);
}

static bool is_of_this_boot(const struct store_voucher *voucher)
{
    return memcmp(voucher->page->boot_id, voucher->boot_id, sizeof voucher->boot_id) == 0;
}

static bool is_of_file(const struct store_voucher_page *page, const struct db *db)
{
    return page->device == db->device && page->inode == db->inode && page->born_ns == db->born_ns;
}

bool store_voucher_covers(const struct store_voucher *voucher, const struct db *db)
{
    return store_voucher_number(voucher) != 0 && is_of_this_boot(voucher) &&
           is_of_file(voucher->page, db) && db->found_txn >= voucher->page->txn;
}

void store_voucher_withdraw(struct store_voucher *voucher)
{
    voucher->page->number |= 1;
}

void store_voucher_give(struct store_voucher *voucher, const struct db *db)
{
    struct store_voucher_page *page = voucher->page;
    store_voucher_withdraw(voucher);
    memcpy(page->boot_id, voucher->boot_id, sizeof page->boot_id);
    page->device = db->device;
    page->inode = db->inode;
    page->born_ns = db->born_ns;
    page->txn = db_last_txn(db);
    page->number++;
}

bool store_voucher_is_gone(const struct store_voucher *voucher)
{
    struct stat stat;
    return voucher->page != NULL && (fstat(voucher->fd, &stat) < 0 || stat.st_nlink == 0);
}

enum status store_voucher_keep(struct store_voucher *voucher, const struct db *db)
{
    struct store_voucher another = { 0 };
    if (!store_voucher_is_gone(voucher))
        return STATUS_OK;
    log_warning("somebody has removed a file of ours: it is made again", "path", voucher->path);
    TRY(make(&another, voucher->path, voucher->boot_id));
    bool is_given = store_voucher_number(voucher) != 0;
    store_voucher_close(voucher);
    *voucher = another;
    if (is_given)
        store_voucher_give(voucher, db);
    else
        store_voucher_withdraw(voucher);
    return STATUS_OK;
}

void store_voucher_advance(struct store_voucher *voucher, uint64_t txn)
{
    atomic_store_explicit(&voucher->page->txn, txn, memory_order_release);
}

/* --- verifiers --- */

enum status store_voucher_open(struct store_voucher *voucher, const char *run_dir,
                               const char *file_name, const char *boot_id)
{
    char path[4096];
    TRY(path_join(path, run_dir, file_name));
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? STATUS_NOT_FOUND : failure("open", path);
    if (!is_whole(fd)) /* it never is: its owner renames it into its place */
        return log_failure(STATUS_DATA_LOSS, "open", "path", path, "reason", "not its form");
    return map_page(voucher, path, &fd, PROT_READ, boot_id);
}

void store_voucher_close(struct store_voucher *voucher)
{
    if (voucher->page == NULL)
        return;
    munmap(voucher->page, sizeof *voucher->page);
    voucher->page = NULL;
    fd_close(&voucher->fd);
}

uint64_t store_voucher_number(const struct store_voucher *voucher)
{
    if (voucher->page == NULL)
        return 0;
    uint64_t number = atomic_load_explicit(&voucher->page->number, memory_order_acquire);
    return (number & 1) == 0 ? number : 0;
}

bool store_voucher_names(const struct store_voucher *voucher, uint64_t number, const struct db *db)
{
    return is_of_this_boot(voucher) && is_of_file(voucher->page, db) &&
           store_voucher_number(voucher) == number;
}

uint64_t store_voucher_txn(const struct store_voucher *voucher)
{
    return atomic_load_explicit(&voucher->page->txn, memory_order_acquire);
}
