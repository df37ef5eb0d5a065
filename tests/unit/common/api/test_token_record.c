#include "common/api/records/token_record.h"

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/rpc/method.h"
#include "tests/support/criterion.h"

static void setup(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
}

TestSuite(token_record, .init = setup);

static struct token_record example(void)
{
    struct token_record record = {
        .accessor = uuid_draw(),
        .tenant = "acme",
        .permissions = permission_bit(PERMISSION_READ) | permission_bit(PERMISSION_KILL),
        .granted_ns = 1000,
        .expires_ns = 2000,
        .ttl_ms = 60000,
        .metadata = span_of("\x81\xa1"
                            "a\x01",
                            4),
    };
    return record;
}

static enum status written(const struct token_record *record)
{
    AUTO(buffer_close) struct buffer row = { .limit = TOKEN_RECORD_BYTES_MAX };
    return token_record_encode(record, &row);
}

Test(token_record, what_is_written_is_read)
{
    AUTO(buffer_close) struct buffer row = { .limit = TOKEN_RECORD_BYTES_MAX };
    struct token_record in = example(), out;
    in.depth = 2;
    in.renewed_ns = 1500;
    random_fill(&in.parent, sizeof in.parent);
    random_fill(&in.root, sizeof in.root);
    cr_assert_eq(token_record_encode(&in, &row), STATUS_OK);
    cr_assert_eq(token_record_decode(buffer_span(&row), &out), STATUS_OK);
    cr_assert_eq(memcmp(in.accessor.bytes, out.accessor.bytes, UUID_BYTES), 0);
    cr_assert_str_eq(out.tenant, "acme");
    cr_assert_eq(out.permissions, in.permissions);
    cr_assert_eq(out.depth, 2);
    cr_assert_eq(out.granted_ns, 1000);
    cr_assert_eq(out.expires_ns, 2000);
    cr_assert_eq(out.renewed_ns, 1500);
    cr_assert_eq(out.ttl_ms, 60000);
    cr_assert(hash_equal(&out.parent, &in.parent));
    cr_assert(hash_equal(&out.root, &in.root));
    cr_assert(span_equal(out.metadata, in.metadata));
}

Test(token_record, a_token_is_void_from_its_last_moment_on)
{
    struct token_record record = example();
    cr_assert_not(token_record_is_expired(&record, 1999));
    cr_assert(token_record_is_expired(&record, 2000));
    record.expires_ns = 0;
    cr_assert_not(token_record_is_expired(&record, UINT64_MAX));
}

Test(token_record, refuses_to_write_what_it_would_not_read)
{
    struct token_record record = example();
    cr_assert_eq(written(&record), STATUS_OK);
    record.permissions = 0;
    cr_assert_eq(written(&record), STATUS_INVALID_ARGUMENT);
    record.permissions = PERMISSION_BITS_ALL + 1u;
    cr_assert_eq(written(&record), STATUS_INVALID_ARGUMENT);
    record = example();
    strcpy(record.tenant, "No Name");
    cr_assert_eq(written(&record), STATUS_INVALID_ARGUMENT);
    record = example();
    record.depth = 1; /* without a parent */
    cr_assert_eq(written(&record), STATUS_INVALID_ARGUMENT);
    record = example();
    record.depth = TOKEN_DEPTH_MAX + 1;
    random_fill(&record.parent, sizeof record.parent);
    random_fill(&record.root, sizeof record.root);
    cr_assert_eq(written(&record), STATUS_INVALID_ARGUMENT);
    record = example();
    record.expires_ns = record.granted_ns - 1;
    cr_assert_eq(written(&record), STATUS_INVALID_ARGUMENT);
    record = example();
    record.metadata = span_of("\x91\x01", 2); /* a list */
    cr_assert_eq(written(&record), STATUS_INVALID_ARGUMENT);
}

Test(token_record, a_cut_row_is_damage)
{
    AUTO(buffer_close) struct buffer row = { .limit = TOKEN_RECORD_BYTES_MAX };
    struct token_record in = example(), out;
    cr_assert_eq(token_record_encode(&in, &row), STATUS_OK);
    size_t whole = TOKEN_RECORD_FIXED_BYTES + strlen("acme");
    for (size_t size = 0; size < row.size; size++) {
        enum status status = token_record_decode(span_of(row.data, size), &out);
        /* Without its metadata it is another whole row; the seal of the table tells them apart. */
        cr_assert_eq(status, size == whole ? STATUS_OK : STATUS_DATA_LOSS, "%zu bytes", size);
    }
}

Test(permissions, names_and_bits_are_one_to_one)
{
    uint32_t all = 0;
    for (int permission = PERMISSION_ANY_TOKEN + 1; permission < PERMISSION_COUNT; permission++) {
        uint32_t bit = permission_bit((enum permission)permission);
        cr_assert_eq(all & bit, 0);
        all |= bit;
        cr_assert_eq((int)permission_parse(permission_name((enum permission)permission)),
                     permission);
    }
    cr_assert_eq(all, (uint32_t)PERMISSION_BITS_ALL);
    cr_assert_eq(permission_bit(PERMISSION_OPERATOR), 0);
    cr_assert_eq(permission_parse("operator"), PERMISSION_COUNT);
    cr_assert_eq(permission_parse("any-token"), PERMISSION_COUNT);
    cr_assert_eq(permission_parse(""), PERMISSION_COUNT);
    /* Stores hold these. */
    cr_assert_eq(permission_bit(PERMISSION_DEPLOY), 1u << 0);
    cr_assert_eq(permission_bit(PERMISSION_READ), 1u << 2);
    cr_assert_eq(permission_bit(PERMISSION_ADMIN), 1u << 7);
}
