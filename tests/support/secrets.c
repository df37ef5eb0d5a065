#include "tests/support/secrets.h"

#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "tests/support/services.h"

enum status secret_put(const struct testbed *bed, const char *tenant, const char *name,
                       const char *value)
{
    char hex[4 + 2 * SECRET_TEXT_BYTES] = "hex:";
    struct problem problem = { 0 };
    hex_text(hex + 4, value, strlen(value));
    return testbed_call(bed, "vaultd", "secret.put",
                        json_pack("{s:s, s:s, s:s}", "tenant", tenant, "name", name, "value", hex),
                        NULL, &problem);
}

enum status secret_read_version(const struct testbed *bed, const char *tenant, const char *name,
                                int version, char value[SECRET_TEXT_BYTES])
{
    json_t *reply = NULL;
    struct problem problem = { 0 };
    value[0] = '\0';
    enum status status = testbed_call(
        bed, "vaultd", "secret.read",
        json_pack("{s:s, s:s, s:i}", "tenant", tenant, "name", name, "version", version), &reply,
        &problem);
    if (status == STATUS_OK) {
        const char *hex = text_in(reply, "value");
        size_t size = strlen(hex + 4) / 2;
        if (size >= SECRET_TEXT_BYTES || !hex_parse(hex + 4, value, size))
            test_fail("%s/%s: not a short value: %s", tenant, name, hex);
        value[size] = '\0';
        json_decref(reply);
    }
    return status;
}

void expect_secret(const struct testbed *bed, const char *tenant, const char *name,
                   const char *wanted)
{
    char value[SECRET_TEXT_BYTES];
    enum status status = secret_read_version(bed, tenant, name, 0, value);
    if (status != STATUS_OK || strcmp(value, wanted) != 0)
        test_fail("%s/%s: %s, \"%s\", not \"%s\"", tenant, name, status_name(status), value,
                  wanted);
}

void expect_secret_status(const struct testbed *bed, const char *tenant, const char *name,
                          enum status wanted)
{
    char value[SECRET_TEXT_BYTES];
    enum status status = secret_read_version(bed, tenant, name, 0, value);
    if (status != wanted)
        test_fail("%s/%s: %s, not %s", tenant, name, status_name(status), status_name(wanted));
}

void expect_vault_state(const struct testbed *bed, const char *state, const char *reason)
{
    json_t *reply = testbed_ask(bed, "vaultd", "vault.status", NULL);
    const char *told = text_in(reply, "reason");
    if (strcmp(text_in(reply, "state"), state) != 0 ||
        (reason != NULL && strstr(told == NULL ? "" : told, reason) == NULL))
        test_fail("the vault is %s: %s; not %s: %s", text_in(reply, "state"),
                  told == NULL ? "" : told, state, reason == NULL ? "" : reason);
    json_decref(reply);
}
