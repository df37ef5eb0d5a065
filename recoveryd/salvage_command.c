/* The new store is made beside the old one, probed, and exchanged with it; what stood there is
 * renamed and never touched again. Cut off at any point, there is the damaged store in its place or
 * the new one, and nothing that was there is gone. The anchor beside it stays: it is of a branch
 * that the new one gives up, and tells of the end of the kept one should that be put back. */
#include "recoveryd/salvage_command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/api/records/log_salvage.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/db/environment.h"
#include "common/db/walk.h"
#include "recoveryd/anchors.h"
#include "recoveryd/archives.h"
#include "recoveryd/exit_codes.h"
#include "recoveryd/salvage_report.h"
#include "recoveryd/salvage_store.h"

struct salvage {
    char place[4096];      /* DATA/events */
    char beside[4096];     /* DATA/events.salvaging */
    char quarantine[4096]; /* DATA/quarantine-events-TIME */
    struct record_scan scan;
    struct salvage_losses losses;
    uint64_t known_last;
};

static void salvage_close(struct salvage *salvage)
{
    record_scan_close(&salvage->scan);
    salvage_losses_close(&salvage->losses);
}

/* --- looking --- */

/* A folder of a backup, or of a store; or an archive, which has its records as a store has them. */
static enum status scan_source(struct record_scan *scan, const char *dir)
{
    char path[4096];
    struct stat source;
    if (stat(dir, &source) == 0 && S_ISREG(source.st_mode))
        return record_scan_file(scan, dir);
    TRY(path_join(path, dir, "events/data.mdb"));
    if (access(path, F_OK) < 0)
        TRY(path_join(path, dir, "data.mdb"));
    return record_scan_file(scan, path);
}

/* Those of DATA. What is in no file there may still be in a backup. */
static enum status scan_archives(struct record_scan *scan, const struct settings *settings)
{
    AUTO(archives_close) struct archives archives = { 0 };
    TRY(archives_list(settings, &archives));
    for (size_t i = 0; i < archives.count; i++) {
        char path[4096];
        TRY(archives_path(&archives, &archives.items[i], LOG_ARCHIVE_SUFFIX, path));
        TRY(record_scan_file(scan, path));
    }
    return STATUS_OK;
}

/* What stands beside the log is the youngest word of it: what tokend was told of another branch was
 * given up since. */
static void hear_witnesses(struct salvage *salvage, const struct settings *settings)
{
    struct anchors anchors;
    const struct log_anchor *witness = &salvage->scan.witness;
    anchors_read(settings, &anchors);
    for (size_t i = 0; i < anchors.count; i++)
        if (strcmp(anchors.items[i].witness, LOG_ANCHOR_FILE) == 0)
            salvage->scan.witness = anchors.items[i].anchor;
    for (size_t i = 0; i < anchors.count; i++) {
        const struct log_anchor *anchor = &anchors.items[i].anchor;
        bool is_of_branch =
            witness->id == 0 || memcmp(anchor->branch, witness->branch, sizeof anchor->branch) == 0;
        if (is_of_branch && anchor->id > salvage->known_last)
            salvage->known_last = anchor->id;
    }
}

/* A log of somebody else would take the place of this one. */
static enum status check_sources(const struct salvage *salvage, const struct options *options,
                                 unsigned first)
{
    for (unsigned i = 0; i < options->source_count; i++)
        if (record_scan_is_foreign(&salvage->scan, first + i))
            return log_failure(
                STATUS_FAILED_PRECONDITION, "salvage", "dir", salvage->place, "source",
                options->sources[i], "reason",
                "it is of another log: name what is of this Solo, or move DATA/events away "
                "if that log is to be the one here");
    return STATUS_OK;
}

