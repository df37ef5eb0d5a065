/* Rows of the vault: one form each, and everything else is damage. */
#include "common/base/log.h"
#include "tests/support/criterion.h"
#include "vaultd/rows.h"

static void set_up(void)
{
    log_setup("test", LOG_LEVEL_ERROR + 1);
}

TestSuite(vault_rows, .init = set_up, .timeout = 60);

static struct secret_row sample(void)
{
    struct secret_row row = { .created_ns = 1, .updated_ns = 2, .latest = 7, .deleted_up_to = 3 };
    for (uint64_t i = 0; i < 3; i++) {
        row.versions[row.count] = (struct secret_version){ .version = 3 + 2 * i,
                                                           .stored_ns = i,
                                                           .bytes = 10,
                                                           .epoch = 1,
                                                           .cipher = CIPHER_AES256GCM,
                                                           .state = VERSION_STORED };
        row.versions[row.count++].seal.bytes[0] = 1;
    }
    return row;
}

Test(vault_rows, a_secret_is_read_as_it_was_written)
{
    uint8_t bytes[SECRET_ROW_BYTES_MAX], again[SECRET_ROW_BYTES_MAX];
    struct secret_row row = sample(), read;
    struct span packed = secret_row_encode(&row, bytes);
    cr_assert_eq(secret_row_decode(packed, &read), STATUS_OK);
    cr_assert(span_equal(secret_row_encode(&read, again), packed));
    cr_assert_eq(secret_row_find(&read, 5)->version, 5);
    cr_assert_null(secret_row_find(&read, 4));
}

Test(vault_rows, no_shorter_row_is_taken)
{
    uint8_t bytes[SECRET_ROW_BYTES_MAX];
    struct secret_row row = sample(), read;
    struct span packed = secret_row_encode(&row, bytes);
    for (size_t size = 0; size < packed.size; size++)
        cr_assert_eq(secret_row_decode(span_of(bytes, size), &read), STATUS_DATA_LOSS, "%zu", size);
}

Test(vault_rows, versions_out_of_order_and_out_of_bounds_are_damage)
{
    uint8_t bytes[SECRET_ROW_BYTES_MAX];
    struct secret_row read;
    for (int which = 0; which < 6; which++) {
        struct secret_row row = sample();
        struct secret_version *version = &row.versions[1];
        switch (which) {
        case 0:
            version->version = 3;
            break;
        case 1:
            row.latest = 6;
            break;
        case 2:
            row.deleted_up_to = 8;
            break;
        case 3:
            version->epoch = 0;
            break;
        case 4:
            version->state = VERSION_DESTROYED; /* with a seal */
            break;
        default:
            version->cipher = (enum cipher)3;
            break;
        }
        cr_assert_eq(secret_row_decode(secret_row_encode(&row, bytes), &read), STATUS_DATA_LOSS,
                     "%d", which);
    }
}

Test(vault_rows, keys_of_tables_are_read_back)
{
    uint8_t key[SECRET_KEY_BYTES];
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    cr_assert(secret_key_read(secret_key(key, "acme", "db"), tenant, name));
    cr_assert_str_eq(tenant, "acme");
    cr_assert_str_eq(name, "db");
    cr_assert_not(secret_key_read(secret_key(key, "acme", ""), tenant, name));
    cr_assert_not(secret_key_read(span_of_text("acme"), tenant, name));
    cr_assert_eq(cipher_parse("aes256gcm"), CIPHER_AES256GCM);
    cr_assert_eq((int)cipher_parse("rot13"), 0);
}
