/* store_reader SCHEMA DIR: reads a store that may be damaged as its daemon and its readers do, and
 * prints a line for each row that it believes: TABLE, hash of key and value. A table whose digest
 * does not match is named, and none of its rows are. What the file does to LMDB ends this program.
 * The exit code is that of the probe. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "common/base/log.h"

enum { CPU_SECONDS_MAX = 20, BROKEN_ROWS_MAX = 10000 };

static const struct db_schema *const schemas[] = { &events_schema, &tokens_schema, &vault_schema };

static enum status check_events(struct db *db)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t last, checked;
    TRY(db_begin_read(db, &txn));
    TRY(event_log_last(&txn, &last));
    TRY(event_log_verify(&txn, 1, UINT64_MAX, &checked));
    return checked == last ? STATUS_OK : STATUS_DATA_LOSS;
}

static void print_row(const char *table, struct span key, struct span value)
{
    struct hash_state state;
    char text[HASH_TEXT_BYTES];
    hash_begin(&state);
    hash_add(&state, key);
    hash_add(&state, value);
    struct hash hash = hash_end(&state);
    printf("%s %s\n", table, hex_text(text, hash.bytes, HASH_BYTES));
}

static void read_table(struct db_txn *txn, unsigned table, const char *name)
{
    AUTO(table_cursor_close) struct table_cursor cursor = { 0 };
    struct span key, value;
    unsigned broken = 0;
    if (table_cursor_open(txn, table, &cursor) != STATUS_OK)
        return;
    enum status status = table_cursor_seek(&cursor, (struct span){ 0 }, &key, &value);
    for (; status == STATUS_OK || (status == STATUS_DATA_LOSS && broken < BROKEN_ROWS_MAX);
         status = table_cursor_next(&cursor, &key, &value)) {
        if (status == STATUS_OK)
            print_row(name, key, value);
        else
            broken++;
    }
    if (status != STATUS_NOT_FOUND)
        printf("damaged %s\n", name);
}

static enum status read_store(const struct db_schema *schema, const char *dir)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    TRY(db_probe_here(schema, dir, schema == &events_schema ? check_events : NULL));
    TRY(db_open_without_trace(&db, schema, dir));
    for (unsigned i = 0; i < schema->table_count; i++) {
        AUTO(db_end) struct db_txn txn = { 0 };
        TRY(db_begin_read(&db, &txn));
        bool has_digest = (schema->tables[i].flags & TABLE_DIGEST) != 0;
        if (has_digest && table_verify(&txn, i) != STATUS_OK)
            printf("damaged %s\n", schema->tables[i].name);
        else
            read_table(&txn, i, schema->tables[i].name);
    }
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    static const int deadly[] = { SIGSEGV, SIGBUS, SIGFPE, SIGABRT };
    log_setup("store-reader", LOG_LEVEL_ERROR);
    /* Also where a sanitizer has handlers of its own: the signal is the answer. */
    for (size_t i = 0; i < COUNT_OF(deadly); i++)
        signal(deadly[i], SIG_DFL);
    prctl(PR_SET_PDEATHSIG, 9);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    setrlimit(RLIMIT_CPU, &(struct rlimit){ CPU_SECONDS_MAX, CPU_SECONDS_MAX });
    for (size_t i = 0; argc == 3 && i < COUNT_OF(schemas); i++)
        if (strcmp(argv[1], schemas[i]->name) == 0)
            return status_exit_code(read_store(schemas[i], argv[2]));
    return status_exit_code(STATUS_USAGE);
}
