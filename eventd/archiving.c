/* Under a temporary name, synced, renamed, the folder synced; then read back. Snapshots are short,
 * so that the writer's pages are not held back: old events never change. */
#include "eventd/archiving.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/records/log_archive.h"
#include "common/api/records/log_branch.h"
#include "common/api/records/log_cut.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/db/environment.h"
#include "common/db/reserve.h"
#include "common/db/store_child.h"

enum { SLICE_EVENTS = 1000, SLICE_BYTES = 4 * 1024 * 1024, NUMBER_TEXT_BYTES = 24 };
#define ARGUMENT          "--archive-events"
#define UNFINISHED_SUFFIX LOG_ARCHIVE_SUFFIX ".new"

/* --- the parent's part --- */

enum status archiving_start(const struct archiving *archiving, pid_t *pid, int *pidfd)
{
    char first[NUMBER_TEXT_BYTES], last[NUMBER_TEXT_BYTES];
    const char *arguments[] = {
        "log-archive", ARGUMENT, archiving->data_dir, archiving->folder, first, last, NULL
    };
    snprintf(first, sizeof first, "%" PRIu64, archiving->first);
    snprintf(last, sizeof last, "%" PRIu64, archiving->last);
    TRY(store_child_start(arguments, archiving->data_dir, pid));
    return store_child_watch(*pid, archiving->data_dir, pidfd);
}

/* --- the child --- */

struct job {
    struct archiving asked;
    struct db db;
    char path[4096], beside[4096], checkpoint[4096];
};

static void job_close(struct job *job)
{
    db_close(&job->db);
}

/* What an earlier child, which was cut off, has left. */
static enum status remove_unfinished(const char *folder)
{
    AUTO(directory_close) DIR *names = opendir(folder);
    if (names == NULL)
        return errno_failure("open the folder of archives", folder);
    for (struct dirent *entry; (entry = readdir(names)) != NULL;) {
        char path[4096];
        uint64_t first, last;
        if (!log_archive_name_parse(entry->d_name, UNFINISHED_SUFFIX, &first, &last))
            continue;
        TRY(path_join(path, folder, entry->d_name));
        if (unlink(path) < 0)
            return errno_failure("remove", path);
    }
    return STATUS_OK;
}

static enum status open_job(struct job *job)
{
    char name[LOG_ARCHIVE_NAME_BYTES], dir[4096];
    const struct archiving *asked = &job->asked;
    log_archive_name(name, asked->first, asked->last, LOG_ARCHIVE_SUFFIX);
    TRY(path_join(job->path, asked->folder, name));
    log_archive_name(name, asked->first, asked->last, UNFINISHED_SUFFIX);
    TRY(path_join(job->beside, asked->folder, name));
    log_archive_name(name, asked->first, asked->last, LOG_CHECKPOINT_SUFFIX);
    TRY(path_join(job->checkpoint, asked->folder, name));
    TRY(path_join(dir, asked->data_dir, events_schema.name));
    TRY(directory_make(asked->folder, 0750));
    TRY(remove_unfinished(asked->folder));
    return db_open_reader(&job->db, &events_schema, dir);
}

static enum status read_record(struct db_txn *txn, uint64_t id, struct span *record)
{
    struct table_number number = table_number(id);
    enum status status = table_get(txn, EVENTS_EVENTS, table_number_key(&number), record);
    return status != STATUS_NOT_FOUND ? status
                                      : log_failure(STATUS_DATA_LOSS, "archive events", "event",
                                                    NUMBER(id), "reason", "it is missing");
}

static enum status measure_slice(struct job *job, uint64_t *next, uint64_t *bytes)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&job->db, &txn));
    for (int i = 0; i < SLICE_EVENTS && *next <= job->asked.last; i++, (*next)++) {
        struct span record;
        TRY(read_record(&txn, *next, &record));
        *bytes += record.size;
    }
    return STATUS_OK;
}

/* The state will be about as large as the one before. */
static enum status measure_rest(struct job *job, uint64_t *bytes)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct log_cut cut;
    TRY(db_begin_read(&job->db, &txn));
    TRY(log_cut_read(&txn, &cut));
    *bytes = cut.state_bytes + LOG_ARCHIVE_HEAD_BYTES + LOG_ARCHIVE_TAIL_BYTES;
    return STATUS_OK;
}

