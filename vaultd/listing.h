#ifndef SOLO_VAULTD_LISTING_H
#define SOLO_VAULTD_LISTING_H

#include "vaultd/vault.h"

/* A page of secret.list. */
struct listing {
    const char *tenant; /* "": all */
    const char *after;  /* TENANT/NAME, "" at the beginning */
    size_t count_max, bytes_max;
    struct buffer *items; /* secret_item maps, one behind the other */
    size_t count;
    char next[SERVICE_KEY_BYTES];     /* "" when nothing is left */
    char missing[NAME_BYTES_MAX + 1]; /* with data_loss of all: the tenant that is not whole */
};

/* invalid_argument: `after` is nothing that was `next`. Of a tenant whose manifest does not match
 * what is found is listed as damaged; when it alone was asked for, or nothing of it is found,
 * data_loss (of all tenants: with the last page). */
enum status listing_read(struct vault *vault, struct db_txn *txn, struct listing *listing);

/* One secret; `row` NULL for one whose row is broken. */
void listing_item(const char *tenant, const char *name, const struct secret_row *row,
                  bool is_damaged, struct buffer *items);
/* Its versions, as one packed list. */
void listing_versions(const struct secret_row *row, struct buffer *list);

#endif
