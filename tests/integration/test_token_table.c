/* Every method of every daemon against every kind of token, with `operator = token`. The methods
 * come from the .def tables: one that is added is asked here too, with parameters made from its
 * fields. The tokens are written into the store as tokend would, so that only checks are tested. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/access/store_voucher.h"
#include "common/access/token_text.h"
#include "common/api/api.h"
#include "common/api/records/schemas.h"
#include "common/api/records/token_clock.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/db/table.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(token_table, .timeout = 300);

/* A refusal comes; what is allowed may wait for something that never does. */
enum { PATIENCE_MS = 60000, ALLOWED_MS = 400 };

static struct testbed bed;
static struct db store;

/* -- the tokens -- */

static struct uuid write_token(const char *text, const char *tenant, uint32_t permissions,
                               uint64_t expires_ns)
{
    AUTO(buffer_close) struct buffer row = { .limit = TOKEN_RECORD_BYTES_MAX };
    struct token_record record = { .accessor = uuid_draw(),
                                   .permissions = permissions,
                                   .granted_ns = 1,
                                   .expires_ns = expires_ns };
    struct db_txn txn = { 0 };
    snprintf(record.tenant, sizeof record.tenant, "%s", tenant);
    struct hash hash = token_text_hash(span_of_text(text));
    struct span key = span_of(hash.bytes, sizeof hash.bytes),
                accessor = span_of(record.accessor.bytes, sizeof record.accessor.bytes);
    char by_tenant[NAME_BYTES_MAX + 1 + UUID_BYTES];
    size_t size = (size_t)snprintf(by_tenant, sizeof by_tenant, "%s", tenant) + 1;
    memcpy(by_tenant + size, accessor.data, accessor.size);
    cr_assert_eq(token_record_encode(&record, &row), STATUS_OK);
    cr_assert_eq(db_begin_write(&store, &txn), STATUS_OK);
    cr_assert_eq(table_put(&txn, TOKENS_TOKENS, key, buffer_span(&row)), STATUS_OK);
    cr_assert_eq(table_put(&txn, TOKENS_BY_ACCESSOR, accessor, key), STATUS_OK);
    cr_assert_eq(table_put(&txn, TOKENS_BY_TENANT, span_of(by_tenant, size + accessor.size), key),
                 STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
    return record.accessor;
}

static void open_store(void)
{
    char dir[512];
    struct db_txn txn = { 0 };
    struct token_time time;
    snprintf(dir, sizeof dir, "%s/tokens", bed.data);
    cr_assert(mkdir(bed.data, 0700) == 0 || access(bed.data, F_OK) == 0);
    cr_assert_eq(db_open_writer(&store, &tokens_schema, dir), STATUS_OK);
    cr_assert_eq(token_time_read(&time), STATUS_OK);
    struct token_anchor anchor = token_anchor_start(&(struct token_anchor){ 0 }, &time);
    cr_assert_eq(db_begin_write(&store, &txn), STATUS_OK);
    cr_assert_eq(token_anchor_write(&txn, &anchor), STATUS_OK);
    cr_assert_eq(db_commit(&txn), STATUS_OK);
}

static struct uuid reader;                              /* of acme, who may read */
static char single[PERMISSION_COUNT][TOKEN_TEXT_BYTES]; /* acme's, with one permission each */
static char foreign[TOKEN_TEXT_BYTES];                  /* beta's, with all but admin */
static char expired[TOKEN_TEXT_BYTES], revoked[TOKEN_TEXT_BYTES], unknown[TOKEN_TEXT_BYTES];

static void take_back(const struct uuid *accessor)
{
    char text[ACCESSOR_TEXT_BYTES];
    struct problem problem = { 0 };
    json_t *params = json_pack("{s:s, s:s}", "accessor", accessor_text(text, accessor), "token",
                               single[PERMISSION_ADMIN]);
    cr_assert_eq(testbed_call(&bed, "tokend", "token.revoke", params, NULL, &problem), STATUS_OK,
                 "%s", problem.message);
}

static void set_up(void)
{
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_OPERATOR", "token");
    open_store();
    for (int i = PERMISSION_ANY_TOKEN + 1; i < PERMISSION_COUNT; i++) {
        token_text_draw(single[i]);
        struct uuid accessor =
            write_token(single[i], "acme", permission_bit((enum permission)i), 0);
        if (i == PERMISSION_READ)
            reader = accessor;
    }
    token_text_draw(foreign);
    write_token(foreign, "beta", PERMISSION_BITS_ALL & ~permission_bit(PERMISSION_ADMIN), 0);
    token_text_draw(expired);
    write_token(expired, "acme", PERMISSION_BITS_ALL, 2);
    token_text_draw(unknown);
    token_text_draw(revoked);
    struct uuid accessor = write_token(revoked, "acme", PERMISSION_BITS_ALL, 0);
    db_close(&store);
    testbed_start(&bed);
    take_back(&accessor);
}

static void tear_down(void)
{
    testbed_close(&bed);
}

/* -- asking -- */

static json_t *sample_of(const struct field *field)
{
    char zeros[4 + 64 + 1] = "hex:";
    switch (field->kind) {
    case FIELD_bool:
        return json_false();
    case FIELD_u64:
    case FIELD_i64:
        return json_integer(1);
    case FIELD_str:
        return json_string("x");
    case FIELD_name:
        return json_string(strcmp(field->name, "tenant") == 0 ? "acme" : "nothing");
    case FIELD_secret:
        return json_string("nothing");
    case FIELD_bytes:
        return json_string("hex:00");
    case FIELD_hash:
        memset(zeros + 4, '0', 64);
        return json_string(zeros);
    case FIELD_str_list:
        return json_pack("[s]", "read");
    case FIELD_map:
        return json_object();
    case FIELD_list:
        return json_array();
    }
    return NULL;
}

static bool has_field(const struct method *method, const char *name)
{
    for (size_t i = 0; i < method->request->count; i++)
        if (strcmp(method->request->fields[i].name, name) == 0)
            return true;
    return false;
}

/* What must be there, and the tenant. */
static json_t *params_of(const struct method *method, const char *token)
{
    json_t *params = json_object();
    for (size_t i = 0; i < method->request->count; i++) {
        const struct field *field = &method->request->fields[i];
        if (field->is_required || strcmp(field->name, "tenant") == 0)
            json_object_set_new(params, field->name, sample_of(field));
    }
    if (token != NULL)
        json_object_set_new(params, "token", json_string(token));
    return params;
}

static enum status ask_for(const char *daemon, const char *method, json_t *params, int timeout_ms,
                           json_t **result, struct problem *problem)
{
    char path[4096];
    struct caller caller;
    *problem = (struct problem){ 0 };
    if (strcmp(daemon, "tenantd") == 0)
        snprintf(path, sizeof path, "%s/internal/tenants/acme.sock", bed.run);
    else
        testbed_socket(&bed, daemon, path);
    cr_assert_eq(caller_open(&caller, path), STATUS_OK, "%s", path);
    enum status status = caller_call(&caller, method, params, timeout_ms, result, problem);
    caller_close(&caller);
    json_decref(params);
    return status;
}

static enum status ask(const char *daemon, const char *method, json_t *params, json_t **result,
                       struct problem *problem)
{
    return ask_for(daemon, method, params, PATIENCE_MS, result, problem);
}

static bool is_refused(enum status status, const struct problem *problem)
{
    bool is_of_token = strcmp(problem->field, "token") == 0 || problem->field[0] == '\0';
    return (status == STATUS_UNAUTHENTICATED || status == STATUS_PERMISSION_DENIED) && is_of_token;
}

/* Once they are allowed, these end what the test asks, or the token that it asks with. */
static bool is_run(const struct method *method)
{
    return strcmp(method->name, "system.drain") != 0 && strcmp(method->name, "token.revoke") != 0;
}

static void expect_one_answer(const char *daemon, const struct method *method, const char *token,
                              const char *what)
{
    static char first[512];
    struct problem problem;
    enum status status = ask(daemon, method->name, params_of(method, token), NULL, &problem);
    cr_assert_eq(status, STATUS_UNAUTHENTICATED, "%s with %s: %s", method->name, what,
                 status_name(status));
    cr_assert_str_eq(problem.field, "token", "%s with %s", method->name, what);
    if (first[0] == '\0')
        snprintf(first, sizeof first, "%s", problem.message);
    cr_assert_str_eq(problem.message, first, "%s with %s", method->name, what);
}

static void expect_refusal(const char *daemon, const struct method *method, const char *token,
                           enum status wanted, const char *what)
{
    struct problem problem;
    enum status status = ask(daemon, method->name, params_of(method, token), NULL, &problem);
    cr_assert_eq(status, wanted, "%s with %s: %s %s", method->name, what, status_name(status),
                 problem.message);
}

static void expect_allowed(const char *daemon, const struct method *method, const char *token,
                           const char *what)
{
    struct problem problem;
    enum status status =
        ask_for(daemon, method->name, params_of(method, token), ALLOWED_MS, NULL, &problem);
    cr_assert_not(is_refused(status, &problem), "%s with %s: %s %s", method->name, what,
                  status_name(status), problem.message);
}

/* A token that has one permission, but not this one. */
static const char *without(enum permission permission)
{
    return single[permission == PERMISSION_EVENTS_WRITE ? PERMISSION_SECRETS_READ
                                                        : PERMISSION_EVENTS_WRITE];
}

/* Another tenant's token: methods that name the tenant are asked here, the others by
 * one_tenant_sees_nothing_of_another; token.check is about the token that is sent. */
static void check_tenant(const char *daemon, const struct method *method)
{
    static const char *const elsewhere[] = { "service.deploy",     "service.validate",
                                             "event.append_batch", "token.attenuate",
                                             "token.renew",        "token.revoke",
                                             "token.describe",     "tenant.list",
                                             "token.check" };
    if (has_field(method, "tenant")) {
        expect_one_answer(daemon, method, foreign, "another tenant's token");
        return;
    }
    bool is_known = false;
    for (size_t i = 0; i < COUNT_OF(elsewhere); i++)
        is_known = is_known || strcmp(method->name, elsewhere[i]) == 0;
    cr_assert(is_known, "what can another tenant's token do with %s?", method->name);
}

static void check_method(const char *daemon, const struct method *method)
{
    enum permission permission = method->permission;
    bool is_granted = permission > PERMISSION_ANY_TOKEN;
    const char *admin = single[PERMISSION_ADMIN];
    expect_one_answer(daemon, method, "", "an empty token");
    expect_one_answer(daemon, method, "solo_garbage", "garbage");
    expect_one_answer(daemon, method, unknown, "an unknown token");
    expect_one_answer(daemon, method, expired, "an expired token");
    expect_one_answer(daemon, method, revoked, "a revoked token");
    if (permission == PERMISSION_DAEMON) {
        expect_refusal(daemon, method, NULL, STATUS_PERMISSION_DENIED, "no token");
        expect_refusal(daemon, method, admin, STATUS_PERMISSION_DENIED, "an admin's token");
        return;
    }
    if (permission == PERMISSION_EVERYBODY)
        expect_allowed(daemon, method, NULL, "no token");
    else
        expect_refusal(daemon, method, NULL, STATUS_UNAUTHENTICATED, "no token");
    if (is_granted || permission == PERMISSION_OPERATOR)
        expect_refusal(daemon, method, without(permission), STATUS_PERMISSION_DENIED,
                       "a token without the permission");
    if ((is_granted || permission == PERMISSION_ANY_TOKEN) && permission != PERMISSION_ADMIN)
        check_tenant(daemon, method);
    if (!is_run(method))
        return;
    expect_allowed(daemon, method, is_granted ? single[permission] : admin, "the right token");
    expect_allowed(daemon, method, admin, "an admin's token");
}

Test(token_table, every_method_decides_by_the_token_that_is_sent, .init = set_up, .fini = tear_down)
{
    size_t checked = 0;
    for (size_t i = 0; all_methods[i] != NULL; i++) {
        const char *daemon = all_method_daemons[i];
        /* those with a store come first */
        static const char *const common[] = { "eventd", "tokend", "vaultd", "deployd", "solod" };
        if (strcmp(daemon, "tenantd") == 0) /* no socket for tenants; see the next test */
            continue;
        bool is_of_stores = strcmp(daemon, "store") == 0;
        bool is_common = strcmp(daemon, "daemon") == 0 || is_of_stores;
        for (size_t k = 0; k < (is_of_stores ? 3
                                : is_common  ? COUNT_OF(common)
                                             : 1);
             k++, checked++)
            check_method(is_common ? common[k] : daemon, all_methods[i]);
    }
    cr_assert_gt(checked, 80);
}

/* -- what no table can know -- */

static json_t *spec_of(const char *tenant)
{
    return service_spec(&bed, tenant, "api", "sleeper", NULL);
}

static enum status deploy(const char *token, const char *tenant, struct problem *problem)
{
    return ask("deployd", "service.deploy",
               json_pack("{s:o, s:s}", "spec", spec_of(tenant), "token", token), NULL, problem);
}

Test(token_table, one_tenant_sees_nothing_of_another, .init = set_up, .fini = tear_down)
{
    struct problem problem;
    json_t *reply = NULL;
    cr_assert_eq(deploy(foreign, "acme", &problem), STATUS_UNAUTHENTICATED);
    cr_assert_eq(ask("deployd", "service.validate",
                     json_pack("{s:o, s:s}", "spec", spec_of("acme"), "token", foreign), NULL,
                     &problem),
                 STATUS_UNAUTHENTICATED);
    enum status status = deploy(single[PERMISSION_DEPLOY], "acme", &problem);
    cr_assert_eq(status, STATUS_OK, "%s", problem.message);

    /* a supervisor takes no token at all, whoever shows it */
    for (size_t i = 0; all_methods[i] != NULL; i++)
        if (strcmp(all_method_daemons[i], "tenantd") == 0)
            expect_one_answer("tenantd", all_methods[i], single[PERMISSION_ADMIN], "any token");

    static const struct {
        const char *daemon, *method, *list;
    } lists[] = {
        { "deployd", "service.list", "services" },
        { "deployd", "tenant.list", "tenants" },
        { "eventd", "event.query", "events" },
    };
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        cr_assert_eq(ask(lists[i].daemon, lists[i].method, json_pack("{s:s}", "token", foreign),
                         &reply, &problem),
                     STATUS_OK, "%s: %s", lists[i].method, problem.message);
        cr_assert_eq(json_array_size(json_object_get(reply, lists[i].list)), 0, "%s shows others",
                     lists[i].method);
        cr_assert_eq(json_integer_value(json_object_get(reply, "last_id")), 0,
                     "how much others append");
        json_decref(reply);
        cr_assert_eq(ask(lists[i].daemon, lists[i].method,
                         json_pack("{s:s}", "token", single[PERMISSION_READ]), &reply, &problem),
                     STATUS_OK);
        cr_assert_gt(json_array_size(json_object_get(reply, lists[i].list)), 0, "%s hides its own",
                     lists[i].method);
        json_decref(reply);
    }
    static const char *const by_accessor[][2] = {
        { "token.describe", "accessor" },
        { "token.revoke", "accessor" },
        { "token.renew", "accessor" },
        { "token.attenuate", "parent" },
    };
    for (size_t i = 0; i < COUNT_OF(by_accessor); i++) {
        char accessor[ACCESSOR_TEXT_BYTES], hash[4 + 64 + 1] = "hex:";
        json_t *params = json_pack("{s:s, s:s}", "token", foreign, by_accessor[i][1],
                                   accessor_text(accessor, &reader));
        memset(hash + 4, '7', 64);
        if (strcmp(by_accessor[i][0], "token.attenuate") == 0)
            json_object_set_new(params, "token_hash", json_string(hash));
        cr_assert_eq(ask("tokend", by_accessor[i][0], params, NULL, &problem), STATUS_NOT_FOUND,
                     "%s: %s", by_accessor[i][0], problem.message);
    }
    cr_assert_eq(ask("eventd", "event.append_batch",
                     json_pack("{s:s, s:[{s:s}, {s:s, s:s}]}", "token", foreign, "events", "type",
                               "app.x", "type", "app.x", "tenant", "acme"),
                     NULL, &problem),
                 STATUS_UNAUTHENTICATED);
    cr_assert_eq(ask("eventd", "event.append",
                     json_pack("{s:s, s:s}", "token", foreign, "type", "app.x"), NULL, &problem),
                 STATUS_OK, "%s", problem.message);
    cr_assert_eq(
        ask("eventd", "event.query", json_pack("{s:s}", "token", foreign), &reply, &problem),
        STATUS_OK);
    cr_assert_eq(json_array_size(json_object_get(reply, "events")), 1);
    json_decref(reply);
}