static enum status look(struct salvage *salvage, const struct settings *settings,
                        const struct options *options)
{
    char path[4096];
    TRY(path_join(path, salvage->place, "data.mdb"));
    if (access(path, F_OK) == 0 || options->source_count == 0)
        TRY(record_scan_file(&salvage->scan, path));
    salvage->scan.has_own = salvage->scan.file_count > 0;
    for (unsigned i = 0; i < options->source_count; i++)
        TRY(scan_source(&salvage->scan, options->sources[i]));
    TRY(scan_archives(&salvage->scan, settings));
    hear_witnesses(salvage, settings);
    TRY(record_scan_link(&salvage->scan));
    TRY(check_sources(salvage, options, salvage->scan.has_own ? 1 : 0));
    if (salvage->scan.chain_count > 0)
        return STATUS_OK;
    return log_failure(STATUS_DATA_LOSS, "salvage", "dir", salvage->place, "events",
                       NUMBER(salvage->scan.count), "reason",
                       "event 1 is not there, and nothing can be linked to it: name backups or "
                       "archives that have it");
}

/* --- exchanging --- */

static enum status name_quarantine(struct salvage *salvage, const char *data_dir)
{
    time_t now = (time_t)(clock_wall_ns() / 1000000000u);
    struct tm utc;
    char stamp[32], name[64];
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
    for (int i = 1; i < 100; i++) {
        if (i == 1)
            snprintf(name, sizeof name, "quarantine-events-%s", stamp);
        else
            snprintf(name, sizeof name, "quarantine-events-%s-%d", stamp, i);
        TRY(path_join(salvage->quarantine, data_dir, name));
        if (access(salvage->quarantine, F_OK) < 0)
            return STATUS_OK;
    }
    return log_failure(STATUS_ALREADY_EXISTS, "salvage", "path", salvage->quarantine);
}

/* A salvage that was cut off may have left the damaged store under this name: it is set aside. */
static enum status clear_beside(struct salvage *salvage, const char *data_dir)
{
    if (access(salvage->beside, F_OK) < 0)
        return STATUS_OK;
    TRY(name_quarantine(salvage, data_dir));
    return rename(salvage->beside, salvage->quarantine) < 0
               ? errno_failure("set a store aside", salvage->beside)
               : STATUS_OK;
}

/* Whoever owned the store owns the new one. */
static enum status give_to_owner(const struct salvage *salvage)
{
    static const char *const files[] = { "", "data.mdb", "lock.mdb" };
    struct stat old;
    if (stat(salvage->place, &old) < 0)
        return STATUS_OK;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char path[4096];
        TRY(path_join(path, salvage->beside, files[i]));
        if (chown(path, old.st_uid, old.st_gid) < 0 && geteuid() == 0)
            return errno_failure("give a store to its owner", path);
    }
    return environment_set_modes(&events_schema, salvage->beside);
}

/* At once where the file system can; otherwise a cut between the two leaves no log, which eventd
 * takes for a FORKED one, by its anchor. */
static enum status exchange(struct salvage *salvage, const char *data_dir)
{
    bool is_there = access(salvage->place, F_OK) == 0;
    fault_point("salvage.before_exchange");
    if (is_there &&
        renameat2(AT_FDCWD, salvage->beside, AT_FDCWD, salvage->place, RENAME_EXCHANGE) == 0) {
        fault_point("salvage.exchanged");
        if (rename(salvage->beside, salvage->quarantine) < 0)
            return errno_failure("set a store aside", salvage->beside);
        return directory_sync(data_dir);
    }
    if (is_there && rename(salvage->place, salvage->quarantine) < 0)
        return errno_failure("set a store aside", salvage->place);
    if (rename(salvage->beside, salvage->place) < 0)
        return errno_failure("move a store to its place", salvage->place);
    return directory_sync(data_dir);
}

/* The log that is put there begins a branch of its own, and what others know of the one before is
 * counted among what is lost. */
static void begin_branch(const struct settings *settings, struct log_branch *branch)
{
    struct anchors anchors;
    *branch = (struct log_branch){ 0 };
    anchors_read(settings, &anchors);
    for (size_t i = 0; i < anchors.count; i++) {
        memcpy(branch->id, anchors.items[i].anchor.branch, sizeof branch->id);
        log_branch_keep(branch);
    }
    if (anchors.count == 0)
        log_branch_keep(branch);
}

static struct salvage_report report_of(const struct salvage *salvage)
{
    return (struct salvage_report){
        .scan = &salvage->scan,
        .losses = &salvage->losses,
        .quarantine = salvage->quarantine,
    };
}

