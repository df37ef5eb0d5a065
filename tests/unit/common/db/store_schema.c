#include "tests/unit/common/db/store_schema.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/db/table.h"
#include "common/db/walk.h"

static const struct table_schema tables[] = {
    [TEST_PLAIN] = { "plain", TABLE_PLAIN },
    [TEST_COUNTED] = { "counted", TABLE_DIGEST },
    [TEST_DERIVED] = { "derived", TABLE_DIGEST | TABLE_DERIVED },
    [TEST_UNSEALED] = { "unsealed", TABLE_UNSEALED },
};
const struct db_schema test_schema = {
    .name = "test",
    .owner = "testd",
    .format = 1,
    .tables = tables,
    .table_count = COUNT_OF(tables),
    .map_bytes = (size_t)64 << 20,
    .is_durable = true,
};

static enum status check_rows(struct db *db)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span value;
    TRY(db_begin_read(db, &txn));
    if (table_get(&txn, TEST_PLAIN, span_of_text("crash"), &value) == STATUS_OK) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    return STATUS_OK;
}

static enum status check_all_rows(struct db *db, unsigned part, unsigned parts)
{
    (void)part, (void)parts;
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span value;
    TRY(db_begin_read(db, &txn));
    if (table_get(&txn, TEST_PLAIN, span_of_text("crash-walk"), &value) == STATUS_OK) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    if (table_get(&txn, TEST_PLAIN, span_of_text("end-walk"), &value) == STATUS_OK)
        raise(SIGKILL);
    return STATUS_OK;
}

/* Before the constructor of probe_in_tests.c, which knows Solo's stores only. */
__attribute__((constructor(101))) static void probe_if_asked(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--probe-store") == 0 && strcmp(argv[2], "test") == 0)
        exit(db_probe_main(&test_schema, argv[3], check_rows));
    if (argc == 5 && strcmp(argv[1], "--walk-store") == 0 && strcmp(argv[2], "test") == 0)
        exit(db_walk_main(&test_schema, argv[3], argv[4], check_all_rows));
}
