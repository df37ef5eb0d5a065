#ifndef SOLO_RECOVERYD_IDENTITY_H
#define SOLO_RECOVERYD_IDENTITY_H

#include "common/rpc/client.h"

/* As whom recoveryd speaks to deployd and solod: as a daemon of the run when solod started it, with
 * the admin token of SOLO_TOKEN_FILE when an operator named one, and otherwise by its uid. */

/* Reads the run's key or the token, once, before anything is asked. */
enum status identity_load(void);
/* It is a token: what it may see is for whoever is asked to say. */
bool identity_is_token(void);
/* Completes the options of a client. Not for supervisors: they know neither. */
void identity_set(struct rpc_client_options *options);

#endif
