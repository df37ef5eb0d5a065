/* vaultd killed at every step of put, rotation and rekeying: whatever was acknowledged is readable,
 * and nothing is left half done. SOLO_LONG kills at each arrival, and makes 100,000 secrets. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/secret_fill.h"
#include "tests/support/secrets.h"
#include "tests/support/services.h"

TestSuite(vault_deaths, .timeout = 1800);

static uint64_t await_rotated(const struct testbed *bed)
{
    for (int left_ms = 60000;; left_ms -= 20, sleep_ms(20)) {
        json_t *status = testbed_ask(bed, "vaultd", "vault.status", NULL);
        bool is_over = number_in(status, "rotating") == 0;
        uint64_t versions = number_in(status, "versions");
        json_decref(status);
        if (is_over)
            return versions;
        cr_assert_gt(left_ms, 0, "the rotation does not end");
    }
}

/* Killed in the midst of it, and sealed until somebody types the passphrase: then it goes on. */
Test(vault_deaths, a_rotation_goes_on_when_a_passphrase_opens_the_vault_again)
{
    enum { SECRETS = 40 };
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char name[16];
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_VAULT_UNSEAL", "passphrase");
    testbed_set(&bed, "SOLO_VAULT_ARGON2_MEMORY_BYTES", "8388608");
    testbed_start(&bed);
    testbed_soloctl_input(&bed, &result, "correct horse\n", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    for (int i = 0; i < SECRETS; i++) {
        snprintf(name, sizeof name, "s%d", i);
        cr_assert_eq(secret_put(&bed, i % 2 == 0 ? "acme" : "beta", name, name), STATUS_OK);
    }
    cr_assert_eq(testbed_stop(&bed), 0);
    testbed_set(&bed, "SOLO_FAULT", "vaultd.rotation:2"); /* each vaultd dies in its second batch */
    testbed_start(&bed);
    testbed_soloctl_input(&bed, &result, "correct horse\n", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "vault", "rotate", NULL);
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_FAULT", "none");
    testbed_start(&bed);
    expect_vault_state(&bed, "sealed", "passphrase");
    expect_secret_status(&bed, "acme", "s0", STATUS_FAILED_PRECONDITION);
    testbed_soloctl_input(&bed, &result, "correct horse\n", "vault", "unseal", NULL);
    expect_exit(&result, 0);
    cr_assert_eq(await_rotated(&bed), SECRETS);
    json_t *reply = testbed_ask(&bed, "vaultd", "vault.verify", NULL);
    expect_number(reply, "readable", SECRETS);
    expect_number(reply, "damaged", 0);
    json_decref(reply);
    vault_await_told(&bed);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "vault_rotated", NULL, NULL), 2, "once for each tenant");
    json_decref(events);
    testbed_soloctl(&bed, &result, "vault", "seal", NULL);
    testbed_soloctl_input(&bed, &result, "correct horse\n", "vault", "unseal", NULL);
    expect_secret(&bed, "beta", "s1", "s1");
}

static void torture(const char *point, int arrival)
{
    enum { SECRETS = 12, MORE = 3 };
    enum status more[MORE];
    uint64_t stored = SECRETS;
    struct testbed bed = { 0 };
    char fault[100], name[16];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (int i = 0; i < SECRETS; i++) {
        snprintf(name, sizeof name, "s%d", i);
        cr_assert_eq(secret_put(&bed, i % 2 == 0 ? "acme" : "beta", name, name), STATUS_OK);
    }
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(fault, sizeof fault, "%s:%d", point, arrival);
    testbed_set(&bed, "SOLO_FAULT", fault);
    size_t starts = testbed_log_count(&bed, "msg=\"daemon ready\" name=vaultd");
    testbed_launch(&bed, NULL);
    /* Solo gets ready without a vaultd that dies at each start: nobody would answer. */
    bool is_ready = testbed_wait_ready(&bed, 3000) &&
                    testbed_log_count(&bed, "msg=\"daemon ready\" name=vaultd") > starts;
    for (int i = 0; i < MORE; i++) {
        snprintf(name, sizeof name, "more%d", i);
        more[i] = is_ready ? secret_put(&bed, "acme", name, name) : STATUS_UNAVAILABLE;
    }
    if (is_ready) {
        struct problem problem = { 0 };
        testbed_call(&bed, "vaultd", "vault.rotate", NULL, NULL, &problem);
        testbed_call(&bed, "vaultd", "vault.rekey", NULL, NULL, &problem);
        sleep_ms(100);
    }
    testbed_kill_everything(&bed);
    testbed_set(&bed, "SOLO_FAULT", "none");
    testbed_start(&bed);
    for (int i = 0; i < SECRETS; i++) {
        snprintf(name, sizeof name, "s%d", i);
        expect_secret(&bed, i % 2 == 0 ? "acme" : "beta", name, name);
    }
    for (int i = 0; i < MORE; i++) { /* what was acknowledged is there; the rest is whole or not */
        char value[SECRET_TEXT_BYTES];
        snprintf(name, sizeof name, "more%d", i);
        enum status status = secret_read_version(&bed, "acme", name, 0, value);
        if (more[i] == STATUS_OK || status != STATUS_NOT_FOUND)
            cr_assert(status == STATUS_OK && strcmp(value, name) == 0, "%s: %s: %s", fault, name,
                      status_name(status));
        stored += status == STATUS_OK;
    }
    uint64_t end = clock_boottime_ns() + 60000000000u;
    for (uint64_t left = 1; left > 0; sleep_ms(10)) {
        json_t *reply = testbed_ask(&bed, "vaultd", "vault.status", NULL);
        left = number_in(reply, "rotating");
        json_decref(reply);
        cr_assert_lt(clock_boottime_ns(), end, "%s: the rotation does not end", fault);
    }
    json_t *reply = testbed_ask(&bed, "vaultd", "vault.verify", NULL);
    expect_number(reply, "readable", stored);
    expect_number(reply, "damaged", 0);
    expect_number(reply, "damaged_tenants", 0);
    json_decref(reply);
    vault_await_told(&bed);
    json_t *events = events_after(&bed, 0); /* each once, whoever died between the two stores */
    cr_assert_eq(events_count(events, "secret_stored", NULL, NULL), stored, "%s", fault);
    json_decref(events);
    testbed_close(&bed);
}

