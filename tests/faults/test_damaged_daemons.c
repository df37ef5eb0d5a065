/* The real programs started on damaged stores: none of them hangs or is restarted over and over,
 * and whatever they answer is either refused as damaged, or what was written before. Where status
 * says that all is well, all of it is there. 9 mutations; with SOLO_LONG 700. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/faults/mutation.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"
#include "tests/support/secrets.h"

TestSuite(damaged_daemons, .timeout = 7200);

enum {
    MUTATIONS = 9,
    MUTATIONS_LONG = 700,
    STORE_BYTES_MAX = 64 << 20,
    SERVICES = 4,
    NOTES = 40,
    TOKENS = 4,
    SECRETS = 3,
    ROUNDS = 2, /* of filling: between them the older copies are taken */
    READY_MS = 60000,
    RESTARTS_MAX = 3,
    WALKED_MS = 20000,
};

struct store {
    const char *name;
    struct buffer file, earlier;
};

static struct testbed bed;
static char pristine[400];
static struct store stores[] = { { .name = "events" }, { .name = "tokens" }, { .name = "vault" } };
static json_t *events, *tokens; /* as they were before */
static size_t refusals, healthy, told;

/* --- before --- */

static void copy(const char *from, const char *to)
{
    AUTO(result_close) struct result result = { 0 };
    const char *const argv[] = { "/bin/cp", "-a", from, to, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &result);
    expect_exit(&result, 0);
}

static const char *secret_name(char name[32], int round, int number)
{
    snprintf(name, 32, "secret-%d-%d", round, number);
    return name;
}

static const char *service_name(char name[32], int round, int number)
{
    snprintf(name, 32, "service-%d-%d", round, number);
    return name;
}

static bool is_killed(int number)
{
    return number % 2 == 1;
}

/* Half of the services are killed again, a token of each round is revoked. */
static void fill(int round)
{
    char name[32];
    for (int i = 0; i < SERVICES; i++) {
        service_deploy_sleeper(&bed, "acme", service_name(name, round, i));
        if (is_killed(i))
            service_kill(&bed, "acme", name);
    }
    for (int i = 0; i < NOTES; i++)
        json_decref(
            testbed_ask(&bed, "eventd", "event.append",
                        json_pack("{s:s, s:{s:i}}", "type", "app.note", "payload", "number", i)));
    for (int i = 0; i < TOKENS; i++) {
        AUTO(result_close) struct result made = { 0 };
        testbed_soloctl(&bed, &made, "token", "create", "-t", "acme", "--permission", "read", "-o",
                        "json", NULL);
        expect_exit(&made, 0);
        json_t *item = result_json(&made);
        if (i == 0)
            json_decref(testbed_ask(&bed, "tokend", "token.revoke",
                                    json_pack("{s:s}", "accessor", text_in(item, "accessor"))));
        json_decref(item);
    }
    for (int i = 0; i < SECRETS; i++)
        cr_assert_eq(secret_put(&bed, "acme", secret_name(name, round, i), name), STATUS_OK);
    log_settled_id(&bed);
}

static void take(const struct store *store, struct buffer *file)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s/data.mdb", bed.data, store->name);
    *file = (struct buffer){ .limit = STORE_BYTES_MAX };
    cr_assert_eq(file_read(path, file), STATUS_OK);
}

static json_t *list_tokens(enum status *status)
{
    json_t *reply = NULL;
    *status =
        testbed_call(&bed, "tokend", "token.list", json_pack("{s:i}", "limit", 100), &reply, NULL);
    json_t *list = json_incref(json_object_get(reply, "tokens"));
    json_decref(reply);
    return list;
}

static void set_up(void)
{
    enum status status;
    testbed_open(&bed, 0);
    snprintf(pristine, sizeof pristine, "%s/pristine", bed.dir);
    for (int round = 0; round < ROUNDS; round++) {
        testbed_start(&bed);
        fill(round);
        cr_assert_eq(testbed_stop(&bed), 0);
        for (size_t i = 0; i < COUNT_OF(stores); i++)
            take(&stores[i], round == 0 ? &stores[i].earlier : &stores[i].file);
    }
    copy(bed.data, pristine);
    testbed_start(&bed);
    events = events_after(&bed, 0);
    tokens = list_tokens(&status);
    cr_assert_eq(status, STATUS_OK);
    cr_assert_eq(json_array_size(tokens), ROUNDS * (TOKENS - 1));
    cr_assert_eq(testbed_stop(&bed), 0);
    /* What this start has added is not in the copy. */
    while (json_array_size(events) > 0 &&
           strcmp(text_in(json_array_get(events, json_array_size(events) - 1), "type"),
                  "system_shutdown_complete") != 0)
        json_array_remove(events, json_array_size(events) - 1);
    cr_assert_gt(json_array_size(events), NOTES);
}

static void tear_down(void)
{
    for (size_t i = 0; i < COUNT_OF(stores); i++) {
        buffer_close(&stores[i].file);
        buffer_close(&stores[i].earlier);
    }
    json_decref(events);
    json_decref(tokens);
    testbed_discard(&bed);
}

