#ifndef SOLO_COMMON_API_RECORDS_SCHEMAS_H
#define SOLO_COMMON_API_RECORDS_SCHEMAS_H

#include "common/db/db.h"

/* The stores that more than one program opens, and their tables. */

enum events_table {
    EVENTS_EVENTS,   /* number -> event record (event_record.h); proves itself by its chain hash */
    EVENTS_HEADS,    /* 't', 'y' or 's' and a tenant, type or subject -> newest number, 8 bytes; of
                      * the newest events it need not speak yet: ask event_log_head */
    EVENTS_REQUESTS, /* request_id, 16 bytes, time first -> request_row; written late, too */
    EVENTS_SOURCES,  /* see eventd/sources.h */
    EVENTS_LIVE,     /* TENANT/NAME -> live_row */
    EVENTS_TENANTS,  /* tenant -> tenant_row */
};
extern const struct db_schema events_schema;

enum tokens_table {
    TOKENS_TOKENS,    /* SHA-256 of the token -> token record (token_record.h) */
    TOKENS_BY_TENANT, /* tenant NUL accessor [16] -> SHA-256 */
    TOKENS_BY_EXPIRY, /* trusted time ns [8] SHA-256 -> 't' for a token, 'r' for a row of `revoked`
                       */
    TOKENS_BY_ACCESSOR, /* accessor [16] -> SHA-256 */
    TOKENS_CHILDREN,    /* parent SHA-256, child SHA-256 -> nothing; SHA-256 of a granted token ->
                         * number of its descendants [8] */
    TOKENS_REVOKED,     /* SHA-256 -> trusted time ns [8]: not to be granted again */
    TOKENS_USED,        /* accessor [16] -> minutes since 1970 [8] */
    TOKENS_OUTBOX,      /* see common/outbox */
    TOKENS_REQUESTS,    /* request_id, 16 bytes, time first -> see common/db/requests.h */
};
extern const struct db_schema tokens_schema;

/* vaultd's alone; here because every store is probed by the same table. Its rows are proved by the
 * tenants' manifests, with a key. See vaultd/rows.h. */
enum vault_table {
    VAULT_TENANTS,  /* tenant -> tenant row: epochs, manifest */
    VAULT_KEYS,     /* tenant NUL epoch [4] -> wrapped data key */
    VAULT_SECRETS,  /* tenant NUL name -> secret row: its versions and their seals */
    VAULT_VERSIONS, /* tenant NUL name NUL version [8] -> version row: the ciphertext */
    VAULT_OUTBOX,   /* see common/outbox */
    VAULT_REQUESTS, /* request_id, 16 bytes, time first -> see common/db/requests.h */
};
extern const struct db_schema vault_schema;

enum registry_table {
    REGISTRY_SERVICES, /* TENANT/NAME -> service_row */
    REGISTRY_TENANTS,  /* tenant -> supervisor's pid and boot id */
};
extern const struct db_schema registry_schema;
/* In its meta: the incarnation of the event log whose services it tells of. */
#define REGISTRY_LOG_KEY "log.incarnation"

/* What every program that opens a store calls first in main: when argv asks for --probe-store NAME
 * DIR it runs the probe (for events: with the last 1,000 records and their chain) and exits; for
 * --copy-store NAME FROM TO it copies (for events: and reads the whole chain of the copy). */
void schema_probe_if_asked(int argc, char **argv);

#endif