Test(vault_deaths, putting_rotation_and_rekeying_survive_death_at_every_step)
{
    static const char *const points[] = { "vaultd.before_commit", "vaultd.after_commit",
                                          "vaultd.rotation",      "vaultd.rotation_begin",
                                          "vaultd.rekey",         "rpc_committed" };
    bool is_long = getenv("SOLO_LONG") != NULL;
    for (size_t i = 0; i < COUNT_OF(points); i++)
        for (int arrival = 1; arrival <= (is_long ? 20 : 5); arrival += is_long ? 1 : 2)
            torture(points[i], arrival);
}

static uint64_t count_listed(const struct testbed *bed, const char *tenant, int page_size)
{
    char after[600] = "";
    uint64_t count = 0;
    do {
        json_t *params = json_pack("{s:s, s:i}", "after", after, "limit", page_size);
        if (tenant != NULL)
            json_object_set_new(params, "tenant", json_string(tenant));
        json_t *page = testbed_ask(bed, "vaultd", "secret.list", params);
        count += json_array_size(json_object_get(page, "secrets"));
        const char *next = text_in(page, "next");
        snprintf(after, sizeof after, "%s", next == NULL ? "" : next);
        json_decref(page);
    } while (after[0] != '\0');
    return count;
}

static void expect_all(const struct testbed *bed, uint64_t count)
{
    json_t *reply = testbed_ask(bed, "vaultd", "vault.verify", NULL);
    expect_number(reply, "secrets", (json_int_t)count);
    expect_number(reply, "readable", (json_int_t)count);
    expect_number(reply, "damaged", 0);
    expect_number(reply, "damaged_tenants", 0);
    json_decref(reply);
    cr_assert_eq(count_listed(bed, NULL, 500), count);
}

Test(vault_deaths, many_secrets_are_all_there_after_them)
{
    enum { TENANTS = 50 };
    AUTO(testbed_close) struct testbed bed = { 0 };
    const uint64_t count = getenv("SOLO_LONG") != NULL ? 100000 : 4000;
    char value[SECRET_TEXT_BYTES], name[32];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    secret_fill(&bed, TENANTS, count);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    expect_all(&bed, count);
    struct problem problem = { 0 };
    cr_assert_eq(testbed_call(&bed, "vaultd", "vault.rotate", NULL, NULL, &problem), STATUS_OK);
    process_signal(testbed_daemon(&bed, "vaultd"), SIGKILL);
    cr_assert_eq(await_rotated(&bed), count);
    expect_all(&bed, count);
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    expect_all(&bed, count);
    snprintf(name, sizeof name, "s%llu", (unsigned long long)(count / TENANTS - 1));
    cr_assert_eq(secret_read_version(&bed, "t49", name, 0, value), STATUS_OK);
    cr_assert_eq(strncmp(value, SECRET_FILL_VALUE, sizeof SECRET_FILL_VALUE - 1), 0);
    static const char *const names[] = { "A", "DB_PASSWORD", "db.pass-1" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        cr_assert_eq(secret_put(&bed, "zz", names[i], "x"), STATUS_OK);
    cr_assert_eq(count_listed(&bed, "zz", 1), COUNT_OF(names), "a list goes on from any name");
}