/* Before anything is written: an archive that fills the log's own disk would have all refused that
 * grows, until it is given up. */
static enum status look_for_room(struct job *job)
{
    uint64_t room, bytes, next = job->asked.first;
    TRY(reserve_room_beside(job->asked.folder, &room));
    TRY(measure_rest(job, &bytes));
    while (bytes <= room && next <= job->asked.last)
        TRY(measure_slice(job, &next, &bytes));
    return bytes <= room
               ? STATUS_OK
               : log_failure(STATUS_RESOURCE_EXHAUSTED, "archive events", "folder",
                             job->asked.folder, "bytes_of_room", NUMBER(room), "reason",
                             "the archive needs more, and nothing of it was written: make room, "
                             "or set archive_dir");
}

/* One snapshot's worth of records. */
static enum status add_slice(struct job *job, struct log_archive_writer *writer,
                             struct log_fold *fold, uint64_t *wall_ns)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    size_t bytes = 0;
    TRY(db_begin_read(&job->db, &txn));
    for (int i = 0; i < SLICE_EVENTS && bytes < SLICE_BYTES && fold->next <= job->asked.last; i++) {
        struct span record;
        struct event event;
        TRY(read_record(&txn, fold->next, &record));
        arena_reset(&fold->arena);
        TRY(event_decode(record, &fold->arena, &event));
        TRY(log_fold_take(fold, &event));
        TRY(log_archive_add(writer, record));
        *wall_ns = event.wall_ns;
        bytes += record.size;
    }
    return STATUS_OK;
}

static enum status begin_fold(struct job *job, struct log_fold *fold)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_read(&job->db, &txn));
    TRY(log_fold_open_at_cut(fold, &txn));
    return fold->next == job->asked.first
               ? STATUS_OK
               : log_failure(STATUS_FAILED_PRECONDITION, "archive events", "first",
                             NUMBER(job->asked.first), "log_begins", NUMBER(fold->next), "reason",
                             "an archive goes on where the last one ended");
}

static enum status write_to(struct job *job, int fd)
{
    AUTO(log_fold_close) struct log_fold fold = { 0 };
    AUTO(log_archive_writer_close) struct log_archive_writer writer = { 0 };
    uint64_t wall_ns = 0;
    TRY(begin_fold(job, &fold));
    TRY(log_archive_begin(&writer, fd, job->db.identity.id, fold.next, &fold.previous));
    while (fold.next <= job->asked.last)
        TRY(add_slice(job, &writer, &fold, &wall_ns));
    TRY(log_archive_end(&writer, wall_ns, &fold));
    fault_point("archive.before_sync");
    return fsync(fd) < 0 ? errno_failure("sync an archive of the log", job->beside) : STATUS_OK;
}

static enum status write_archive(struct job *job)
{
    AUTO(fd_close) int fd = open(job->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0440);
    if (fd < 0)
        return errno_failure("create an archive of the log", job->beside);
    enum status status = write_to(job, fd);
    fault_point("archive.before_rename");
    if (status == STATUS_OK && rename(job->beside, job->path) < 0)
        status = errno_failure("move an archive to its place", job->path);
    if (status != STATUS_OK) {
        unlink(job->beside); /* what a full disk has of it is of no use */
        return status;
    }
    return directory_sync(job->asked.folder);
}

/* --- is it what it should be --- */

/* That the archive's last event is the log's: then all of them are, by the chain. */
static enum status compare_with_log(struct job *job, const struct log_archive *archive)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct table_number number = table_number(job->asked.last);
    struct span record;
    struct event event;
    TRY(db_begin_read(&job->db, &txn));
    TRY(table_get(&txn, EVENTS_EVENTS, table_number_key(&number), &record));
    TRY(event_decode_header(record, &event));
    bool is_same = archive->first == job->asked.first && archive->last == job->asked.last &&
                   hash_equal(&event.hash, &archive->hash);
    return is_same ? STATUS_OK
                   : log_failure(STATUS_DATA_LOSS, "verify an archive of the log", "path",
                                 job->path, "reason", "it has other events than the log");
}