/* --- judging --- */

struct verdict {
    const char *what; /* was done */
    bool is_forked, says_well;
    char status[8192];
};

/* `unknown` of who died of a page while it answered: it promises nothing. */
static bool is_refusal(enum status status)
{
    return status == STATUS_DATA_LOSS || status == STATUS_UNAVAILABLE ||
           status == STATUS_FAILED_PRECONDITION || status == STATUS_ABORTED ||
           status == STATUS_UNKNOWN;
}

/* Whether all is said to be well, also after the walk that each daemon begins soon after its start.
 */
static bool is_said_to_be_well(struct verdict *verdict)
{
    AUTO(result_close) struct result result = { 0 };
    for (int i = 0; i < WALKED_MS / 100 && verdict->says_well; i++) {
        testbed_soloctl(&bed, &result, "status", "--check", NULL);
        verdict->says_well = result.exit_code == 0;
        sleep_ms(100);
    }
    return verdict->says_well;
}

/* A refusal is the end of it; what is not there must have been told of. */
static bool may_lack(struct verdict *verdict, enum status status, const char *of)
{
    refusals += status != STATUS_OK;
    cr_assert(status == STATUS_OK || status == STATUS_NOT_FOUND || is_refusal(status), "%s: %s: %s",
              verdict->what, of, status_name(status));
    cr_assert(!(status == STATUS_NOT_FOUND && is_said_to_be_well(verdict)),
              "%s: %s is missing, and %s", verdict->what, of, verdict->status);
    return status != STATUS_OK;
}

static void judge_daemons(struct verdict *verdict)
{
    size_t i;
    json_t *item, *list = testbed_ask(&bed, "solod", "daemon.list", NULL);
    AUTO(result_close) struct result result = { 0 };
    json_array_foreach(json_object_get(list, "daemons"), i, item)
        cr_assert_leq(number_in(item, "restarts"), RESTARTS_MAX, "%s: %s was restarted %d times",
                      verdict->what, text_in(item, "name"), (int)number_in(item, "restarts"));
    json_decref(list);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    cr_assert(result.exit_code == 0 || result.exit_code == 3, "%s: status ends with %d: %s",
              verdict->what, result.exit_code, result_err(&result));
    verdict->says_well = result.exit_code == 0;
    verdict->is_forked = strstr(result_out(&result), "FORKED") != NULL;
    snprintf(verdict->status, sizeof verdict->status, "%s", result_out(&result));
    healthy += verdict->says_well;
    told += !verdict->says_well;
}

static void judge_events(struct verdict *verdict)
{
    uint64_t after = 0, last = json_array_size(events);
    while (after < last) {
        json_t *reply = NULL, *item;
        size_t i;
        enum status status = testbed_call(
            &bed, "eventd", "event.query",
            json_pack("{s:I, s:i}", "after", (json_int_t)after, "limit", 50), &reply, NULL);
        if (may_lack(verdict, status, "the log"))
            return;
        json_array_foreach(json_object_get(reply, "events"), i, item)
        {
            const json_t *wanted = json_array_get(events, number_in(item, "id") - 1);
            bool is_same = number_in(item, "id") > last || json_equal(item, wanted);
            char *text = is_same ? NULL : json_dumps(item, 0);
            cr_assert(is_same || verdict->is_forked, "%s: another event: %s", verdict->what, text);
            free(text);
        }
        bool is_at_end =
            json_array_size(json_object_get(reply, "events")) == 0 || number_in(reply, "next") == 0;
        uint64_t end = number_in(reply, "last_id");
        after += 50;
        json_decref(reply);
        cr_assert(!is_at_end || end >= last || !is_said_to_be_well(verdict),
                  "%s: the log ends at %lu, and %s", verdict->what, (unsigned long)end,
                  verdict->status);
        if (is_at_end)
            return;
    }
}

static void judge_tokens(struct verdict *verdict)
{
    size_t i;
    json_t *item;
    enum status status;
    json_t *list = list_tokens(&status);
    if (may_lack(verdict, status, "the list of tokens"))
        return;
    json_array_foreach(list, i, item)
    {
        size_t j = 0;
        while (j < json_array_size(tokens) && strcmp(text_in(json_array_get(tokens, j), "accessor"),
                                                     text_in(item, "accessor")) != 0)
            j++;
        cr_assert_lt(j, json_array_size(tokens), "%s: a token that was revoked, or never granted",
                     verdict->what);
        cr_assert(json_equal(json_object_get(item, "permissions"),
                             json_object_get(json_array_get(tokens, j), "permissions")) &&
                      number_in(item, "expires_ns") ==
                          number_in(json_array_get(tokens, j), "expires_ns"),
                  "%s: another token", verdict->what);
    }
    cr_assert(json_array_size(list) == json_array_size(tokens) || !is_said_to_be_well(verdict),
              "%s: %zu tokens, and %s", verdict->what, json_array_size(list), verdict->status);
    json_decref(list);
}

