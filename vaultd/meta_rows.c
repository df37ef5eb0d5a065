/* Numbers are kept as eight bytes each. */
#include "vaultd/meta_rows.h"

#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/table.h"

enum { INCARNATION_BYTES = 16, NUMBER_BYTES = 8, VERIFIED_NUMBERS = 4 };
static const char master_key[] = "vault.master";
static const char home_key[] = "vault.incarnation";
static const char accepted_key[] = "vault.accepted";
static const char sealed_key[] = "vault.sealed";
static const char verified_key[] = "vault.verified";

static enum status damaged(const struct db_txn *txn, const char *what)
{
    return log_failure(STATUS_DATA_LOSS, what, "dir", txn->db->dir, "reason",
                       "not the form of its row in meta");
}

/* --- the master key --- */

/* In a vault that had one it is not missing. */
static enum status check_new(struct db_txn *txn)
{
    uint64_t tenant_rows;
    struct span home;
    enum status status = db_meta_get(txn, home_key, &home);
    if (status != STATUS_NOT_FOUND && status != STATUS_OK)
        return status;
    TRY(table_count(txn, VAULT_TENANTS, &tenant_rows));
    return status == STATUS_NOT_FOUND && tenant_rows == 0
               ? STATUS_NOT_FOUND
               : log_failure(STATUS_DATA_LOSS, "read the master key", "dir", txn->db->dir, "reason",
                             "its row is missing");
}

enum status meta_master(struct db_txn *txn, struct master_row *row)
{
    struct span value;
    enum status status = db_meta_get(txn, master_key, &value);
    if (status == STATUS_NOT_FOUND)
        return check_new(txn);
    TRY(status);
    return master_row_decode(value, row);
}

enum status meta_master_put(struct db_txn *txn, const struct master_row *row)
{
    uint8_t bytes[MASTER_ROW_BYTES];
    master_row_encode(row, bytes);
    return db_meta_put(txn, master_key, span_of(bytes, sizeof bytes));
}

/* --- where it comes from --- */

enum status meta_home(struct db_txn *txn, struct vault_home *home)
{
    const uint8_t *incarnation = txn->db->identity.incarnation;
    struct span row;
    *home = (struct vault_home){ 0 };
    enum status status = db_meta_get(txn, home_key, &row);
    if (status == STATUS_OK) {
        home->is_known = true;
        home->is_same = span_equal(row, span_of(incarnation, INCARNATION_BYTES));
    } else if (status != STATUS_NOT_FOUND) {
        return status;
    }
    status = db_meta_get(txn, accepted_key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    if (row.size != NUMBER_BYTES)
        return damaged(txn, "read which vaults came before");
    home->accepted_id = table_number_value(row);
    return STATUS_OK;
}

enum status meta_home_put(struct db_txn *txn, uint64_t accepted_id)
{
    const uint8_t *incarnation = txn->db->identity.incarnation;
    struct table_number accepted = table_number(accepted_id);
    TRY(db_meta_put(txn, home_key, span_of(incarnation, INCARNATION_BYTES)));
    return db_meta_put(txn, accepted_key, span_of(accepted.bytes, sizeof accepted.bytes));
}

/* --- sealed on purpose --- */

enum status meta_sealed(struct db_txn *txn, char by[CALLER_TEXT_BYTES])
{
    struct span row;
    TRY(db_meta_get(txn, sealed_key, &row));
    if (row.size >= CALLER_TEXT_BYTES)
        return damaged(txn, "read who sealed the vault");
    memcpy(by, row.data, row.size);
    by[row.size] = '\0';
    return STATUS_OK;
}

enum status meta_sealed_put(struct db_txn *txn, const char *by)
{
    return db_meta_put(txn, sealed_key, span_of_text(by));
}

enum status meta_sealed_delete(struct db_txn *txn)
{
    return db_meta_delete(txn, sealed_key);
}

/* --- the last verification --- */

enum status meta_verified(struct db_txn *txn, struct vault_verified *verified)
{
    uint64_t *const numbers[VERIFIED_NUMBERS] = { &verified->wall_ns, &verified->readable,
                                                  &verified->damaged, &verified->damaged_tenants };
    struct span row;
    *verified = (struct vault_verified){ 0 };
    enum status status = db_meta_get(txn, verified_key, &row);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    if (row.size != (size_t)VERIFIED_NUMBERS * NUMBER_BYTES)
        return damaged(txn, "read what the last verification found");
    for (size_t i = 0; i < VERIFIED_NUMBERS; i++)
        *numbers[i] = table_number_value(span_of(row.data + i * NUMBER_BYTES, NUMBER_BYTES));
    return STATUS_OK;
}

enum status meta_verified_put(struct db_txn *txn, const struct vault_verified *verified)
{
    const uint64_t numbers[VERIFIED_NUMBERS] = { verified->wall_ns, verified->readable,
                                                 verified->damaged, verified->damaged_tenants };
    uint8_t row[VERIFIED_NUMBERS * NUMBER_BYTES];
    for (size_t i = 0; i < VERIFIED_NUMBERS; i++) {
        struct table_number number = table_number(numbers[i]);
        memcpy(row + i * NUMBER_BYTES, number.bytes, NUMBER_BYTES);
    }
    return db_meta_put(txn, verified_key, span_of(row, sizeof row));
}
