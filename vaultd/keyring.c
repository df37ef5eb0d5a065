/* Every use is the same: make the keys accessible, unwrap the one that is needed into its place
 * beside them, work, wipe that place, make them inaccessible. What libsodium leaves on the stack is
 * wiped with it. */
#include "vaultd/keyring.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/ensure.h"

_Static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == NONCE_BYTES, "the nonce of a row");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_ABYTES == TAG_BYTES, "the tag of a row");
_Static_assert(crypto_aead_aes256gcm_ABYTES == TAG_BYTES, "the tag of a row");
_Static_assert(crypto_aead_aes256gcm_KEYBYTES == KEY_BYTES, "one size of keys");

enum { STACK_BYTES = 4096, PLACE_BYTES_MAX = 256 };
enum subkey { SUBKEY_LIST = 1, SUBKEY_BODY };
static const char context[crypto_kdf_CONTEXTBYTES + 1] = "solo.vlt";

struct place {
    uint8_t bytes[PLACE_BYTES_MAX];
    size_t size;
};

/* The master key and what is derived from it. */
struct master {
    uint8_t master[KEY_BYTES], list[KEY_BYTES], body[KEY_BYTES];
};

struct keys {
    uint8_t kek[KEY_BYTES];
    struct master now, next;
    uint8_t next_kek[KEY_BYTES];
    uint8_t manifest[KEY_BYTES]; /* of the tenant whose manifest is in hand */
    uint8_t data[KEY_BYTES];     /* of the operation in hand, or while held of the one before */
    uint8_t record[KEY_BYTES];   /* derived from it for one row */
    /* While held: what `data` was unwrapped from, and for where. */
    bool has_data;
    uint8_t data_wrapped[WRAPPED_KEY_BYTES];
    struct place data_place;
};

static void forget_data(struct keys *keys)
{
    sodium_memzero(keys->data, KEY_BYTES);
    keys->has_data = false;
}

static struct keys *enter(struct keyring *keyring)
{
    ensure(keyring->is_open);
    return secret_open(&keyring->keys);
}

static void leave(struct keyring *keyring)
{
    secret_close(&keyring->keys);
    sodium_stackzero(STACK_BYTES);
}

enum status keyring_init(struct keyring *keyring, const uint8_t store_id[16])
{
    memcpy(keyring->store_id, store_id, sizeof keyring->store_id);
    return keyring->keys.data != NULL ? STATUS_OK : secret_new(&keyring->keys, sizeof(struct keys));
}

void keyring_close(struct keyring *keyring)
{
    if (keyring->keys.data == NULL)
        return;
    sodium_memzero(secret_open(&keyring->keys), sizeof(struct keys));
    secret_close(&keyring->keys);
    keyring->is_open = false;
}

void keyring_free(struct keyring *keyring)
{
    keyring_close(keyring);
    secret_free(&keyring->keys);
}

/* --- what is bound to what --- */

static void add_bytes(struct place *place, const void *bytes, size_t size)
{
    ensure(size <= sizeof place->bytes - place->size);
    memcpy(place->bytes + place->size, bytes, size);
    place->size += size;
}

static void add_text(struct place *place, const char *text)
{
    add_bytes(place, text, strlen(text) + 1);
}

static void add_number(struct place *place, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    add_bytes(place, bytes, sizeof bytes);
}

/* "what", store, tenant. */
static struct place place_begin(const struct keyring *keyring, const char *what, const char *tenant)
{
    struct place place = { .size = 0 };
    add_text(&place, what);
    add_bytes(&place, keyring->store_id, sizeof keyring->store_id);
    add_text(&place, tenant);
    return place;
}

static struct place place_of_key(const struct keyring *keyring, const char *tenant, uint32_t epoch)
{
    struct place place =
        place_begin(keyring, epoch == 0 ? "solo manifest key" : "solo data key", tenant);
    add_number(&place, epoch);
    return place;
}

static struct place place_of_version(const struct keyring *keyring,
                                     const struct version_place *where,
                                     const struct version_row *row)
{
    struct place place = place_begin(keyring, "solo secret", where->tenant);
    add_text(&place, where->name);
    add_number(&place, where->version);
    add_number(&place, row->epoch);
    add_number(&place, (uint64_t)row->cipher);
    add_number(&place, row->stored_ns);
    return place;
}

