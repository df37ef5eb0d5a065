#include "tests/support/criterion.h"

#include <stdlib.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/db/walk.h"
#include "recoveryd/fold_check.h"
#include "tests/unit/recoveryd/log_maker.h"

static struct log_maker maker;

/* A child compares the hashes, of a few events at a time; the probe before it looks at the last. */
static void set_up(void)
{
    setenv("SOLO_FAULT_BOUND", "fold:alone:0,walk:events:4,probe:events:1", 1);
    log_maker_open(&maker);
    log_deploy(&maker, "acme", "api", "sh");
    log_deploy(&maker, "acme", "web", "sh");
    log_append(&maker, "app.noise", "acme", "", "{}");
    log_deploy(&maker, "acme", "api", "cat");
    log_append(&maker, "service_killed", "acme", "web", "{}");
}

static void tear_down(void)
{
    log_maker_close(&maker);
}

TestSuite(fold_check, .init = set_up, .fini = tear_down);

static void assert_found(const char *code, const char *name)
{
    AUTO(findings_close) struct findings findings = { 0 };
    uint64_t next, folded;
    log_maker_finish(&maker);
    cr_assert_eq(fold_check(&maker.settings, &findings, &folded, &next), STATUS_OK);
    cr_assert_eq(folded, 5);
    cr_assert_eq(findings.count, code == NULL ? 0 : 1);
    if (code == NULL)
        return;
    cr_assert_str_eq(finding_code_name(findings.items[0].code), code);
    cr_assert_str_eq(findings.items[0].tenant, "acme");
    cr_assert_str_eq(findings.items[0].name, name);
}

Test(fold_check, live_is_the_fold_of_the_log)
{
    assert_found(NULL, "");
}

Test(fold_check, a_row_that_is_missing_is_found)
{
    log_put_live(&maker, "acme", "api", NULL);
    assert_found("live_missing", "api");
}

Test(fold_check, a_row_too_many_is_found)
{
    log_put_live(&maker, "acme", "web", &(struct live_row){ .generation = 2, .since = 2 });
    assert_found("live_extra", "web");
}

Test(fold_check, a_row_that_differs_is_found)
{
    log_put_live(&maker, "acme", "api", &(struct live_row){ .generation = 1, .since = 1 });
    assert_found("live_differs", "api");
}

Test(fold_check, a_broken_link_is_data_loss)
{
    maker.previous.bytes[0] ^= 1;
    log_append(&maker, "app.noise", "acme", "", "{}");
    log_maker_finish(&maker);
    AUTO(findings_close) struct findings findings = { 0 };
    uint64_t next, folded;
    cr_assert_eq(fold_check(&maker.settings, &findings, &folded, &next), STATUS_DATA_LOSS);
    cr_assert_eq(next, folded + 1);
}

/* --- damage, also where one range of the child's ends and the next begins (4 and 5) --- */

enum { RANGE = 4, EVENTS = 11 };

/* The records as they were written. */
static struct buffer records[EVENTS + 1];

static void read_records(void)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    for (uint64_t id = maker.last; id < EVENTS; id++)
        log_append(&maker, "app.noise", "acme", "", "{}");
    cr_assert_eq(db_begin_read(&maker.db, &txn), STATUS_OK);
    for (uint64_t id = 1; id <= EVENTS; id++) {
        struct table_number number = table_number(id);
        struct span record;
        cr_assert_eq(table_get(&txn, EVENTS_EVENTS, table_number_key(&number), &record), STATUS_OK);
        records[id].limit = EVENT_RECORD_BYTES_MAX;
        cr_assert_eq(buffer_append(&records[id], record.data, record.size), STATUS_OK);
    }
}

/* NULL takes it away. */
static void put_record(uint64_t id, const struct buffer *record)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct table_number number = table_number(id);
    struct span key = table_number_key(&number);
    cr_assert_eq(db_begin_write(&maker.db, &txn), STATUS_OK);
    cr_assert_eq(record == NULL ? table_delete(&txn, EVENTS_EVENTS, key)
                                : table_put(&txn, EVENTS_EVENTS, key, buffer_span(record)),
                 STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

/* `broken` is the first event that is not what it must be. */
static void expect_broken(uint64_t broken)
{
    AUTO(findings_close) struct findings findings = { 0 };
    uint64_t next, folded;
    char dir[4096];
    log_maker_finish(&maker);
    cr_assert_eq(path_join(dir, maker.settings.data_dir, "events"), STATUS_OK);
    cr_expect_eq(db_walk(&events_schema, dir, WALK_ROWS), STATUS_DATA_LOSS);
    cr_assert_eq(fold_check(&maker.settings, &findings, &folded, &next), STATUS_DATA_LOSS);
    cr_expect_eq(next, broken, "event %lu instead of %lu", next, broken);
    cr_expect_eq(findings.count, 0);
    for (size_t id = 1; id <= EVENTS; id++)
        buffer_close(&records[id]);
}

static void change_byte(uint64_t id)
{
    read_records();
    records[id].data[records[id].size - HASH_BYTES - 1] ^= 1;
    put_record(id, &records[id]);
    expect_broken(id);
}

Test(fold_check, a_changed_byte_is_found_at_the_end_of_a_range)
{
    change_byte(RANGE);
}

Test(fold_check, a_changed_byte_is_found_at_the_beginning_of_a_range)
{
    change_byte(RANGE + 1);
}

/* The body is left as it is: the fold would take it. */
Test(fold_check, a_changed_clock_is_found)
{
    enum { AT_WALL = 48 };
    read_records();
    records[3].data[AT_WALL] ^= 1;
    put_record(3, &records[3]);
    expect_broken(3);
}

static void take_away(uint64_t id)
{
    read_records();
    put_record(id, NULL);
    expect_broken(id);
}

Test(fold_check, the_last_event_of_a_range_is_missing)
{
    take_away(RANGE);
}

Test(fold_check, the_first_event_of_a_range_is_missing)
{
    take_away(RANGE + 1);
}

/* It is whole, and follows the one before it: only the next one knows another. */
static void replace(uint64_t id)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_TEXTS_BYTES_MAX };
    AUTO(buffer_close) struct buffer other = { .limit = EVENT_RECORD_BYTES_MAX };
    struct event event;
    read_records();
    cr_assert_eq(event_decode(buffer_span(&records[id]), &arena, &event), STATUS_OK);
    event.wall_ns++;
    cr_assert_eq(event_encode(&event, &other), STATUS_OK);
    put_record(id, &other);
    expect_broken(id + 1);
}

Test(fold_check, another_event_at_the_end_of_a_range_is_found_by_the_link_to_it)
{
    replace(RANGE);
}

Test(fold_check, another_event_within_a_range_is_found_by_the_link_to_it)
{
    replace(RANGE + 2);
}

Test(fold_check, two_ranges_that_were_exchanged_are_found)
{
    read_records();
    for (uint64_t id = 1; id <= RANGE; id++) {
        put_record(id, &records[id + RANGE]);
        put_record(id + RANGE, &records[id]);
    }
    expect_broken(1);
}
