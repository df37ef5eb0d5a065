#ifndef SOLO_VAULTD_DENIALS_H
#define SOLO_VAULTD_DENIALS_H

#include <ev.h>

#include "common/access/access.h"
#include "vaultd/vault.h"

/* secret_access_denied: who was not given a secret, and why. Refusals are counted in memory, alike
 * ones together, and told once a second: so nobody fills the log with them, and a refusal costs no
 * commit. Past VAULT_DENIALS_MAX different ones, or with the outbox half full, they are counted in
 * daemon.stats only. */
struct denial {
    char tenant[NAME_BYTES_MAX + 1]; /* the caller's own, or the operator's choice */
    char of[NAME_BYTES_MAX + 1];     /* whose secret was asked for */
    char name[NAME_BYTES_MAX + 1];
    char method[METHOD_NAME_BYTES_MAX + 1];
    char by[CALLER_TEXT_BYTES];
    const char *reason; /* a status's name */
    uint64_t count;
};

struct denials {
    struct vault *vault;
    struct access *access; /* that decides */
    struct ev_loop *loop;
    struct ev_timer due;
    struct denial items[VAULT_DENIALS_MAX];
    size_t count;
};

void denials_open(struct denials *denials, struct vault *vault, struct access *access,
                  struct ev_loop *loop);
/* Tells what is left, when the store still can. */
void denials_close(struct denials *denials);

void denials_note(struct denials *denials, const struct rpc_call *call, const char *tenant,
                  const char *name, enum status status);

/* For struct rpc_service, around access_authorise and access_narrow: a refusal of a secret.* method
 * to a known token is noted. */
enum status denials_authorise(void *denials, struct rpc_call *call, struct span token);
enum status denials_narrow(void *denials, struct rpc_call *call, void *request);
void denials_refused(void *denials, const struct rpc_call *call, enum status status);

#endif