/* What eventd says to a watch as it stops. */
static void watch_until_eventd_stops(const char *token, char said[512])
{
    char path[4096];
    struct caller watcher;
    AUTO(buffer_close) struct buffer frame = { .limit = 4096 };
    cr_assert_eq(caller_open(&watcher, testbed_socket(&bed, "eventd", path)), STATUS_OK);
    json_t *params = json_pack("{s:s, s:b}", "token", token, "from_end", 1);
    caller_pack(&frame, 1, "event.watch", params);
    caller_pack(&frame, 2, "daemon.health", NULL);
    json_decref(params);
    cr_assert(caller_send(&watcher, buffer_span(&frame)));
    json_decref(caller_receive(&watcher, PATIENCE_MS, NULL)); /* it watches */
    pid_t eventd = testbed_daemon(&bed, "eventd");
    cr_assert_gt(eventd, 0);
    process_signal(eventd, SIGTERM);
    json_t *answer = caller_receive(&watcher, PATIENCE_MS, NULL);
    const char *message = text_in(json_array_get(answer, 2), "message");
    snprintf(said, 512, "%s", message == NULL ? "" : message);
    json_decref(answer);
    caller_close(&watcher);
}

Test(token_table, a_tenant_does_not_learn_where_the_log_ends, .init = set_up, .fini = tear_down)
{
    struct problem problem;
    char said[512];
    /* the log has events of Solo, and none of this tenant */
    watch_until_eventd_stops(foreign, said);
    expect_contains(said, "resume after 0");
    watch_until_eventd_stops(single[PERMISSION_ADMIN], said);
    cr_expect_null(strstr(said, "resume after 0"), "%s", said);
    for (int after = 1; after < 1000; after *= 10) {
        enum status status = STATUS_UNKNOWN; /* of an eventd that ended over it */
        for (int i = 0; i < 50 && status == STATUS_UNKNOWN; i++)
            status = ask("eventd", "event.watch",
                         json_pack("{s:s, s:i}", "token", foreign, "after", after), NULL, &problem);
        cr_expect_eq(status, STATUS_FAILED_PRECONDITION, "after %d: %s", after,
                     status_name(status));
    }
}

