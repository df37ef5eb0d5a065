#ifndef SOLO_VAULTD_VAULT_EVENTS_H
#define SOLO_VAULTD_VAULT_EVENTS_H

#include "common/api/event_types.h"
#include "common/rpc/server.h"
#include "vaultd/rows.h"
#include "vaultd/vault_store.h"

/* What the log learns of secrets: names and versions, who, and why not; never a value or anything
 * that is made of one without a key. Each puts a row into the outbox, within the turn. */

/* Stored, accessed or deleted; `destroyed` versions lost their ciphertext (0: none did). */
enum status secret_event(struct vault_store *store, enum event_type type, const char *tenant,
                         const char *name, uint64_t version, uint64_t destroyed,
                         const struct caller *by);
/* `name` may be "". `by` is an accessor, a daemon's name or a uid in words. */
/* secret_accessed for a start of a service. */
enum status secret_event_delivered(struct vault_store *store, const char *tenant, const char *name,
                                   uint64_t version, const char *service, uint64_t generation);
/* Told to `tenant`, the caller's; about a secret of the tenant `of`, which is the same one unless
 * the caller asked for another's: then that is in the payload, and the subject is no secret's. */
enum status secret_event_denied(struct vault_store *store, const char *tenant, const char *of,
                                const char *name, const char *method, const char *by,
                                const char *reason, uint64_t count);
/* Of the vault itself. `by` whom, "" for vaultd itself; `opens_with` what, NULL when it was sealed.
 */
enum status vault_event(struct vault_store *store, enum event_type type, const char *by,
                        const char *opens_with);
/* A tenant's old keys are gone. */
enum status vault_event_rotated(struct vault_store *store, const char *tenant,
                                const struct vault_tenant *row);

/* Something that vaultd needs is nearly used up; in a turn of its own. unavailable: within one. */
enum status vault_event_resource(struct vault_store *store, const struct buffer *payload);

#endif