static enum status make_and_exchange(struct salvage *salvage, const struct settings *settings)
{
    struct log_branch branch;
    TRY(clear_beside(salvage, settings->data_dir));
    begin_branch(settings, &branch);
    TRY(salvage_store_make(salvage->beside, settings->data_dir, &salvage->scan, salvage->known_last,
                           &branch, &salvage->losses));
    TRY(db_probe(&events_schema, salvage->beside));
    TRY(give_to_owner(salvage));
    TRY(name_quarantine(salvage, settings->data_dir));
    const struct salvage_report report = report_of(salvage);
    TRY(salvage_report_keep(&report));
    return exchange(salvage, settings->data_dir);
}

/* --- the command --- */

static void ignore_failure(const char *what, const char *reason)
{
    (void)what, (void)reason;
}

static enum status take_lock(const char *data_dir, const char *name, struct file_lock *lock)
{
    char path[4096];
    TRY(path_join(path, data_dir, name));
    enum status status = file_lock_take(lock, path, 0);
    return status == STATUS_LOCKED ? log_failure(status, "salvage", "data", data_dir, "reason",
                                                 "a Solo runs there: stop it")
                                   : status;
}

/* Run again before anybody has started Solo: what the first run could not prove stands in the store
 * that it made, and nowhere else yet. data_loss, or any other failure: that store is not whole. */
static enum status read_made(const struct salvage *salvage, struct log_salvage *made)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_probe(&events_schema, salvage->place));
    TRY(db_open_reader(&db, &events_schema, salvage->place));
    TRY(db_begin_read(&db, &txn));
    TRY(log_salvage_read(&txn, made));
    made->listed = NULL; /* it lies in the transaction */
    return made->is_fresh ? db_walk(&events_schema, salvage->place, WALK_ALONE) : STATUS_OK;
}

static bool was_made_before(const struct salvage *salvage, struct log_salvage *made)
{
    log_divert_failures(ignore_failure);
    enum status status = read_made(salvage, made);
    log_divert_failures(NULL);
    return status == STATUS_OK && made->is_fresh;
}

/* Finishes what the first run was cut off in. */
static enum status tell_made(struct salvage *salvage, const struct settings *settings,
                             const struct options *options, const struct log_salvage *made,
                             int *code)
{
    if (options->source_count > 0)
        return log_failure(STATUS_FAILED_PRECONDITION, "salvage", "dir", salvage->place, "reason",
                           "it was made by a salvage, and Solo was not started since: to make it "
                           "anew with what is named, put the kept store back as DATA/events");
    TRY(clear_beside(salvage, settings->data_dir));
    *code = options->has_detailed_exitcode && made->needs_person ? EXIT_PERSON_NEEDED : 0;
    return salvage_report_print_made(made, options->output == OUTPUT_JSON);
}

static enum status salvage_log(const struct settings *settings, const struct options *options,
                               int *code)
{
    AUTO(file_lock_release) struct file_lock solod = FILE_LOCK_NONE;
    AUTO(file_lock_release) struct file_lock lease = FILE_LOCK_NONE;
    AUTO(salvage_close) struct salvage salvage = { .scan = RECORD_SCAN_INIT };
    TRY(path_join(salvage.place, settings->data_dir, events_schema.name));
    TRY(path_join(salvage.beside, settings->data_dir, "events.salvaging"));
    TRY(take_lock(settings->data_dir, "solod.lock", &solod));
    TRY(take_lock(settings->data_dir, "events.lock", &lease));
    struct log_salvage made;
    if (was_made_before(&salvage, &made))
        return tell_made(&salvage, settings, options, &made, code);
    TRY(look(&salvage, settings, options));
    TRY(make_and_exchange(&salvage, settings));
    const struct salvage_report report = report_of(&salvage);
    bool needs_person =
        salvage_losses_need_a_person(&salvage.losses) || record_scan_is_contradicted(&salvage.scan);
    *code = options->has_detailed_exitcode && needs_person ? EXIT_PERSON_NEEDED : 0;
    return salvage_report_print(&report, options->output == OUTPUT_JSON);
}

int salvage_command(const struct settings *settings, const struct options *options)
{
    int code = 0;
    enum status status = salvage_log(settings, options, &code);
    return status == STATUS_OK ? code : status_exit_code(status);
}