/* -1: not told. */
static long checked_as(const char *token)
{
    json_t *params = token == NULL ? json_object() : json_pack("{s:s}", "token", token);
    json_t *reply = testbed_ask(&bed, "solod", "daemon.list", params);
    json_t *checked = json_object_get(json_object_get(reply, "verification"), "checked");
    long count = checked == NULL ? -1 : (long)json_integer_value(checked);
    json_decref(reply);
    return count;
}

Test(token_table, nobody_else_is_told_how_much_there_is_of_all_tenants, .init = set_up,
     .fini = tear_down)
{
    json_decref(testbed_ask(&bed, "solod", "system.verified",
                            json_pack("{s:i, s:i, s:s}", "exit_code", 0, "checked", 3, "token",
                                      single[PERMISSION_ADMIN])));
    cr_assert_eq(checked_as(single[PERMISSION_ADMIN]), 3);
    cr_assert_eq(checked_as(foreign), -1);
    cr_assert_eq(checked_as(NULL), -1);
    /* These hold the number of the last commit. */
    static const char *const pages[] = { TOKENS_VOUCHER, VAULT_VOUCHER };
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        char path[4096];
        struct stat status;
        cr_assert_eq(path_join(path, bed.run, pages[i]), STATUS_OK);
        cr_assert_eq(stat(path, &status), 0, "%s", path);
        cr_assert_eq(status.st_mode & S_IRWXO, 0, "%s is for everybody", pages[i]);
    }
}

