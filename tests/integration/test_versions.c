/* A store that another version of Solo wrote: it is whole, nothing of it is touched, and its daemon
 * stays and says which format it has. */
#include <stdio.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/db/create.h"
#include "tests/support/expect.h"
#include "tests/support/secrets.h"

TestSuite(versions, .timeout = 180);

static char *file_of(const struct testbed *bed, const struct db_schema *schema, char path[600])
{
    snprintf(path, 600, "%s/%s/data.mdb", bed->data, schema->name);
    return path;
}

static void store_make(const struct testbed *bed, const struct db_schema *schema, uint32_t format,
                       size_t table_count)
{
    struct db_schema other = *schema;
    char dir[600];
    other.format = format;
    other.table_count = table_count;
    snprintf(dir, sizeof dir, "%s/%s", bed->data, schema->name);
    cr_assert_eq(store_create_filled(&other, dir, (const uint8_t *)"0123456789abcdef", NULL, NULL),
                 STATUS_OK);
}

/* By its daemon's health, by whom it refuses, and by `soloctl status`. */
static void expect_said(struct testbed *bed, const struct db_schema *schema, const char *method,
                        uint32_t format)
{
    AUTO(result_close) struct result result = { 0 };
    struct problem problem = { 0 };
    char said[128], line[200];
    snprintf(said, sizeof said, "it has format %u, this version of Solo knows format %u", format,
             schema->format);
    enum status status = testbed_call(bed, schema->owner, method, json_object(), NULL, &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, NULL);
    cr_expect_not_null(strstr(problem.message, said), "%s", problem.message);
    json_t *health = testbed_ask(bed, schema->owner, "daemon.health", NULL);
    expect_text(health, "state", "damaged");
    cr_expect_not_null(strstr(json_string_value(json_object_get(health, "reason")), said));
    json_decref(health);
    testbed_soloctl(bed, &result, "status", "--check", NULL);
    expect_exit(&result, 3);
    snprintf(line, sizeof line, "!          %s: its store is not for this program: %s",
             schema->owner, said);
    expect_contains(result_out(&result), line);
    expect_lacks(result_out(&result), "backoff");
}

Test(versions, tokens_and_secrets_of_another_version_are_told_and_left_alone)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(buffer_close) struct buffer before = { .limit = 64 << 20 }, after = { .limit = 64 << 20 };
    AUTO(result_close) struct result result = { 0 };
    char path[600];
    testbed_open(&bed, 0);
    store_make(&bed, &tokens_schema, tokens_schema.format - 1, tokens_schema.table_count - 1);
    store_make(&bed, &vault_schema, vault_schema.format + 1, vault_schema.table_count);
    cr_assert_eq(file_read(file_of(&bed, &tokens_schema, path), &before), STATUS_OK);
    testbed_start(&bed);
    expect_said(&bed, &tokens_schema, "token.list", tokens_schema.format - 1);
    expect_said(&bed, &vault_schema, "secret.list", vault_schema.format + 1);
    testbed_soloctl(&bed, &result, "status", NULL);
    expect_contains(result_out(&result), "Vault      damaged");
    testbed_recoveryd(&bed, &result, "verify", "--detailed-exitcode", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result), "its store is of another version of Solo");
    service_deploy_sleeper(&bed, "acme", "plain"); /* what needs neither goes on */
    service_await(&bed, "acme", "plain", "running", 30000);
    cr_expect_eq(testbed_stop(&bed), 0);
    cr_assert_eq(file_read(path, &after), STATUS_OK);
    cr_expect(span_equal(buffer_span(&before), buffer_span(&after)));
}

Test(versions, a_log_of_another_version_is_told_and_left_alone)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    struct problem problem = { 0 };
    testbed_open(&bed, 0);
    store_make(&bed, &events_schema, events_schema.format + 1, events_schema.table_count);
    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, 60000));
    expect_said(&bed, &events_schema, "event.query", events_schema.format + 1);
    enum status status = service_try_deploy(
        &bed, service_spec(&bed, "acme", "new", "sleeper", NULL), NULL, &problem);
    expect_refused(status, STATUS_DATA_LOSS, &problem, NULL);
    cr_expect_not_null(strstr(problem.message, "knows format"), "%s", problem.message);
    testbed_recoveryd(&bed, &result, "--dry-run", NULL);
    expect_exit(&result, 6);
    expect_contains(result_err(&result), "knows format");
    cr_expect_eq(testbed_stop(&bed), 1, "the log cannot be closed");
}
