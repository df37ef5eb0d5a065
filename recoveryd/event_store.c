/* Opening the log for reading. Whether eventd runs is asked, not guessed: its lease tells. Between
 * the question and the answer it may start or end, so that the other way is tried when one fails.
 */
#include "recoveryd/event_store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum { OPEN_ATTEMPTS_MAX = 5 };

/* How many stores are open. Read by the handler of fatal signals. */
static volatile sig_atomic_t open_count;
static struct span last_words;

static void on_fatal_signal(int number)
{
    static const char message[] =
        "recoveryd: reading the event store failed as it does on a damaged file\n";
    if (open_count > 0) {
        ssize_t ignored = write(STDERR_FILENO, message, sizeof message - 1);
        if (last_words.size > 0)
            ignored = write(STDOUT_FILENO, last_words.data, last_words.size);
        (void)ignored;
        _exit(86);
    }
    signal(number, SIG_DFL);
    raise(number);
}

void event_store_guard_words(struct span words)
{
    last_words = words;
}

void event_store_guard(void)
{
    static const int signals[] = { SIGBUS, SIGSEGV, SIGFPE, SIGABRT };
    struct sigaction action = { .sa_handler = on_fatal_signal, .sa_flags = (int)SA_RESETHAND };
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        sigaction(signals[i], &action, NULL);
}

static enum status open_unlocked(struct event_store *store, const char *dir, bool is_probed)
{
    enum status status = db_open_without_trace(&store->db, &events_schema, dir);
    store->is_without_trace = true;
    if (status != STATUS_OK || !is_probed)
        return status;
    db_close(&store->db);
    /* What a damaged file does to LMDB it does to a child. */
    TRY(db_probe(&events_schema, dir));
    return db_open_without_trace(&store->db, &events_schema, dir);
}

static enum status open_store(struct event_store *store, const char *data_dir, bool is_probed)
{
    char dir[4096], file[4096];
    TRY(path_join(dir, data_dir, events_schema.name));
    TRY(path_join(file, dir, "data.mdb"));
    if (access(file, F_OK) != 0 && errno == ENOENT)
        return STATUS_NOT_FOUND;
    enum status status = STATUS_UNAVAILABLE;
    for (int attempt = 0; attempt < OPEN_ATTEMPTS_MAX; attempt++) {
        bool is_held;
        char lease[4096 + 8];
        snprintf(lease, sizeof lease, "%s.lock", dir);
        TRY(file_lock_is_held(lease, &is_held));
        store->is_without_trace = false;
        open_count++;
        status = is_held ? db_open_reader(&store->db, &events_schema, dir)
                         : open_unlocked(store, dir, is_probed);
        if (status == STATUS_OK)
            return STATUS_OK;
        open_count--;
        bool was_held = is_held;
        TRY(file_lock_is_held(lease, &is_held));
        if (was_held == is_held)
            break;
    }
    return status;
}

enum status event_store_open(struct event_store *store, const char *data_dir)
{
    return open_store(store, data_dir, true);
}

enum status event_store_open_unprobed(struct event_store *store, const char *data_dir)
{
    return open_store(store, data_dir, false);
}

void event_store_close(struct event_store *store)
{
    if (store->db.env == NULL)
        return;
    db_close(&store->db);
    open_count--;
}

enum status event_store_is_settled(struct event_store *store, bool *is_settled)
{
    *is_settled = true;
    return store->is_without_trace ? db_is_stable(&store->db, is_settled) : STATUS_OK;
}
