#ifndef SOLO_VAULTD_KEYRING_H
#define SOLO_VAULTD_KEYRING_H

#include "common/secret/secret.h"
#include "vaultd/rows.h"

/* The keys of an open vault, and all that is done with them. They lie in one struct secret, which
 * is accessible only within these functions. Key hierarchy: key-encryption key -> master key
 * (drawn at random) -> one data key per tenant and epoch, and one manifest key per tenant (drawn at
 * random, kept wrapped in the store, unwrapped for one operation). What else is needed is derived
 * from the master key. Ciphers are libsodium's. */
struct keyring {
    struct secret keys;
    uint8_t store_id[16]; /* bound into everything that is authenticated */
    bool is_open;
    bool is_held; /* see keyring_hold */
};

/* What a version is bound to: a row that was moved to another place does not open. */
struct version_place {
    const char *tenant, *name;
    uint64_t version;
};

/* Takes and locks the memory; see secret_new. */
enum status keyring_init(struct keyring *keyring, const uint8_t store_id[16]);
void keyring_free(struct keyring *keyring);
/* Forgets every key; keeps the memory. */
void keyring_close(struct keyring *keyring);

/* Opens with this key-encryption key (KEY_BYTES of `kek`): permission_denied when it is not the
 * one. */
enum status keyring_open(struct keyring *keyring, struct secret *kek,
                         const struct master_row *master);
/* Fills `wrapped` of `master` with a master key drawn now, and takes it as `next`: see
 * keyring_take. `kek` NULL: the one that the vault was opened with. */
void keyring_draw_master(struct keyring *keyring, struct secret *kek, struct master_row *master);
/* The key that was drawn last is the master key from now on: what was wrapped anew is in the store.
 */
void keyring_take(struct keyring *keyring);

/* Drawn, and wrapped under the master key. */
void keyring_draw_data_key(struct keyring *keyring, const char *tenant, uint32_t epoch,
                           uint8_t wrapped[WRAPPED_KEY_BYTES]);
void keyring_draw_manifest_key(struct keyring *keyring, const char *tenant,
                               uint8_t wrapped[WRAPPED_KEY_BYTES]);
/* From the master key to the next one; false when it does not open. Epoch 0 is the manifest key. */
bool keyring_wrap_again(struct keyring *keyring, const char *tenant, uint32_t epoch,
                        uint8_t wrapped[WRAPPED_KEY_BYTES]);

/* Into `row` (VERSION_HEAD_BYTES + value + TAG_BYTES); its nonce is drawn. False when the data key
 * does not open. */
bool keyring_seal(struct keyring *keyring, const uint8_t data_key[WRAPPED_KEY_BYTES],
                  const struct version_place *place, struct version_row *head, struct span value,
                  uint8_t *row);
/* Into `value` (ciphertext less TAG_BYTES); false when anything of it was changed. */
bool keyring_unseal(struct keyring *keyring, const uint8_t data_key[WRAPPED_KEY_BYTES],
                    const struct version_place *place, const struct version_row *row,
                    uint8_t *value);
/* Around many operations in a row: the keys stay accessible, which saves a change of the page
 * tables each time. Within one callback only. */
void keyring_hold(struct keyring *keyring);
void keyring_release(struct keyring *keyring);
/* Whether this processor has what the cipher needs. */
bool keyring_can(enum cipher cipher);

/* The manifest of a tenant: opens its key for the calls that follow, until keyring_manifest_end.
 * False when it does not open. */
bool keyring_manifest_begin(struct keyring *keyring, const char *tenant,
                            const uint8_t wrapped[WRAPPED_KEY_BYTES]);
void keyring_manifest_end(struct keyring *keyring);
/* Keyed hashes: of a row that stands in a manifest, and of the manifest itself. */
struct hash keyring_manifest_row(struct keyring *keyring, unsigned table, const struct hash *seal);
struct hash keyring_manifest_mac(struct keyring *keyring, const char *tenant, struct span row);
/* The same for the list of tenants, with a key from the master key; `is_next` as above. */
struct hash keyring_list_row(struct keyring *keyring, bool is_next, const struct hash *seal);
struct hash keyring_list_mac(struct keyring *keyring, bool is_next, struct span row);

/* What a put was about, for comparing it with a repeated one: with a key, because the hash of a
 * short secret tells the secret. */
struct hash keyring_body_hash(struct keyring *keyring, const char *method, const char *tenant,
                              const char *name, struct span value);

#endif