static struct place place_of_master(const struct keyring *keyring, const struct master_row *master)
{
    uint8_t bytes[MASTER_ROW_BYTES];
    struct place place = place_begin(keyring, "solo master key", "");
    master_row_encode(master, bytes);
    add_bytes(&place, bytes, MASTER_HEAD_BYTES);
    return place;
}

/* --- wrapping --- */

static void wrap(const uint8_t by[KEY_BYTES], const struct place *place,
                 const uint8_t key[KEY_BYTES], uint8_t wrapped[WRAPPED_KEY_BYTES])
{
    random_fill(wrapped, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(wrapped + NONCE_BYTES, NULL, key, KEY_BYTES,
                                               place->bytes, place->size, NULL, wrapped, by);
}

static bool unwrap(const uint8_t by[KEY_BYTES], const struct place *place,
                   const uint8_t wrapped[WRAPPED_KEY_BYTES], uint8_t key[KEY_BYTES])
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt(key, NULL, NULL, wrapped + NONCE_BYTES,
                                                      WRAPPED_KEY_BYTES - NONCE_BYTES, place->bytes,
                                                      place->size, wrapped, by) == 0;
}

static void derive(struct master *master)
{
    crypto_kdf_derive_from_key(master->list, KEY_BYTES, SUBKEY_LIST, context, master->master);
    crypto_kdf_derive_from_key(master->body, KEY_BYTES, SUBKEY_BODY, context, master->master);
}

/* --- the master key --- */

enum status keyring_open(struct keyring *keyring, struct secret *kek,
                         const struct master_row *master)
{
    ensure(!keyring->is_open);
    struct keys *keys = secret_open(&keyring->keys);
    struct place place = place_of_master(keyring, master);
    memcpy(keys->kek, secret_open(kek), KEY_BYTES);
    secret_close(kek);
    keyring->is_open = unwrap(keys->kek, &place, master->wrapped, keys->now.master);
    if (keyring->is_open)
        derive(&keys->now);
    else
        sodium_memzero(keys, sizeof *keys);
    leave(keyring);
    return keyring->is_open ? STATUS_OK : STATUS_PERMISSION_DENIED;
}

void keyring_draw_master(struct keyring *keyring, struct secret *kek, struct master_row *master)
{
    struct keys *keys = secret_open(&keyring->keys);
    struct place place = place_of_master(keyring, master);
    ensure(kek != NULL || keyring->is_open);
    memcpy(keys->next_kek, kek == NULL ? keys->kek : secret_open(kek), KEY_BYTES);
    if (kek != NULL)
        secret_close(kek);
    random_fill(keys->next.master, KEY_BYTES);
    derive(&keys->next);
    wrap(keys->next_kek, &place, keys->next.master, master->wrapped);
    leave(keyring);
}

void keyring_take(struct keyring *keyring)
{
    struct keys *keys = secret_open(&keyring->keys);
    keys->now = keys->next;
    memcpy(keys->kek, keys->next_kek, KEY_BYTES);
    sodium_memzero(&keys->next, sizeof keys->next);
    sodium_memzero(keys->next_kek, KEY_BYTES);
    keyring->is_open = true;
    leave(keyring);
}

static void draw_key(struct keyring *keyring, const char *tenant, uint32_t epoch,
                     uint8_t wrapped[WRAPPED_KEY_BYTES])
{
    struct keys *keys = enter(keyring);
    struct place place = place_of_key(keyring, tenant, epoch);
    random_fill(keys->data, KEY_BYTES);
    wrap(keys->now.master, &place, keys->data, wrapped);
    forget_data(keys);
    leave(keyring);
}

void keyring_draw_data_key(struct keyring *keyring, const char *tenant, uint32_t epoch,
                           uint8_t wrapped[WRAPPED_KEY_BYTES])
{
    ensure(epoch > 0);
    draw_key(keyring, tenant, epoch, wrapped);
}

