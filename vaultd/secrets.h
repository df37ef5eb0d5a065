#ifndef SOLO_VAULTD_SECRETS_H
#define SOLO_VAULTD_SECRETS_H

#include "common/api/api.h"
#include "common/rpc/server.h"
#include "vaultd/vault.h"

/* What is done to secrets, within a turn. Everything is checked first and written last, the event
 * with the rest: a refusal (call->problem) has changed nothing. A request that was committed before
 * is answered with what it became then. */
enum status secrets_put(struct vault *vault, struct rpc_call *call,
                        const struct secret_put_request *request, struct secret_put_reply *reply);
enum status secrets_read(struct vault *vault, struct rpc_call *call,
                         const struct secret_read_request *request,
                         struct secret_read_reply *reply);
/* The version that a reader is given: `wanted`, or the latest for 0; of a secret that was deleted
 * or destroyed: not_found. */
enum status secrets_find(struct vault *vault, struct rpc_call *call, const char *tenant,
                         const char *name, uint64_t wanted, struct secret_version *version);
enum status secrets_delete(struct vault *vault, struct rpc_call *call,
                           const struct secret_delete_request *request,
                           struct secret_delete_reply *reply);
enum status secrets_destroy(struct vault *vault, struct rpc_call *call,
                            const struct secret_destroy_request *request,
                            struct secret_destroy_reply *reply);

/* One version's value, SECRET_VALUE_BYTES_MAX of room at `value`: compared with the row that leads
 * to it, opened. data_loss for whatever is wrong with it. */
enum status secret_value(struct vault *vault, struct db_txn *txn, const struct version_place *place,
                         const struct secret_version *version, uint8_t *value);
/* A value sealed into VAULT_VERSIONS; fills cipher, epoch, bytes and seal of `version`. Within a
 * turn; `stored_ns` of it is set. */
enum status secret_store(struct vault *vault, const struct version_place *place, uint32_t epoch,
                         struct span value, struct secret_version *version);

/* The row of a secret; not_found when the tenant's manifest bears that out. */
enum status secret_find(struct vault *vault, struct db_txn *txn, const char *tenant,
                        const char *name, struct secret_row *row);
/* With the tenant's manifest, which the caller saves. Within a turn. */
enum status secret_save(struct vault *vault, const char *tenant, const char *name,
                        struct vault_tenant *tenant_row, const struct secret_row *row);

/* "stored", "deleted" or "destroyed". */
const char *secret_state(const struct secret_row *row);
const char *secret_version_state(const struct secret_row *row,
                                 const struct secret_version *version);
/* With a ciphertext. */
size_t secret_stored_count(const struct secret_row *row);

/* Says what is wrong with a tenant whose manifest does not match, or a secret that does not open.
 */
enum status secret_refuse_damaged(struct problem *problem, const char *field, const char *name);

/* The outcome of a request that may be repeated, a number: a version, or how many. not_found: it is
 * new. */
enum status secrets_find_request(struct vault *vault, struct rpc_call *call,
                                 const struct hash *body, uint64_t *number);
enum status secrets_put_request(struct vault *vault, struct rpc_call *call, const struct hash *body,
                                const char *about, uint64_t number);

#endif
