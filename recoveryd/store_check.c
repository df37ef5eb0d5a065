/* Each table is walked in a snapshot of its own: its rows are few beside the log's. A broken row
 * does not end the walk, which goes on behind it; a broken page does. */
#include "recoveryd/store_check.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/db/table.h"
#include "recoveryd/event_store.h"
#include "recoveryd/token_census.h"

enum { ATTEMPTS_MAX = 5 };

static void ignore_failure(const char *what, const char *reason)
{
    (void)what, (void)reason; /* counted, and told as a finding */
}

/* LMDB gives a snapshot up when it meets a page that cannot be: nothing more is read in it. */
static bool is_given_up(struct db_txn *txn, unsigned table)
{
    MDB_stat stat;
    return mdb_stat(txn->txn, txn->db->tables[table], &stat) != 0;
}

/* `*damaged` rows whose seal is broken; the rest of the table may be out of reach. */
static enum status walk(struct db_txn *txn, unsigned table, uint64_t *damaged)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, row;
    uint64_t count = 0, met = 0;
    MDB_stat stat;
    if (mdb_stat(txn->txn, txn->db->tables[table], &stat) == 0)
        count = stat.ms_entries;
    TRY(table_cursor_open(txn, table, &cursor));
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &row);
    for (; (status == STATUS_OK || status == STATUS_DATA_LOSS) && met <= count;
         status = table_cursor_next(&cursor, &key, &row), met++) {
        *damaged += status == STATUS_DATA_LOSS;
        if (status == STATUS_DATA_LOSS && is_given_up(txn, table))
            return STATUS_OK;
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status check_table(struct db_txn *txn, unsigned table, struct findings *findings)
{
    const struct db_schema *schema = txn->db->schema;
    const struct table_schema *of = &schema->tables[table];
    uint64_t damaged = 0;
    char name[96];
    if (of->flags & TABLE_UNSEALED)
        return STATUS_OK;
    log_divert_failures(ignore_failure);
    enum status status = walk(txn, table, &damaged);
    if (status == STATUS_OK && damaged == 0 && (of->flags & TABLE_DIGEST) != 0)
        status = table_verify(txn, table);
    log_divert_failures(NULL);
    if (status != STATUS_OK && status != STATUS_DATA_LOSS)
        return status;
    if (status == STATUS_OK && damaged == 0)
        return STATUS_OK;
    struct finding finding = { .code = FINDING_rows_damaged, .tenant = "", .name = name };
    snprintf(name, sizeof name, "%s.%s", schema->name, of->name);
    if (damaged > 0)
        snprintf(finding.reason, sizeof finding.reason, "%" PRIu64 " of its rows are damaged",
                 damaged);
    else
        snprintf(finding.reason, sizeof finding.reason,
                 "its rows do not match its digest: some are missing, extra or from another time");
    return findings_add(findings, &finding);
}

static enum status check_tables(struct db *db, struct findings *findings)
{
    for (unsigned i = 0; i < db->schema->table_count; i++) {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_read(db, &txn));
        TRY(check_table(&txn, i, findings));
    }
    return STATUS_OK;
}

static enum status check_log(const struct settings *settings, struct findings *findings,
                             bool *is_settled)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    *is_settled = true;
    enum status status = event_store_open(&store, settings->data_dir);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    status = check_tables(&store.db, findings);
    TRY(event_store_is_settled(&store, is_settled));
    return status;
}

static enum status check_tokens(const struct settings *settings, struct findings *findings,
                                bool *is_settled)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    bool is_without_trace;
    *is_settled = true;
    enum status status = token_census_open_walked(settings, &db, &is_without_trace);
    if (status != STATUS_OK) /* absent, or said by the census to be unreadable */
        return status == STATUS_RESOURCE_EXHAUSTED ? status : STATUS_OK;
    status = check_tables(&db, findings);
    if (is_without_trace)
        TRY(db_is_stable(&db, is_settled));
    return status;
}

static enum status check_until_settled(const struct settings *settings, struct findings *findings,
                                       enum status (*check)(const struct settings *settings,
                                                            struct findings *findings,
                                                            bool *is_settled))
{
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        AUTO(findings_close) struct findings found = { 0 };
        bool is_settled;
        TRY(check(settings, &found, &is_settled));
        if (is_settled)
            return findings_add_all(findings, &found);
    }
    return log_failure(STATUS_ABORTED, "check rows", "reason",
                       "the stores kept changing while no writer held them");
}

enum status store_check(const struct settings *settings, struct findings *findings)
{
    TRY(check_until_settled(settings, findings, check_log));
    return check_until_settled(settings, findings, check_tokens);
}

static enum status check_projection(const struct settings *settings, struct findings *findings,
                                    bool *is_settled)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    AUTO(db_end) struct db_txn txn = { 0 };
    static const unsigned tables[] = { EVENTS_LIVE, EVENTS_TENANTS };
    *is_settled = true;
    enum status status = event_store_open(&store, settings->data_dir);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    TRY(db_begin_read(&store.db, &txn));
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        log_divert_failures(ignore_failure);
        status = table_verify(&txn, tables[i]);
        log_divert_failures(NULL);
        if (status == STATUS_DATA_LOSS)
            status = findings_add(
                findings, &(struct finding){ .code = FINDING_live_damaged,
                                             .tenant = "",
                                             .name = events_schema.tables[tables[i]].name });
        TRY(status);
    }
    db_end(&txn);
    return event_store_is_settled(&store, is_settled);
}

enum status projection_check(const struct settings *settings, struct findings *findings)
{
    return check_until_settled(settings, findings, check_projection);
}