static void judge_secrets(struct verdict *verdict)
{
    char name[32], value[SECRET_TEXT_BYTES];
    for (int i = 0; i < ROUNDS * SECRETS; i++) {
        secret_name(name, i / SECRETS, i % SECRETS);
        enum status status = secret_read_version(&bed, "acme", name, 0, value);
        if (!may_lack(verdict, status, name))
            cr_assert_str_eq(value, name, "%s: another value", verdict->what);
    }
}

/* In whatever state the log is: what was killed does not run. And it does if all is well. */
static void judge_services(struct verdict *verdict)
{
    char name[32];
    for (int i = 0; i < ROUNDS * SERVICES; i++) {
        json_t *row = NULL;
        enum status status = testbed_call(&bed, "deployd", "service.describe",
                                          json_pack("{s:s, s:s}", "tenant", "acme", "name",
                                                    service_name(name, i / SERVICES, i % SERVICES)),
                                          &row, NULL);
        const char *state = text_in(json_object_get(row, "service"), "state");
        bool runs = status == STATUS_OK && state != NULL && strcmp(state, "running") == 0;
        cr_assert(!is_killed(i % SERVICES) || !runs, "%s: %s was killed, and runs", verdict->what,
                  name);
        cr_assert(is_killed(i % SERVICES) || runs || !is_said_to_be_well(verdict),
                  "%s: %s does not run, %s", verdict->what, name, verdict->status);
        json_decref(row);
    }
}

/* --- the campaign --- */

static void live_on(const char *what)
{
    struct verdict verdict = { .what = what };
    testbed_launch(&bed, NULL);
    if (!testbed_wait_ready(&bed, READY_MS)) {
        testbed_show_log(&bed);
        test_fail("%s: Solo neither gets ready nor says why not", what);
    }
    judge_daemons(&verdict);
    judge_events(&verdict);
    judge_tokens(&verdict);
    judge_secrets(&verdict);
    judge_services(&verdict);
    int code = testbed_stop(&bed);
    cr_assert(code == 0 || code == 1, "%s: solod ends with %d", what, code);
    testbed_kill_everything(&bed);
}

static void try_one(size_t number, struct random *random)
{
    AUTO(buffer_close) struct buffer file = { .limit = STORE_BYTES_MAX };
    char text[128], what[200], path[4200];
    struct store *store = &stores[number % COUNT_OF(stores)];
    enum mutation_kind kind = (enum mutation_kind)(random_below(random, MUTATION_KINDS));
    cr_assert_eq(directory_remove(bed.data), STATUS_OK);
    cr_assert_eq(directory_remove(bed.run), STATUS_OK);
    copy(pristine, bed.data);
    buffer_append(&file, store->file.data, store->file.size);
    mutate(&file, buffer_span(&store->earlier), kind, random, text);
    snprintf(what, sizeof what, "mutation %zu, %s of %s", number, text, store->name);
    snprintf(path, sizeof path, "%s/%s/data.mdb", bed.data, store->name);
    cr_assert_eq(file_write(path, buffer_span(&file), 0640), STATUS_OK);
    live_on(what);
}

Test(damaged_daemons, neither_hang_nor_loop_nor_say_what_is_not_so, .init = set_up,
     .fini = tear_down)
{
    size_t count = campaign_count(MUTATIONS, MUTATIONS_LONG);
    struct random random = { random_seed() };
    fprintf(stderr, "seed %lu (set SOLO_SEED to repeat)\n", (unsigned long)random.state);
    for (size_t i = 0; i < count; i++) {
        try_one(i, &random);
        if ((i + 1) % 100 == 0)
            fprintf(stderr, "%zu mutations\n", i + 1);
    }
    fprintf(stderr, "%zu starts: %zu well, %zu told what is wrong; %zu questions refused\n", count,
            healthy, told, refusals);
    cr_assert_gt(told, 0);
}

/* LMDB reads a page without looking at its own number; of a wrong one each writer aborts. */
Test(damaged_daemons, do_not_abort_of_a_page_with_the_number_of_another)
{
    enum { PAGE = 4096, ROOT_OF_MAIN = 128, TXNID = 144 };
    static const uint64_t another = 1;
    uint64_t txnids[2], root;
    char path[4200];
    AUTO(result_close) struct result made = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    testbed_soloctl(&bed, &made, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&made, 0);
    cr_assert_eq(testbed_stop(&bed), 0);
    snprintf(path, sizeof path, "%s/tokens/data.mdb", bed.data);
    AUTO(fd_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pread(fd, &txnids[i], 8, i * PAGE + TXNID), 8);
    cr_assert_eq(pread(fd, &root, 8, (txnids[0] < txnids[1] ? PAGE : 0) + ROOT_OF_MAIN), 8);
    cr_assert_eq(pwrite(fd, &another, 8, (off_t)root * PAGE), 8);
    testbed_start(&bed);
    testbed_soloctl(&bed, &made, "token", "create", "-t", "acme", "--permission", "read", NULL);
    expect_exit(&made, 86);
    struct verdict verdict = { .what = "a wrong number" };
    judge_daemons(&verdict);
    cr_assert_not(verdict.says_well);
    testbed_stop(&bed);
    testbed_discard(&bed);
}
