/* The normal path is a copy of fifteen words. All else is the page's coming and going. */
#include "common/access/voucher_view.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum {
    PAGE_BYTES = sizeof(struct store_voucher_page),
    PAGE_WORDS = PAGE_BYTES / sizeof(uint64_t),
};
_Static_assert(PAGE_BYTES % sizeof(uint64_t) == 0, "copied in words");

/* --- a page that is cut off --- */

/* What this thread is reading; LMDB's maps are not ours to mend. */
static _Thread_local const void *volatile being_read;
static struct sigaction previous_action;

/* Zeros in its place: the signal is the word of the kernel that there is nothing. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    void *page = (void *)(uintptr_t)being_read;
    bool is_ours = page != NULL && (uintptr_t)info->si_addr - (uintptr_t)page < PAGE_BYTES;
    if (is_ours && mmap(page, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                        0) != MAP_FAILED)
        return;
    sigaction(SIGBUS, &previous_action, NULL); /* what faulted does so again */
    if (info->si_code <= 0)                    /* somebody sent it */
        raise(number);
}

static void meet_bus_errors(void)
{
    static bool is_met;
    struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
    if (!is_met)
        sigaction(SIGBUS, &action, &previous_action);
    is_met = true;
}

/* --- coming and going --- */

enum status voucher_view_open(struct voucher_view *view, const char *run_dir, const char *file_name,
                              const char *boot_id)
{
    *view = (struct voucher_view){ 0 };
    snprintf(view->boot_id, sizeof view->boot_id, "%s", boot_id);
    return path_join(view->path, run_dir, file_name);
}

void voucher_view_close(struct voucher_view *view)
{
    if (view->words != NULL)
        munmap((void *)(uintptr_t)view->words, PAGE_BYTES);
    view->words = NULL;
}

static enum status failure(const struct voucher_view *view, const char *what)
{
    int error = errno;
    return log_failure(status_from_errno(error), what, "path", view->path, "reason",
                       strerror(error));
}

/* O_NONBLOCK: whatever lies there, to open it takes no time. */
static enum status map_page(struct voucher_view *view, uint64_t now_ns)
{
    AUTO(fd_close) int fd = open(view->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;
    if (fd < 0 && (errno == ENOENT || errno == ELOOP)) /* a link is what its owner replaces */
        return STATUS_UNAVAILABLE;
    if (fd < 0 || fstat(fd, &status) < 0)
        return failure(view, "open");
    if (!S_ISREG(status.st_mode) || status.st_size < PAGE_BYTES)
        return STATUS_UNAVAILABLE;
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return failure(view, "map");
    meet_bus_errors();
    view->words = page;
    view->device = status.st_dev;
    view->inode = status.st_ino;
    view->looked_ns = now_ns;
    view->mapped++;
    return STATUS_OK;
}

static bool is_in_place(const struct voucher_view *view)
{
    struct stat status;
    return lstat(view->path, &status) == 0 && status.st_dev == view->device &&
           status.st_ino == view->inode && status.st_size >= PAGE_BYTES;
}

/* --- looking --- */

static enum status look_in_place(struct voucher_view *view, uint64_t now_ns)
{
    if (view->words != NULL && is_in_place(view)) {
        view->looked_ns = now_ns;
        return STATUS_OK;
    }
    voucher_view_close(view);
    return map_page(view, now_ns);
}

/* The number, which stands last, is read first and again: while it is the same and even, the rest
 * belongs to it. Words are written whole. */
static bool copy_page(const struct voucher_view *view, struct store_voucher_page *page)
{
    const volatile uint64_t *words = view->words;
    uint64_t *copy = (uint64_t *)(void *)page;
    being_read = (const void *)(uintptr_t)words;
    uint64_t number = __atomic_load_n(&words[PAGE_WORDS - 1], __ATOMIC_ACQUIRE);
    for (size_t i = 0; i < PAGE_WORDS - 1; i++)
        copy[i] = __atomic_load_n(&words[i], __ATOMIC_ACQUIRE);
    page->number = __atomic_load_n(&words[PAGE_WORDS - 1], __ATOMIC_RELAXED);
    being_read = NULL;
    return page->number == number;
}

enum status voucher_view_look(struct voucher_view *view, uint64_t now_ns,
                              struct store_voucher_page *page)
{
    static const uint64_t look_ns = VOUCHER_LOOK_MS * UINT64_C(1000000);
    uint64_t mapped = view->mapped;
    if (view->words == NULL || now_ns - view->looked_ns >= look_ns)
        TRY(look_in_place(view, now_ns));
    if (copy_page(view, page) && store_voucher_holds(page, view->boot_id))
        return STATUS_OK;
    /* Another one may lie there by now, and one that was cut off is not to be read any more. */
    voucher_view_close(view);
    return view->mapped == mapped ? voucher_view_look(view, now_ns, page) : STATUS_UNAVAILABLE;
}