void keyring_draw_manifest_key(struct keyring *keyring, const char *tenant,
                               uint8_t wrapped[WRAPPED_KEY_BYTES])
{
    draw_key(keyring, tenant, 0, wrapped);
}

bool keyring_wrap_again(struct keyring *keyring, const char *tenant, uint32_t epoch,
                        uint8_t wrapped[WRAPPED_KEY_BYTES])
{
    struct keys *keys = enter(keyring);
    struct place place = place_of_key(keyring, tenant, epoch);
    bool is_good = unwrap(keys->now.master, &place, wrapped, keys->data);
    if (is_good)
        wrap(keys->next.master, &place, keys->data, wrapped);
    forget_data(keys);
    leave(keyring);
    return is_good;
}

void keyring_hold(struct keyring *keyring)
{
    enter(keyring);
    keyring->is_held = true;
}

void keyring_release(struct keyring *keyring)
{
    keyring->is_held = false;
    forget_data(secret_open(&keyring->keys));
    secret_close(&keyring->keys);
    leave(keyring);
}

/* Into keys->data. Versions of a tenant mostly have the one key: while the keys are held it is
 * unwrapped once. */
static bool take_data_key(struct keyring *keyring, struct keys *keys, const struct place *place,
                          const uint8_t wrapped[WRAPPED_KEY_BYTES])
{
    if (keys->has_data && keys->data_place.size == place->size &&
        memcmp(keys->data_place.bytes, place->bytes, place->size) == 0 &&
        memcmp(keys->data_wrapped, wrapped, WRAPPED_KEY_BYTES) == 0)
        return true;
    keys->has_data = false;
    if (!unwrap(keys->now.master, place, wrapped, keys->data))
        return false;
    keys->has_data = keyring->is_held;
    keys->data_place = *place;
    memcpy(keys->data_wrapped, wrapped, WRAPPED_KEY_BYTES);
    return true;
}

static void put_data_key_back(struct keys *keys)
{
    if (!keys->has_data)
        sodium_memzero(keys->data, KEY_BYTES);
    sodium_memzero(keys->record, KEY_BYTES);
}

/* --- values --- */

bool keyring_can(enum cipher cipher)
{
#ifdef SOLO_FAULTS
    const char *fault = getenv("SOLO_FAULT_NO_AES");
    if (cipher == CIPHER_AES256GCM && fault != NULL && strcmp(fault, "1") == 0)
        return false;
#endif
    return cipher != CIPHER_AES256GCM || crypto_aead_aes256gcm_is_available() == 1;
}

/* AES-GCM has nonces too short to be drawn for each of many rows; so each row has a key of its own,
 * made of the 24 drawn bytes, and uses it once. */
static void derive_record_key(struct keys *keys, const uint8_t nonce[NONCE_BYTES])
{
    crypto_generichash(keys->record, KEY_BYTES, nonce, NONCE_BYTES, keys->data, KEY_BYTES);
}
static const uint8_t only_nonce[crypto_aead_aes256gcm_NPUBBYTES];

bool keyring_seal(struct keyring *keyring, const uint8_t data_key[WRAPPED_KEY_BYTES],
                  const struct version_place *where, struct version_row *head, struct span value,
                  uint8_t *row)
{
    struct keys *keys = enter(keyring);
    struct place place = place_of_key(keyring, where->tenant, head->epoch);
    bool is_good = take_data_key(keyring, keys, &place, data_key);
    uint8_t *out = row + VERSION_HEAD_BYTES;
    place = place_of_version(keyring, where, head);
    random_fill(head->nonce, NONCE_BYTES);
    if (is_good && head->cipher == CIPHER_AES256GCM) {
        derive_record_key(keys, head->nonce);
        is_good = crypto_aead_aes256gcm_encrypt(out, NULL, value.data, value.size, place.bytes,
                                                place.size, NULL, only_nonce, keys->record) == 0;
    } else if (is_good) {
        crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, value.data, value.size, place.bytes,
                                                   place.size, NULL, head->nonce, keys->data);
    }
    put_data_key_back(keys);
    leave(keyring);
    version_row_encode(head, row);
    return is_good;
}

