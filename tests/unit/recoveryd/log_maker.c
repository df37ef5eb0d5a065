/* Events are put one per transaction: slow, simple, and the same tables as eventd's. */
#include "tests/unit/recoveryd/log_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/api/records/live_fold.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/spec/spec_json.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"

/* Opening a store runs this program again as its probe; Criterion's main comes too late. */
__attribute__((constructor)) static void probe_if_asked(int argc, char **argv)
{
    schema_probe_if_asked(argc, argv);
}

void log_maker_open(struct log_maker *maker)
{
    char dir[4096];
    *maker = (struct log_maker){ 0 };
    log_setup("test", LOG_LEVEL_ERROR);
    snprintf(maker->folder, sizeof maker->folder, "/tmp/solo-recoveryd-XXXXXX");
    cr_assert_not_null(mkdtemp(maker->folder));
    path_join(maker->settings.data_dir, maker->folder, "data");
    path_join(maker->settings.run_dir, maker->folder, "run");
    path_join(dir, maker->settings.data_dir, "events");
    cr_assert_eq(db_open_writer(&maker->db, &events_schema, dir), STATUS_OK);
}

void log_maker_finish(struct log_maker *maker)
{
    if (maker->db.env != NULL)
        cr_assert_eq(db_close_cleanly(&maker->db), STATUS_OK);
}

void log_maker_close(struct log_maker *maker)
{
    db_close(&maker->db);
    directory_remove(maker->folder);
}

static uint64_t advance_head(struct db_txn *txn, char kind, const char *text, uint64_t id)
{
    char key[256];
    struct span value;
    uint64_t previous = 0;
    if (text[0] == '\0')
        return 0;
    snprintf(key, sizeof key, "%c%s", kind, text);
    if (table_get(txn, EVENTS_HEADS, span_of_text(key), &value) == STATUS_OK)
        previous = table_number_value(value);
    struct table_number number = table_number(id);
    cr_assert_eq(table_put(txn, EVENTS_HEADS, span_of_text(key), table_number_key(&number)),
                 STATUS_OK);
    return previous;
}

static void put_live(struct db_txn *txn, const char *tenant, const char *name,
                     const struct live_row *row)
{
    char key[SERVICE_KEY_BYTES];
    AUTO(buffer_close) struct buffer packed = { .limit = 4096 };
    service_key(key, tenant, name);
    if (row == NULL) {
        cr_assert_eq(table_delete(txn, EVENTS_LIVE, span_of_text(key)), STATUS_OK);
        return;
    }
    fields_encode(&record_live_row, row, &packed);
    cr_assert_eq(table_put(txn, EVENTS_LIVE, span_of_text(key), buffer_span(&packed)), STATUS_OK);
}

void log_put_live(struct log_maker *maker, const char *tenant, const char *name,
                  const struct live_row *row)
{
    struct db_txn txn;
    cr_assert_eq(db_begin_write(&maker->db, &txn), STATUS_OK);
    put_live(&txn, tenant, name, row);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

void log_damage_live(struct log_maker *maker, const char *tenant, const char *name)
{
    char key[SERVICE_KEY_BYTES];
    uint8_t row[4096];
    MDB_txn *txn;
    service_key(key, tenant, name);
    MDB_val k = { strlen(key), key }, value;
    MDB_dbi live = maker->db.tables[EVENTS_LIVE];
    cr_assert_eq(mdb_txn_begin(maker->db.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_get(txn, live, &k, &value), 0);
    cr_assert_leq(value.mv_size, sizeof row);
    memcpy(row, value.mv_data, value.mv_size);
    row[value.mv_size / 2] ^= 1;
    value.mv_data = row;
    cr_assert_eq(mdb_put(txn, live, &k, &value, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

static uint64_t append_packed(struct log_maker *maker, const char *type, const char *tenant,
                              const char *name, struct span payload)
{
    struct db_txn txn;
    char subject[SUBJECT_BYTES] = "system";
    AUTO(buffer_close) struct buffer record = { .limit = EVENT_RECORD_BYTES_MAX };
    if (name[0] != '\0')
        subject_of_service(subject, tenant, name);
    cr_assert_eq(db_begin_write(&maker->db, &txn), STATUS_OK);
    uint64_t id = ++maker->last;
    struct event event = {
        .epoch = 1,
        .id = id,
        .wall_ns = clock_wall_ns(),
        .previous_hash = maker->previous,
        .previous_of_tenant = advance_head(&txn, 't', tenant, id),
        .previous_of_type = advance_head(&txn, 'y', type, id),
        .previous_of_subject = advance_head(&txn, 's', subject, id),
        .type = type,
        .tenant = tenant,
        .subject = subject,
        .source = "",
        .payload = payload,
    };
    memcpy(event.log_id, maker->db.identity.id, sizeof event.log_id);
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    maker->previous = event.hash;
    struct table_number number = table_number(id);
    cr_assert_eq(table_append(&txn, EVENTS_EVENTS, table_number_key(&number), buffer_span(&record)),
                 STATUS_OK);
    struct live_row before, after = { 0 };
    bool is_there = name[0] != '\0' && live_find(&txn, tenant, name, &before) == STATUS_OK;
    enum fold_change change;
    cr_assert_eq(
        live_fold(is_there ? &before : NULL, event_type_parse(type), &event, &after, &change),
        STATUS_OK);
    if (change == FOLD_PUT)
        put_live(&txn, tenant, name, &after);
    if (change == FOLD_DELETE && is_there)
        put_live(&txn, tenant, name, NULL);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    return id;
}

uint64_t log_append(struct log_maker *maker, const char *type, const char *tenant, const char *name,
                    const char *payload)
{
    AUTO(buffer_close) struct buffer packed = { .limit = 65536 };
    struct problem problem = { 0 };
    cr_assert_eq(spec_from_json(span_of_text(payload), &packed, &problem), STATUS_OK, "%s",
                 problem.message);
    return append_packed(maker, type, tenant, name, buffer_span(&packed));
}

uint64_t log_deploy(struct log_maker *maker, const char *tenant, const char *name,
                    const char *program)
{
    AUTO(buffer_close) struct buffer spec = { .limit = SPEC_BYTES_MAX };
    AUTO(buffer_close) struct buffer payload = { .limit = EVENT_PAYLOAD_BYTES_MAX };
    AUTO(arena_close) struct arena arena = { .limit = 65536 };
    AUTO(buffer_close) struct buffer packed = { .limit = 65536 };
    char json[1024];
    struct problem problem = { 0 };
    struct spec decoded;
    snprintf(json, sizeof json, "{\"tenant\": \"%s\", \"name\": \"%s\", \"argv\": [\"%s\"]}",
             tenant, name, program);
    cr_assert_eq(spec_from_json(span_of_text(json), &packed, &problem), STATUS_OK);
    cr_assert_eq(spec_decode(buffer_span(&packed), &arena, &decoded, &problem), STATUS_OK);
    cr_assert_eq(spec_encode(&decoded, &spec), STATUS_OK);
    struct hash hash = spec_hash(buffer_span(&spec));
    write_map(&payload, 2);
    write_str(&payload, "spec");
    write_object(&payload, buffer_span(&spec));
    write_str(&payload, "spec_hash");
    write_bin(&payload, span_of(hash.bytes, sizeof hash.bytes));
    return append_packed(maker, "service_deployed", tenant, name, buffer_span(&payload));
}
