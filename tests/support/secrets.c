#include "tests/support/secrets.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
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
    char told[1024];
    snprintf(told, sizeof told, "%s: %s: %s", text_in(reply, "code"), text_in(reply, "reason"),
             text_in(reply, "next"));
    if (strcmp(text_in(reply, "state"), state) != 0 ||
        (reason != NULL && strstr(told, reason) == NULL))
        test_fail("the vault is %s: %s; not %s: %s", text_in(reply, "state"), told, state,
                  reason == NULL ? "" : reason);
    json_decref(reply);
}

void expect_vault_damaged_state(const struct testbed *bed, const char *reason)
{
    expect_vault_state(bed, "damaged", reason);
    json_t *health = testbed_ask(bed, "vaultd", "daemon.health", NULL);
    if (strcmp(text_in(health, "state"), "damaged") != 0)
        test_fail("vaultd says that it is %s", text_in(health, "state"));
    json_decref(health);
}

static void check_said(const char *who, const struct result *result, int exit_code,
                       const char *text, const char *reason)
{
    if (result->exit_code != exit_code || strstr(text, reason) == NULL)
        test_fail("%s: exit code %d, not %d, with \"%s\": %s", who, result->exit_code, exit_code,
                  reason, text);
}

void expect_vault_damaged(const struct testbed *bed, const char *reason)
{
    AUTO(result_close) struct result result = { 0 };
    expect_vault_damaged_state(bed, reason);
    expect_secret_status(bed, "acme", "a", STATUS_DATA_LOSS);
    if (secret_put(bed, "acme", "a", "x") != STATUS_DATA_LOSS)
        test_fail("a damaged vault takes a secret");
    testbed_soloctl(bed, &result, "vault", "unseal", NULL);
    check_said("vault unseal", &result, status_exit_code(STATUS_DATA_LOSS), result_err(&result),
               reason);
    check_said("vault unseal", &result, status_exit_code(STATUS_DATA_LOSS), result_err(&result),
               "`soloctl vault status`");
    testbed_soloctl(bed, &result, "status", NULL);
    check_said("status", &result, 0, result_out(&result), reason);
    testbed_recoveryd(bed, &result, "verify", "--detailed-exitcode", NULL);
    check_said("recoveryd verify", &result, 3, result_out(&result), reason);
}

void vault_await_told(const struct testbed *bed)
{
    for (int left_ms = 60000;; left_ms -= 20, sleep_ms(20)) {
        json_t *status = testbed_ask(bed, "vaultd", "vault.status", NULL);
        bool is_told = number_in(status, "outbox") == 0;
        json_decref(status);
        if (is_told)
            return;
        if (left_ms <= 0)
            test_fail("events of the vault wait");
    }
}
