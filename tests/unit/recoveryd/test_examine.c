#include "tests/support/criterion.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/db/table.h"
#include "common/wire/writer.h"
#include "recoveryd/count_check.h"
#include "recoveryd/examine.h"
#include "recoveryd/registry_check.h"
#include "tests/unit/recoveryd/log_maker.h"

static struct log_maker maker;

static void set_up(void)
{
    log_maker_open(&maker);
    log_deploy(&maker, "acme", "api", "sh");
    log_deploy(&maker, "acme", "web", "sh");
    log_deploy(&maker, "beta", "bot", "sh");
}

static void tear_down(void)
{
    log_maker_close(&maker);
}

TestSuite(examine, .init = set_up, .fini = tear_down);

/* The findings but for what is missing, because nothing runs here. */
static size_t findings_of(const struct findings *findings, const char *code)
{
    size_t count = 0;
    for (size_t i = 0; i < findings->count; i++)
        count += strcmp(finding_code_name(findings->items[i].code), code) == 0;
    return count;
}

static void expect_finding(bool is_full, const char *code, bool has_picture)
{
    AUTO(examination_close) struct examination examination = { 0 };
    log_maker_finish(&maker);
    cr_assert_eq(examine(&maker.settings, is_full, &examination), STATUS_OK);
    cr_assert_eq(examination.has_picture, has_picture);
    cr_assert_eq(findings_of(&examination.findings, code), 1, "%s", code);
    cr_assert_eq(findings_of(&examination.findings, "missing"), has_picture ? 3 : 0);
    cr_assert_eq(examination.findings.count, has_picture ? 4 : 1);
    cr_assert_str_eq(examination.vault.state, "not running");
}

Test(examine, a_whole_store_is_compared)
{
    AUTO(examination_close) struct examination examination = { 0 };
    log_maker_finish(&maker);
    cr_assert_eq(examine(&maker.settings, true, &examination), STATUS_OK);
    cr_assert(examination.has_picture);
    cr_assert_eq(examination.folded, 3);
    cr_assert_eq(examination.checked, 3);
    cr_assert_eq(examination.findings.count, 3);
}

Test(examine, live_rows_that_are_damaged_are_found)
{
    log_damage_live(&maker, "acme", "api");
    expect_finding(false, "live_damaged", true);
}

Test(examine, a_break_in_the_chain_is_found_with_its_event)
{
    maker.previous.bytes[0] ^= 1;
    uint64_t broken = log_append(&maker, "app.noise", "acme", "", "{}");
    log_maker_finish(&maker);
    for (int is_full = 0; is_full <= 1; is_full++) {
        AUTO(examination_close) struct examination examination = { 0 };
        cr_assert_eq(examine(&maker.settings, is_full, &examination), STATUS_OK);
        cr_assert_not(examination.has_picture);
        cr_assert_eq(examination.findings.count, 1);
        cr_assert_eq(examination.findings.items[0].code, FINDING_chain_broken);
        cr_assert_eq(examination.findings.items[0].event, broken);
    }
}

/* Has the inner pages lead astray who looks for an event of the later half by its number. */
static void misdirect(const char *path, uint64_t last)
{
    enum { PAGE = 4096, FLAGS = 10, BRANCH = 1, PLACES = 16, KEY_SIZE = 6, KEY = 8 };
    AUTO(buffer_close) struct buffer file = { .limit = 64 << 20 };
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t changed = 0;
    cr_assert_eq(file_read(path, &file), STATUS_OK);
    for (size_t page = 2 * PAGE; page + PAGE <= file.size; page += PAGE) {
        uint16_t flags, place, size;
        memcpy(&flags, file.data + page + FLAGS, sizeof flags);
        memcpy(&place, file.data + page + PLACES + sizeof place, sizeof place); /* the second */
        if (flags != BRANCH || place < PLACES || place + KEY + sizeof last > PAGE)
            continue;
        memcpy(&size, file.data + page + place + KEY_SIZE, sizeof size);
        struct table_number beyond = table_number(last);
        if (size != sizeof beyond.bytes)
            continue;
        cr_assert_eq(pwrite(fd, beyond.bytes, size, (off_t)(page + place + KEY)), size);
        changed++;
    }
    cr_assert_gt(changed, 0, "no inner page");
}

