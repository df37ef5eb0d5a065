/* Rows of the vault made of any bytes: refused, or packed again into the same bytes. The first byte
 * says which row. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/ensure.h"
#include "vaultd/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each refusal is logged; here that is all there is. */
static void be_quiet(void)
{
    static bool is_quiet;
    if (!is_quiet && getenv("SOLO_FUZZ_VERBOSE") == NULL)
        is_quiet = freopen("/dev/null", "w", stderr) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct secret_row secret;
    uint8_t bytes[SECRET_ROW_BYTES_MAX];
    char tenant[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    struct master_row master;
    struct vault_tenant vault_tenant;
    struct version_row version;
    be_quiet();
    if (size == 0)
        return 0;
    struct span row = span_of(data + 1, size - 1);
    switch (data[0] % 5) {
    case 0:
        if (master_row_decode(row, &master) == STATUS_OK) {
            master_row_encode(&master, bytes);
            ensure(span_equal(span_of(bytes, MASTER_ROW_BYTES), row));
        }
        break;
    case 1:
        if (vault_tenant_decode(row, &vault_tenant) == STATUS_OK) {
            vault_tenant_encode(&vault_tenant, bytes);
            ensure(span_equal(span_of(bytes, TENANT_ROW_BYTES), row));
        }
        break;
    case 2:
        if (secret_row_decode(row, &secret) == STATUS_OK)
            ensure(span_equal(secret_row_encode(&secret, bytes), row));
        break;
    case 3:
        if (version_row_decode(row, &version) == STATUS_OK) {
            version_row_encode(&version, bytes);
            ensure(memcmp(bytes, row.data, VERSION_HEAD_BYTES) == 0);
        }
        break;
    default:
        if (secret_key_read(row, tenant, name))
            ensure(span_equal(secret_key(bytes, tenant, name), row));
        break;
    }
    return 0;
}
