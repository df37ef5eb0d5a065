/* One walk over the rows: each proves itself, and their number is compared with the table's digest,
 * so that one that is missing shows. */
#include "recoveryd/token_census.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/api/records/token_clock.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/probe.h"
#include "common/db/store_child.h"
#include "common/db/table.h"
#include "common/db/walk.h"
#include "common/wire/writer.h"

enum { ATTEMPTS_MAX = 5, CENSUS_CPU_SECONDS_MAX = 600 };

static void count_row(struct span row, uint64_t now_ns, struct token_census *census)
{
    struct token_record record;
    if (token_record_decode(row, &record) != STATUS_OK)
        census->damaged++;
    else if (token_record_is_expired(&record, now_ns))
        census->expired++;
    else
        census->valid++;
}

static enum status count_rows(struct db *db, struct token_census *census)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct token_anchor anchor;
    struct token_time time;
    struct span key, row;
    uint64_t count;
    TRY(db_begin_read(db, &txn));
    TRY(token_anchor_read(&txn, &anchor));
    TRY(token_time_read(&time));
    uint64_t now_ns = token_clock_now(&anchor, &time);
    TRY(table_count(&txn, TOKENS_TOKENS, &count));
    TRY(table_cursor_open(&txn, TOKENS_TOKENS, &cursor));
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &row);
    for (; status == STATUS_OK || status == STATUS_DATA_LOSS;
         status = table_cursor_next(&cursor, &key, &row)) {
        if (status == STATUS_OK)
            count_row(row, now_ns, census);
        else if (++census->damaged > count)
            return STATUS_DATA_LOSS; /* no row, but the walk itself */
    }
    census->has_digest = census->valid + census->expired + census->damaged == count;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Beside a running tokend with a slot among its readers, otherwise without locks, after a child of
 * ours has probed the file. */
static enum status open_store(const char *dir, struct db *db, bool *is_without_trace)
{
    char lease[4096 + 8];
    bool is_held;
    snprintf(lease, sizeof lease, "%s.lock", dir);
    TRY(file_lock_is_held(lease, &is_held));
    *is_without_trace = !is_held;
    if (is_held)
        return db_open_reader(db, &tokens_schema, dir);
    TRY(db_probe(&tokens_schema, dir));
    return db_open_without_trace(db, &tokens_schema, dir);
}

static enum status has_store(const char *folder, bool *has)
{
    char dir[4096], file[4096];
    TRY(path_join(dir, folder, tokens_schema.name));
    TRY(path_join(file, dir, "data.mdb"));
    *has = access(file, F_OK) == 0;
    return STATUS_OK;
}

enum status token_census_find(struct settings *settings)
{
    char dir[4096], lease[4096 + 8];
    bool is_held, is_in_run, is_in_data;
    if (!settings->token_persistence_enabled)
        return STATUS_OK;
    TRY(path_join(dir, settings->run_dir, tokens_schema.name));
    snprintf(lease, sizeof lease, "%s.lock", dir);
    TRY(file_lock_is_held(lease, &is_held));
    TRY(has_store(settings->run_dir, &is_in_run));
    TRY(has_store(settings->data_dir, &is_in_data));
    settings->token_persistence_enabled = !is_held && (is_in_data || !is_in_run);
    return STATUS_OK;
}

static enum status find_store(const struct settings *settings, char dir[4096])
{
    char file[4096];
    const char *folder =
        settings->token_persistence_enabled ? settings->data_dir : settings->run_dir;
    TRY(path_join(dir, folder, tokens_schema.name));
    TRY(path_join(file, dir, "data.mdb"));
    return access(file, F_OK) == 0 ? STATUS_OK : STATUS_NOT_FOUND;
}

/* A damaged page of any table ends who reads it, so a child reads all of them first, once. */
static bool is_walked, has_ended_its_reader;

static enum status walk_once(const char *dir)
{
    char lease[4096 + 8];
    bool is_held;
    pid_t pid;
    int result;
    if (!is_walked) {
        snprintf(lease, sizeof lease, "%s.lock", dir);
        TRY(file_lock_is_held(lease, &is_held));
        TRY(db_walk_start(&tokens_schema, dir, is_held ? WALK_BESIDE_WRITER : WALK_ALONE, &pid,
                          NULL));
        TRY(store_child_wait(pid, dir, &result));
        /* Somebody began to write below the child: what it met says nothing. */
        bool was_held = is_held;
        TRY(file_lock_is_held(lease, &is_held));
        if (!was_held && is_held)
            return STATUS_UNAVAILABLE;
        enum status judged = db_probe_judge(dir, result);
        bool could_tell = WIFEXITED(result) && WEXITSTATUS(result) == status_exit_code(judged);
        if (judged != STATUS_DATA_LOSS)
            TRY(judged);
        is_walked = true;
        has_ended_its_reader = judged == STATUS_DATA_LOSS && !could_tell;
    }
    return has_ended_its_reader ? STATUS_DATA_LOSS : STATUS_OK;
}

