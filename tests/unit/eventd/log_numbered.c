#include "tests/unit/eventd/log_numbered.h"

#include <stdio.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_fixture.h"

uint64_t log_written(void)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t id;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_written(&txn, &id), STATUS_OK);
    return id;
}

uint64_t log_rows(unsigned table)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t count;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(table_count(&txn, table, &count), STATUS_OK);
    return count;
}

uint64_t log_head(enum head_kind kind, const char *text)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t id;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_head(&txn, kind, text, &id), STATUS_OK);
    return id;
}

struct uuid id_number(unsigned i)
{
    static struct uuid first;
    static bool is_drawn;
    if (!is_drawn)
        first = uuid_draw();
    is_drawn = true;
    struct uuid id = first;
    id.bytes[13] = (uint8_t)(i >> 16), id.bytes[14] = (uint8_t)(i >> 8), id.bytes[15] = (uint8_t)i;
    return id;
}

struct append_outcome append_as(struct uuid id, unsigned i, const char *body, enum status expected)
{
    struct rpc_call call = call_of_operator();
    struct append_outcome outcome = { 0 };
    char subject[32];
    snprintf(subject, sizeof subject, "thing/%u", i % 3);
    struct event_append_request request = request_of("app.x", "acme", subject, (struct span){ 0 });
    call_identify(&call, &id, body);
    cr_assert_eq(append_one(&call, &request, &outcome), expected);
    return outcome;
}

struct append_outcome append_numbered(unsigned i, const char *body, enum status expected)
{
    return append_as(id_number(i), i, body, expected);
}

void append_some(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct append_outcome outcome = append_numbered(i, "body", STATUS_OK);
        cr_assert_not(outcome.is_repeat);
        cr_assert_eq(outcome.first_id, i + 1);
    }
}

void expect_all_known(void)
{
    for (unsigned i = 0; i < 10; i++) {
        struct append_outcome outcome = append_numbered(i, "body", STATUS_OK);
        cr_expect(outcome.is_repeat);
        cr_expect_eq(outcome.first_id, i + 1);
        cr_expect_eq(outcome.count, 1);
        append_numbered(i, "another body", STATUS_ABORTED);
    }
    cr_expect_eq(log_head(HEAD_OF_TENANT, "acme"), 10);
    cr_expect_eq(log_head(HEAD_OF_TYPE, "app.x"), 10);
    cr_expect_eq(log_head(HEAD_OF_SUBJECT, "thing/0"), 10);
    cr_expect_eq(log_head(HEAD_OF_SUBJECT, "thing/1"), 8);
    cr_expect_eq(log_head(HEAD_OF_SUBJECT, "thing/2"), 9);
    cr_expect_eq(log_head(HEAD_OF_SUBJECT, "thing/3"), 0);
}

void damage_row(unsigned table, struct span at)
{
    MDB_val key = { at.size, (void *)(uintptr_t)at.data }, value;
    uint8_t copy[1024];
    MDB_txn *txn;
    cr_assert_eq(mdb_txn_begin(store.db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_get(txn, store.db.tables[table], &key, &value), 0);
    cr_assert_leq(value.mv_size, sizeof copy);
    memcpy(copy, value.mv_data, value.mv_size);
    copy[0] ^= 1;
    value.mv_data = copy;
    cr_assert_eq(mdb_put(txn, store.db.tables[table], &key, &value, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}