/* Read in order they are all there; by its number the newest grant, where the comparison of tokens
 * begins, is not. */
Test(examine, an_event_that_is_not_found_by_its_number_is_a_finding)
{
    char path[4096], payload[1100];
    memset(payload, 'x', sizeof payload);
    memcpy(payload, "{\"text\": ", 9);
    memcpy(payload + sizeof payload - 3, "\"}", 3);
    payload[9] = '\"';
    for (int i = 0; i < 40; i++)
        log_append(&maker, i == 30 ? "capability_granted" : "app.noise", "acme", "", payload);
    log_maker_finish(&maker);
    cr_assert_eq(path_join(path, maker.settings.data_dir, "events/data.mdb"), STATUS_OK);
    misdirect(path, maker.last);
    maker.settings.token_persistence_enabled = true;
    AUTO(examination_close) struct examination examination = { 0 };
    cr_assert_eq(examine(&maker.settings, true, &examination), STATUS_OK);
    cr_assert_eq(findings_of(&examination.findings, "chain_broken"), 1);
}

Test(examine, a_log_that_cannot_be_read_is_a_finding)
{
    char path[4096];
    log_maker_finish(&maker);
    path_join(path, maker.settings.data_dir, "events/data.mdb");
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "ruin", 4, 16), 4);
    expect_finding(true, "log_damaged", false);
}