enum status token_census_open(const struct settings *settings, struct db *db,
                              bool *is_without_trace)
{
    char dir[4096];
    TRY(find_store(settings, dir));
    return open_store(dir, db, is_without_trace);
}

enum status token_census_open_walked(const struct settings *settings, struct db *db,
                                     bool *is_without_trace)
{
    char dir[4096];
    TRY(find_store(settings, dir));
    TRY(walk_once(dir));
    return open_store(dir, db, is_without_trace);
}

void token_census_note(struct token_census *census)
{
    census->is_unreadable = census->is_unreadable || has_ended_its_reader;
}

/* What the child that counts says at its end. */
struct counted {
    struct token_census census;
    enum status status;
    bool is_settled;
};

static enum status look(const char *dir, struct token_census *census, bool *is_settled)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    bool is_without_trace;
    TRY(open_store(dir, &db, &is_without_trace));
    TRY(count_rows(&db, census));
    *is_settled = true;
    return is_without_trace ? db_is_stable(&db, is_settled) : STATUS_OK;
}

__attribute__((noreturn)) static void be_child(const char *dir, int out)
{
    struct counted counted = { .census.exists = true };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    store_child_limit(CENSUS_CPU_SECONDS_MAX);
    counted.status = look(dir, &counted.census, &counted.is_settled);
    _exit(write(out, &counted, sizeof counted) == sizeof counted ? 0 : 1);
}

/* In a child, which a damaged page may end: no service waits for its tokens to be whole. */
static enum status look_in_child(const char *dir, struct token_census *census, bool *is_settled)
{
    struct counted counted = { 0 };
    int ends[2], result;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return log_failure(status_from_errno(errno), "count the tokens", "reason", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        be_child(dir, ends[1]);
    close(ends[1]);
    /* In one piece: it is smaller than what a pipe takes at once. */
    ssize_t got = 0;
    do
        got = pid < 0 ? 0 : read(ends[0], &counted, sizeof counted);
    while (got < 0 && errno == EINTR);
    close(ends[0]);
    if (pid < 0)
        return log_failure(status_from_errno(errno), "count the tokens", "reason", "no child");
    TRY(store_child_wait(pid, dir, &result));
    if (got != sizeof counted) {
        *is_settled = true; /* another one would meet the same page */
        return WIFSIGNALED(result) ? db_probe_judge(dir, result) : STATUS_DATA_LOSS;
    }
    *census = counted.census;
    *is_settled = counted.is_settled;
    return counted.status;
}

void token_census_take(const struct settings *settings, struct token_census *census)
{
    char dir[4096];
    enum status status = STATUS_OK;
    bool is_settled = false;
    *census = (struct token_census){ 0 };
    if (find_store(settings, dir) != STATUS_OK)
        return;
    /* tokend may start or end between the question and the opening, or write meanwhile. */
    for (int attempt = 0; attempt < ATTEMPTS_MAX && !is_settled; attempt++) {
        *census = (struct token_census){ .exists = true };
        status = look_in_child(dir, census, &is_settled);
    }
    census->is_unreadable = status != STATUS_OK || !is_settled;
}

bool token_census_needs_person(const struct token_census *census)
{
    return census->exists && (census->is_unreadable || census->damaged > 0 || !census->has_digest);
}

void token_census_write_text(const struct token_census *census, struct buffer *text)
{
    if (census->is_skipped) {
        buffer_append_text(text, "Tokens   not shown\n");
        return;
    }
    if (!census->exists) {
        buffer_append_text(text, "Tokens   none\n");
        return;
    }
    if (census->is_unreadable) {
        buffer_append_text(text, "Tokens   cannot be read: the store is damaged\n");
        return;
    }
    buffer_append_format(text, "Tokens   %" PRIu64 " valid, %" PRIu64 " expired", census->valid,
                         census->expired);
    if (census->damaged > 0)
        buffer_append_format(text, ", %" PRIu64 " damaged", census->damaged);
    if (!census->has_digest)
        buffer_append_text(text, "; rows are missing or extra");
    buffer_append_text(text, "\n");
}

void token_census_write_map(const struct token_census *census, struct buffer *map)
{
    write_str(map, "tokens");
    write_map(map, 4);
    write_str(map, "state");
    write_str(map, census->is_skipped                  ? "not shown"
                   : !census->exists                   ? "none"
                   : token_census_needs_person(census) ? "damaged"
                                                       : "intact");
    write_str(map, "valid");
    write_u64(map, census->valid);
    write_str(map, "expired");
    write_u64(map, census->expired);
    write_str(map, "damaged");
    write_u64(map, census->damaged);
}