static enum status verify_archive(struct job *job, struct log_checkpoint *checkpoint)
{
    AUTO(log_archive_close) struct log_archive archive = { .fd = -1 };
    AUTO(log_fold_close) struct log_fold fold = { 0 };
    TRY(log_archive_open(&archive, job->path));
    TRY(begin_fold(job, &fold));
    if (!hash_equal(&archive.before, &fold.previous))
        return log_failure(STATUS_DATA_LOSS, "verify an archive of the log", "path", job->path,
                           "reason", "it does not follow what was archived before");
    TRY(log_archive_verify(&archive, &fold));
    TRY(compare_with_log(job, &archive));
    log_archive_describe(&archive, checkpoint);
    return STATUS_OK;
}

/* What lies there may be of a log that was given up: nobody removes it. */
static enum status set_aside(const char *path)
{
    char to[4096];
    for (int i = 1; i < 100; i++) {
        snprintf(to, sizeof to, "%s.set-aside-%d", path, i);
        if (renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
            log_warning("a file that is not the archive it should be was set aside", "path", to);
            return STATUS_OK;
        }
        if (errno == ENOENT)
            return STATUS_OK;
        if (errno != EEXIST)
            break;
    }
    return errno_failure("set a file aside", path);
}

static enum status have_archive(struct job *job, struct log_checkpoint *checkpoint)
{
    if (access(job->path, F_OK) == 0) {
        enum status status = verify_archive(job, checkpoint);
        if (status == STATUS_OK)
            return STATUS_OK;
        if (status != STATUS_DATA_LOSS)
            return status;
        TRY(set_aside(job->path));
        TRY(set_aside(job->checkpoint));
    }
    TRY(look_for_room(job));
    TRY(write_archive(job));
    fault_point("archive.before_verify");
    return verify_archive(job, checkpoint);
}

/* --- the checkpoint --- */

static enum status describe_log(struct job *job, struct log_checkpoint *checkpoint)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct log_branch branch;
    struct span before;
    TRY(db_begin_read(&job->db, &txn));
    TRY(log_branch_read(&txn, &branch));
    memcpy(checkpoint->branch, branch.id, sizeof checkpoint->branch);
    memcpy(checkpoint->incarnation, job->db.identity.incarnation, sizeof checkpoint->incarnation);
    enum status status = log_cut_read_checkpoint(&txn, &before);
    if (status == STATUS_OK)
        checkpoint->previous = hash_of(before);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status sign(struct job *job, struct log_checkpoint *checkpoint)
{
    AUTO(buffer_close) struct buffer text = { .limit = LOG_CHECKPOINT_BYTES_MAX };
    uint8_t public_key[LOG_PUBLIC_BYTES], secret[LOG_SECRET_BYTES];
    TRY(describe_log(job, checkpoint));
    TRY(log_key_open(job->asked.data_dir, public_key, secret));
    checkpoint->signed_ns = clock_wall_ns();
    enum status status = log_checkpoint_sign(checkpoint, public_key, secret, &text);
    sodium_memzero(secret, sizeof secret);
    TRY(status);
    fault_point("archive.before_checkpoint");
    return file_write_durably(job->checkpoint, buffer_span(&text), 0440);
}

static enum status archive(const struct archiving *asked)
{
    AUTO(job_close) struct job job = { .asked = *asked, .db.lease = FILE_LOCK_NONE };
    struct log_checkpoint checkpoint = { 0 };
    TRY(open_job(&job));
    TRY(have_archive(&job, &checkpoint));
    TRY(sign(&job, &checkpoint));
    fault_point("archive.after_checkpoint");
    return STATUS_OK;
}

void archiving_run_if_asked(int argc, char **argv)
{
    if (argc != 6 || strcmp(argv[1], ARGUMENT) != 0)
        return;
    log_setup("log-archive", LOG_LEVEL_INFO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }); /* none at all: see lifecycle.c */
    store_child_step_back();
    umask(027);
    const struct archiving asked = {
        .data_dir = argv[2],
        .folder = argv[3],
        .first = strtoull(argv[4], NULL, 10),
        .last = strtoull(argv[5], NULL, 10),
    };
    exit(status_exit_code(archive(&asked)));
}