Test(examine, damaged_rows_of_other_tables_are_found)
{
    MDB_txn *txn;
    char key[] = "yservice_deployed";
    MDB_val k = { strlen(key), key }, value = { 3, "odd" };
    cr_assert_eq(mdb_txn_begin(maker.db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_put(txn, maker.db.tables[EVENTS_HEADS], &k, &value, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    AUTO(examination_close) struct examination examination = { 0 };
    log_maker_finish(&maker);
    cr_assert_eq(examine(&maker.settings, true, &examination), STATUS_OK);
    cr_assert_eq(findings_of(&examination.findings, "rows_damaged"), 1);
}

/* Every row that is left is whole; one is not there any more. */
static void expect_missing_row_found(unsigned table)
{
    MDB_txn *txn;
    MDB_val key = { 16, "0123456789abcdef" };
    {
        AUTO(db_end) struct db_txn write = { 0 };
        cr_assert_eq(db_begin_write(&maker.db, &write), STATUS_OK);
        cr_assert_eq(table_put(&write, table, span_of(key.mv_data, 16), span_of_text("a row")),
                     STATUS_OK);
        cr_assert_eq(table_put(&write, table, span_of_text("another"), span_of_text("a row")),
                     STATUS_OK);
        cr_assert_eq(db_commit(&write), STATUS_OK);
    }
    cr_assert_eq(mdb_txn_begin(maker.db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_del(txn, maker.db.tables[table], &key, NULL), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    AUTO(examination_close) struct examination examination = { 0 };
    log_maker_finish(&maker);
    cr_assert_eq(examine(&maker.settings, true, &examination), STATUS_OK);
    cr_assert_eq(findings_of(&examination.findings, "rows_damaged"), 1);
}

Test(examine, a_missing_row_of_requests_is_found)
{
    expect_missing_row_found(EVENTS_REQUESTS);
}

Test(examine, a_missing_row_of_sources_is_found)
{
    expect_missing_row_found(EVENTS_SOURCES);
}

/* --- the registry --- */

static void put_registry(const struct service_row *row)
{
    char dir[4096];
    struct db db;
    struct db_txn txn;
    char key[SERVICE_KEY_BYTES];
    AUTO(buffer_close) struct buffer packed = { .limit = 4096 };
    path_join(dir, maker.settings.run_dir, "registry");
    cr_assert_eq(db_open_writer(&db, &registry_schema, dir), STATUS_OK);
    cr_assert_eq(db_begin_write(&db, &txn), STATUS_OK);
    fields_encode(&record_service_row, row, &packed);
    service_key(key, row->tenant, row->name);
    cr_assert_eq(table_put(&txn, REGISTRY_SERVICES, span_of_text(key), buffer_span(&packed)),
                 STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    db_close(&db);
}

Test(examine, a_registry_that_says_otherwise_is_found)
{
    const struct service_row row = { .tenant = "acme",
                                     .name = "api",
                                     .state = "running",
                                     .reason = "",
                                     .generation = 1,
                                     .since = 1,
                                     .pid = 7,
                                     .start_ticks = 8,
                                     .instance = "",
                                     .limits = "",
                                     .boot_id = "b" };
    struct actual_service service = { .tenant = "acme",
                                      .name = "api",
                                      .state = SERVICE_running,
                                      .generation = 1,
                                      .since = 1,
                                      .pid = 7,
                                      .start_ticks = 8,
                                      .is_held = true,
                                      .instance = "" };
    struct actual actual = { .services = &service, .count = 1, .source = "deployd" };
    AUTO(findings_close) struct findings findings = { 0 };
    put_registry(&row);
    cr_assert_eq(registry_check(maker.settings.run_dir, &actual, &findings), STATUS_OK);
    cr_assert_eq(findings.count, 0);

    service.pid = 9; /* another process */
    cr_assert_eq(registry_check(maker.settings.run_dir, &actual, &findings), STATUS_OK);
    cr_assert_eq(findings_of(&findings, "registry_differs"), 1);

    service.name = "web"; /* a row too many, and one that is missing */
    cr_assert_eq(registry_check(maker.settings.run_dir, &actual, &findings), STATUS_OK);
    cr_assert_eq(findings_of(&findings, "registry_differs"), 3);

    actual.source = "supervisors"; /* deployd is down: the registry is an earlier one's */
    cr_assert_eq(registry_check(maker.settings.run_dir, &actual, &findings), STATUS_OK);
    cr_assert_eq(findings.count, 3);
}

/* --- counts --- */

static void write_tenant(struct buffer *list, const char *name, uint64_t services)
{
    write_map(list, 2);
    write_str(list, "tenant");
    write_str(list, name);
    write_str(list, "services");
    write_u64(list, services);
}

/* Also of a tenant that the log wants nothing of. */
Test(examine, a_supervisor_whose_reports_the_log_refuses_is_found)
{
    AUTO(findings_close) struct findings findings = { 0 };
    AUTO(buffer_close) struct buffer list = { .limit = 4096 };
    write_array(&list, 2);
    write_tenant(&list, "acme", 2);
    write_map(&list, 3);
    write_str(&list, "tenant");
    write_str(&list, "beta");
    write_str(&list, "supervisor_pid");
    write_u64(&list, 4711);
    write_str(&list, "stuck_report");
    write_u64(&list, 13);
    cr_assert_eq(reports_compare(buffer_span(&list), &findings), STATUS_OK);
    cr_assert_eq(findings.count, 1);
    cr_assert_eq(findings_of(&findings, "reports_stuck"), 1);
    cr_assert_str_eq(findings.items[0].tenant, "beta");
    cr_assert_eq(findings.items[0].pid, 4711);
    cr_assert_not_null(strstr(findings.items[0].reason, "report 13"));
    cr_assert(findings_need(&findings, FIX_PERSON));
}

Test(examine, a_tenant_of_which_deployd_counts_fewer_is_found)
{
    struct plan_wanted wanted[] = {
        { .tenant = "acme", .name = "api" },
        { .tenant = "acme", .name = "web" },
        { .tenant = "beta", .name = "bot" },
    };
    const struct picture picture = { .wanted = wanted, .wanted_count = 3 };
    AUTO(findings_close) struct findings findings = { 0 };
    AUTO(buffer_close) struct buffer list = { .limit = 4096 };
    write_array(&list, 2);
    write_tenant(&list, "acme", 2);
    write_tenant(&list, "beta", 4); /* three have failed at their first deploy */
    cr_assert_eq(count_compare(&picture, buffer_span(&list), &findings), STATUS_OK);
    cr_assert_eq(findings.count, 0);

    buffer_clear(&list);
    write_array(&list, 1);
    write_tenant(&list, "acme", 1);
    cr_assert_eq(count_compare(&picture, buffer_span(&list), &findings), STATUS_OK);
    cr_assert_eq(findings_of(&findings, "count_differs"), 2);
    cr_assert_str_eq(findings.items[0].tenant, "acme");
    cr_assert_str_eq(findings.items[1].tenant, "beta");
}