Test(token_table, soloctl_and_recoveryd_act_with_a_token, .init = set_up, .fini = tear_down)
{
    AUTO(result_close) struct result result = { 0 };
    char file[512], input[TOKEN_TEXT_BYTES + 1];
    snprintf(file, sizeof file, "%s/token", bed.dir);
    FILE *out = fopen(file, "w");
    fprintf(out, "%s\n", single[PERMISSION_ADMIN]);
    fclose(out);
    chmod(file, 0644);
    chown(file, bed.uid, bed.uid);
    testbed_soloctl(&bed, &result, "get", "services", NULL);
    expect_exit(&result, 5);
    testbed_soloctl(&bed, &result, "--token-file", file, "get", "services", NULL);
    expect_exit(&result, 5);
    expect_contains(result_err(&result), "chmod 600");
    chmod(file, 0600);
    testbed_soloctl(&bed, &result, "--token-file", file, "get", "services", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "--token-file", file, "daemon", "restart", "eventd", NULL);
    expect_exit(&result, 0);
    testbed_soloctl(&bed, &result, "--token-file", file, "status", NULL);
    expect_exit(&result, 0);

    snprintf(input, sizeof input, "%s\n", single[PERMISSION_READ]);
    testbed_soloctl_input(&bed, &result, input, "token", "verify", "--permission", "read", NULL);
    expect_exit(&result, 0);
    testbed_soloctl_input(&bed, &result, input, "token", "verify", "--permission", "kill", NULL);
    expect_exit(&result, 5);
    snprintf(input, sizeof input, "%s\n", expired);
    testbed_soloctl_input(&bed, &result, input, "token", "verify", "--permission", "read", NULL);
    expect_exit(&result, 5);

    testbed_recoveryd(&bed, &result, NULL);
    expect_exit(&result, 5);
    testbed_set(&bed, "SOLO_TOKEN_FILE", file);
    testbed_recoveryd(&bed, &result, NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "9 valid, 1 expired");
    /* Of another token's tenant alone it would be told: the others' would be missing. */
    FILE *narrow = fopen(file, "w");
    fprintf(narrow, "%s\n", single[PERMISSION_READ]);
    fclose(narrow);
    testbed_recoveryd(&bed, &result, "--dry-run", NULL);
    expect_exit(&result, 5);
    expect_contains(result_err(&result), "no admin's");
    testbed_kill_everything(&bed);
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *plan = result_json(&result);
    expect_number(json_object_get(plan, "tokens"), "valid", 9);
    json_decref(plan);
    cr_assert_eq(testbed_log_count(&bed, single[PERMISSION_ADMIN]), 0, "a token was logged");
}