bool keyring_unseal(struct keyring *keyring, const uint8_t data_key[WRAPPED_KEY_BYTES],
                    const struct version_place *where, const struct version_row *row,
                    uint8_t *value)
{
    struct keys *keys = enter(keyring);
    struct place place = place_of_key(keyring, where->tenant, row->epoch);
    bool is_good = take_data_key(keyring, keys, &place, data_key);
    struct span in = row->ciphertext;
    place = place_of_version(keyring, where, row);
    if (is_good && row->cipher == CIPHER_AES256GCM) {
        derive_record_key(keys, row->nonce);
        is_good = crypto_aead_aes256gcm_decrypt(value, NULL, NULL, in.data, in.size, place.bytes,
                                                place.size, only_nonce, keys->record) == 0;
    } else if (is_good) {
        is_good = crypto_aead_xchacha20poly1305_ietf_decrypt(value, NULL, NULL, in.data, in.size,
                                                             place.bytes, place.size, row->nonce,
                                                             keys->data) == 0;
    }
    put_data_key_back(keys);
    leave(keyring);
    return is_good;
}

/* --- manifests --- */

static struct hash keyed(const uint8_t key[KEY_BYTES], const struct place *place, struct span data)
{
    struct hash hash;
    crypto_generichash_state state;
    crypto_generichash_init(&state, key, KEY_BYTES, HASH_BYTES);
    crypto_generichash_update(&state, place->bytes, place->size);
    crypto_generichash_update(&state, data.data, data.size);
    crypto_generichash_final(&state, hash.bytes, HASH_BYTES);
    sodium_memzero(&state, sizeof state);
    return hash;
}

bool keyring_manifest_begin(struct keyring *keyring, const char *tenant,
                            const uint8_t wrapped[WRAPPED_KEY_BYTES])
{
    struct keys *keys = enter(keyring);
    struct place place = place_of_key(keyring, tenant, 0);
    if (unwrap(keys->now.master, &place, wrapped, keys->manifest))
        return true;
    leave(keyring);
    return false;
}

void keyring_manifest_end(struct keyring *keyring)
{
    struct keys *keys = enter(keyring);
    sodium_memzero(keys->manifest, KEY_BYTES);
    secret_close(&keyring->keys);
    leave(keyring);
}

struct hash keyring_manifest_row(struct keyring *keyring, unsigned table, const struct hash *seal)
{
    const struct keys *keys = enter(keyring);
    uint8_t data[1 + HASH_BYTES];
    struct hash hash;
    data[0] = (uint8_t)table;
    memcpy(data + 1, seal->bytes, HASH_BYTES);
    crypto_generichash(hash.bytes, HASH_BYTES, data, sizeof data, keys->manifest, KEY_BYTES);
    secret_close(&keyring->keys);
    return hash;
}

struct hash keyring_manifest_mac(struct keyring *keyring, const char *tenant, struct span row)
{
    struct place place = place_begin(keyring, "solo manifest", tenant);
    struct hash hash = keyed(enter(keyring)->manifest, &place, row);
    leave(keyring);
    return hash;
}

struct hash keyring_list_row(struct keyring *keyring, bool is_next, const struct hash *seal)
{
    const struct keys *keys = enter(keyring);
    const uint8_t *key = is_next ? keys->next.list : keys->now.list;
    struct hash hash;
    crypto_generichash(hash.bytes, HASH_BYTES, seal->bytes, HASH_BYTES, key, KEY_BYTES);
    leave(keyring);
    return hash;
}

struct hash keyring_list_mac(struct keyring *keyring, bool is_next, struct span row)
{
    const struct keys *keys = enter(keyring);
    struct place place = place_begin(keyring, "solo list of tenants", "");
    struct hash hash = keyed(is_next ? keys->next.list : keys->now.list, &place, row);
    leave(keyring);
    return hash;
}

struct hash keyring_body_hash(struct keyring *keyring, const char *method, const char *tenant,
                              const char *name, struct span value)
{
    struct place place = place_begin(keyring, method, tenant);
    add_text(&place, name);
    const struct keys *keys = enter(keyring);
    struct hash hash = keyed(keys->now.body, &place, value);
    leave(keyring);
    return hash;
}
