/* What was sealed opens in its place, and nowhere else. */
#include <string.h>

#include "common/base/log.h"
#include "tests/support/criterion.h"
#include "vaultd/keyring.h"

static const uint8_t store_id[16] = "a store";
static struct keyring ring;
static struct secret kek;
static struct master_row master;

static void set_up(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    cr_assert_eq(keyring_init(&ring, store_id), STATUS_OK);
    cr_assert_eq(secret_new(&kek, KEY_BYTES), STATUS_OK);
    master = (struct master_row){ .source = KEY_SOURCE_KEY };
    keyring_draw_master(&ring, &kek, &master);
    keyring_take(&ring);
}

static void tear_down(void)
{
    keyring_free(&ring);
    secret_free(&kek);
}

TestSuite(keyring, .init = set_up, .fini = tear_down, .timeout = 60);

static const char value[] = "a value of some length";
enum { SIZE = sizeof value };

static struct version_row seal(enum cipher cipher, const uint8_t key[WRAPPED_KEY_BYTES],
                               const struct version_place *place, uint8_t *row)
{
    struct version_row head = { .cipher = cipher, .epoch = 3, .stored_ns = 5 }, read;
    cr_assert(keyring_seal(&ring, key, place, &head, span_of(value, SIZE), row));
    cr_assert_eq(version_row_decode(span_of(row, VERSION_HEAD_BYTES + SIZE + TAG_BYTES), &read),
                 STATUS_OK);
    return read;
}

static void opens_only_in_its_place(enum cipher cipher)
{
    uint8_t key[WRAPPED_KEY_BYTES], other_key[WRAPPED_KEY_BYTES], out[SIZE];
    uint8_t bytes[VERSION_HEAD_BYTES + SIZE + TAG_BYTES];
    const struct version_place place = { "acme", "db", 7 };
    static const struct version_place others[] = {
        { "beta", "db", 7 },
        { "acme", "dc", 7 },
        { "acme", "db", 8 },
        { "acmedb", "", 7 },
    };
    if (!keyring_can(cipher))
        cr_skip_test("this processor has no AES");
    keyring_draw_data_key(&ring, "acme", 3, key);
    keyring_draw_data_key(&ring, "acme", 4, other_key);
    struct version_row row = seal(cipher, key, &place, bytes);
    cr_assert(keyring_unseal(&ring, key, &place, &row, out));
    cr_assert_eq(memcmp(out, value, SIZE), 0);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_assert_not(keyring_unseal(&ring, key, &others[i], &row, out), "%zu", i);
    cr_assert_not(keyring_unseal(&ring, other_key, &place, &row, out), "the key of another epoch");
    struct version_row changed = row;
    changed.stored_ns++;
    cr_assert_not(keyring_unseal(&ring, key, &place, &changed, out), "another time");
    changed = row;
    changed.nonce[3] ^= 1;
    cr_assert_not(keyring_unseal(&ring, key, &place, &changed, out), "another nonce");
    for (size_t i = VERSION_HEAD_BYTES; i < sizeof bytes; i++) {
        bytes[i] ^= 4;
        cr_assert_not(keyring_unseal(&ring, key, &place, &row, out), "byte %zu", i);
        bytes[i] ^= 4;
    }
}

Test(keyring, xchacha20poly1305_opens_only_in_its_place)
{
    opens_only_in_its_place(CIPHER_XCHACHA20POLY1305);
}

Test(keyring, aes256gcm_opens_only_in_its_place)
{
    opens_only_in_its_place(CIPHER_AES256GCM);
}

/* While held the key that was opened last is used again: for its own place only. */
Test(keyring, what_is_held_opens_what_it_did_before)
{
    uint8_t key[WRAPPED_KEY_BYTES], other_key[WRAPPED_KEY_BYTES], out[SIZE];
    uint8_t bytes[VERSION_HEAD_BYTES + SIZE + TAG_BYTES];
    uint8_t other_bytes[VERSION_HEAD_BYTES + SIZE + TAG_BYTES];
    const struct version_place place = { "acme", "db", 7 }, other = { "beta", "db", 7 };
    keyring_draw_data_key(&ring, "acme", 3, key);
    keyring_draw_data_key(&ring, "beta", 3, other_key);
    struct version_row row = seal(CIPHER_XCHACHA20POLY1305, key, &place, bytes);
    struct version_row other_row = seal(CIPHER_XCHACHA20POLY1305, other_key, &other, other_bytes);
    keyring_hold(&ring);
    for (int i = 0; i < 3; i++) {
        cr_assert(keyring_unseal(&ring, key, &place, &row, out));
        cr_assert_not(keyring_unseal(&ring, key, &other, &row, out), "a key of another tenant's");
        cr_assert(keyring_unseal(&ring, key, &place, &row, out));
        cr_assert_not(keyring_unseal(&ring, other_key, &place, &row, out));
        cr_assert(keyring_unseal(&ring, other_key, &other, &other_row, out));
    }
    keyring_draw_data_key(&ring, "acme", 4, other_key);
    cr_assert(keyring_unseal(&ring, key, &place, &row, out));
    keyring_release(&ring);
    cr_assert(keyring_unseal(&ring, key, &place, &row, out));
    cr_assert_eq(memcmp(out, value, SIZE), 0);
}

Test(keyring, another_key_opens_nothing)
{
    keyring_close(&ring);
    ((uint8_t *)secret_open(&kek))[0] ^= 1;
    secret_close(&kek);
    cr_assert_eq(keyring_open(&ring, &kek, &master), STATUS_PERMISSION_DENIED);
    cr_assert_not(ring.is_open);
    ((uint8_t *)secret_open(&kek))[0] ^= 1;
    secret_close(&kek);
    cr_assert_eq(keyring_open(&ring, &kek, &master), STATUS_OK);
}

Test(keyring, what_was_wrapped_again_opens_under_the_next_master_key_only)
{
    uint8_t key[WRAPPED_KEY_BYTES], before[WRAPPED_KEY_BYTES], out[SIZE];
    uint8_t bytes[VERSION_HEAD_BYTES + SIZE + TAG_BYTES];
    const struct version_place place = { "acme", "db", 1 };
    keyring_draw_data_key(&ring, "acme", 3, key);
    struct version_row row = seal(CIPHER_XCHACHA20POLY1305, key, &place, bytes);
    memcpy(before, key, sizeof before);
    keyring_draw_master(&ring, NULL, &master);
    cr_assert(keyring_wrap_again(&ring, "acme", 3, key));
    cr_assert_not(keyring_wrap_again(&ring, "beta", 3, before), "of another tenant");
    cr_assert_not(keyring_unseal(&ring, key, &place, &row, out), "not taken yet");
    keyring_take(&ring);
    cr_assert(keyring_unseal(&ring, key, &place, &row, out));
    cr_assert_not(keyring_unseal(&ring, before, &place, &row, out));
    keyring_close(&ring);
    cr_assert_eq(keyring_open(&ring, &kek, &master), STATUS_OK);
    cr_assert(keyring_unseal(&ring, key, &place, &row, out));
}

Test(keyring, the_hash_of_a_body_depends_on_the_key)
{
    struct hash a = keyring_body_hash(&ring, "secret.put", "acme", "db", span_of_text("1234"));
    struct hash b = keyring_body_hash(&ring, "secret.put", "acme", "db", span_of_text("1234"));
    struct hash c = keyring_body_hash(&ring, "secret.put", "acme", "db", span_of_text("1235"));
    cr_assert(hash_equal(&a, &b));
    cr_assert_not(hash_equal(&a, &c));
    keyring_draw_master(&ring, NULL, &master);
    keyring_take(&ring);
    b = keyring_body_hash(&ring, "secret.put", "acme", "db", span_of_text("1234"));
    cr_assert_not(hash_equal(&a, &b));
}
