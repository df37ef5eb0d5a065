/* Damaged stores, one mutation after the other, against what stood in them. Whatever is done to a
 * file: either it is refused with a code of the table, or every row that is believed is one that
 * was written, and none of what has a digest is missing. A log that is refused is salvaged: what
 * comes of it is the beginning of the log as it was, and nothing that was killed is wanted again
 * without being told. 300 mutations; with SOLO_LONG 20,000. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/faults/mutation.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(corruption, .timeout = 7200);

enum {
    MUTATIONS = 300,
    MUTATIONS_LONG = 20000,
    STORE_BYTES_MAX = 64 << 20,
    LINES_BYTES_MAX = 16 << 20,
    SERVICES = 8,
    TOKENS = 24,
    SECRETS = 12,
    NOTES = 150,
    RECOVERY_EVERY = 5, /* of the log's: recoveryd is asked, too */
};

/* What has a digest or a chain: rows that are missing or of yesterday are noticed. Elsewhere a row
 * of yesterday passes for today's where a page of yesterday does; the vault's are proved with its
 * key, by vaultd. */
static const struct {
    const char *store, *table;
} proved[] = {
    { "events", "events" },   { "events", "live" },      { "events", "tenants" },
    { "tokens", "tokens" },   { "tokens", "by_tenant" }, { "tokens", "by_accessor" },
    { "tokens", "children" }, { "tokens", "revoked" },
};

struct store {
    const char *name;
    struct buffer file, earlier;
    struct buffer rows; /* as store_reader prints them */
};

static struct testbed bed;
static char scratch[400], reader[4200];
static struct store stores[] = { { .name = "events" }, { .name = "tokens" }, { .name = "vault" } };
static struct buffer ledger = { .limit = LINES_BYTES_MAX }; /* recoveryd log -o jsonl */
enum outcome { BELIEVED, REFUSED, OLDER, OUTCOMES };
static unsigned outcomes[OUTCOMES];

/* --- the stores --- */

static void run(const char *const *argv)
{
    AUTO(result_close) struct result result = { 0 };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                &result);
    expect_exit(&result, 0);
}

static void read_store(const struct store *store, const char *data, struct result *result)
{
    char dir[4200];
    snprintf(dir, sizeof dir, "%s/%s", data, store->name);
    const char *const argv[] = { reader, store->name, dir, NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                result);
}

static void take(struct store *store, const char *data, struct buffer *file, struct buffer *rows)
{
    AUTO(result_close) struct result result = { 0 };
    char path[4200];
    snprintf(path, sizeof path, "%s/%s/data.mdb", data, store->name);
    *file = (struct buffer){ .limit = STORE_BYTES_MAX };
    buffer_close(rows);
    *rows = (struct buffer){ .limit = LINES_BYTES_MAX };
    cr_assert_eq(file_read(path, file), STATUS_OK);
    read_store(store, data, &result);
    expect_exit(&result, 0);
    expect_lacks(result_out(&result), "damaged");
    buffer_append_text(rows, "\n");
    buffer_append_text(rows, result_out(&result));
    buffer_append(rows, "", 1);
}

static void fill(int round)
{
    for (int i = 0; i < SERVICES; i++) {
        char name[32];
        snprintf(name, sizeof name, "service-%d-%d", round, i);
        service_deploy_sleeper(&bed, i % 2 == 0 ? "acme" : "beta", name);
        if (i % 3 == 0)
            service_kill(&bed, i % 2 == 0 ? "acme" : "beta", name);
    }
    for (int i = 0; i < NOTES; i++)
        json_decref(
            testbed_ask(&bed, "eventd", "event.append",
                        json_pack("{s:s, s:{s:i}}", "type", "app.note", "payload", "number", i)));
    for (int i = 0; i < TOKENS / 2; i++) {
        AUTO(result_close) struct result result = { 0 };
        testbed_soloctl(&bed, &result, "token", "create", "-t", i % 2 == 0 ? "acme" : "beta",
                        "--permission", "read", NULL);
        expect_exit(&result, 0);
    }
    for (int i = 0; i < SECRETS / 2; i++) {
        AUTO(result_close) struct result result = { 0 };
        char name[32];
        snprintf(name, sizeof name, "acme/secret-%d-%d", round, i);
        testbed_soloctl_input(&bed, &result, "very secret", "secret", "set", name, NULL);
        expect_exit(&result, 0);
    }
    log_settled_id(&bed);
}

static void set_up(void)
{
    AUTO(result_close) struct result log = { 0 };
    testbed_open(&bed, 0);
    snprintf(scratch, sizeof scratch, "%s/scratch", bed.dir);
    snprintf(reader, sizeof reader, "%s/store_reader", SOLO_TEST_PROGRAM_DIR);
    for (int round = 0; round < 2; round++) {
        testbed_start(&bed);
        fill(round);
        cr_assert_eq(testbed_stop(&bed), 0);
        for (size_t i = 0; i < COUNT_OF(stores); i++)
            take(&stores[i], bed.data, round == 0 ? &stores[i].earlier : &stores[i].file,
                 &stores[i].rows);
    }
    testbed_recoveryd(&bed, &log, "log", "-o", "jsonl", NULL);
    expect_exit(&log, 0);
    buffer_append_text(&ledger, result_out(&log));
    buffer_append(&ledger, "", 1);
    run((const char *const[]){ "/bin/cp", "-a", bed.data, scratch, NULL });
}

static void tear_down(void)
{
    for (size_t i = 0; i < COUNT_OF(stores); i++) {
        buffer_close(&stores[i].file);
        buffer_close(&stores[i].earlier);
        buffer_close(&stores[i].rows);
    }
    buffer_close(&ledger);
    testbed_close(&bed);
}

/* --- judging what is believed --- */

static bool has_line(const struct buffer *rows, const char *line, size_t size)
{
    char wanted[256];
    cr_assert_lt(size + 3, sizeof wanted);
    snprintf(wanted, sizeof wanted, "\n%.*s\n", (int)size, line);
    return strstr((const char *)rows->data, wanted) != NULL;
}

static size_t count_lines(const char *rows, const char *table)
{
    char wanted[64];
    size_t count = 0, size = (size_t)snprintf(wanted, sizeof wanted, "\n%s ", table);
    for (const char *at = rows; (at = strstr(at, wanted)) != NULL; at += size - 1)
        count++;
    return count;
}

static bool is_proved(const struct store *store, const char *line)
{
    for (size_t i = 0; i < COUNT_OF(proved); i++)
        if (strcmp(store->name, proved[i].store) == 0 &&
            strncmp(line, proved[i].table, strlen(proved[i].table)) == 0 &&
            line[strlen(proved[i].table)] == ' ')
            return true;
    return false;
}

static bool is_documented(int exit_code)
{
    static const int codes[] = { 0, 6, 8, 86, 87 };
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        if (codes[i] == exit_code)
            return true;
    /* What a damaged file does to LMDB: the daemon's probe is a child, for which this is damage. */
    return exit_code > 128 && exit_code != 128 + 9;
}

/* May bring pages back that were left, with rows that were true once: also a bit of a number of a
 * page, or of a meta page. */
static bool brings_back(enum mutation_kind kind)
{
    return kind != MUTATION_ZERO_PAGE && kind != MUTATION_CUT;
}

/* --- what recoveryd makes of a log --- */

static void recoveryd(struct result *result, const char *command, const char *flag,
                      const char *more)
{
    char program[4200], empty[500];
    snprintf(program, sizeof program, "%s/recoveryd", bed.bin);
    snprintf(empty, sizeof empty, "%s/no-run", bed.dir);
    const char *const argv[] = { program, "--data", scratch, "--run", empty,
                                 command, flag,     more,    NULL };
    command_run(&(struct command){ .argv = argv, .environment = testbed_environment(&bed) },
                result);
}

/* Whether all that is believed is true and complete; a wrong row ends the test. */
static bool is_all_there(const struct store *store, const struct result *result,
                         enum mutation_kind kind, const char *what)
{
    AUTO(buffer_close) struct buffer out = { .limit = LINES_BYTES_MAX };
    bool is_all = true;
    buffer_append_text(&out, "\n");
    buffer_append_text(&out, result_out(result));
    buffer_append(&out, "", 1);
    for (const char *line = (const char *)out.data + 1, *end; (end = strchr(line, '\n')) != NULL;
         line = end + 1) {
        size_t size = (size_t)(end - line);
        if (strncmp(line, "damaged ", 8) == 0 || has_line(&store->rows, line, size))
            continue;
        is_all = is_all && !is_proved(store, line);
        cr_assert(is_proved(store, line) || brings_back(kind), "%s of %s: a wrong row: %.*s", what,
                  store->name, (int)size, line);
    }
    for (size_t i = 0; i < COUNT_OF(proved); i++) {
        char damaged[64];
        snprintf(damaged, sizeof damaged, "\ndamaged %s\n", proved[i].table);
        if (strcmp(store->name, proved[i].store) != 0 ||
            strstr((const char *)out.data, damaged) != NULL)
            continue;
        is_all = is_all && count_lines((const char *)out.data, proved[i].table) ==
                               count_lines((const char *)store->rows.data, proved[i].table);
    }
    return is_all;
}

/* A root of yesterday is yesterday's store, whole: others know better. Of tokens it is tokend that
 * compares them with the log (test_older_tokens). */
static void judge(const struct store *store, const struct result *result, enum mutation_kind kind,
                  const char *what)
{
    AUTO(result_close) struct result dry = { 0 };
    cr_assert(is_documented(result->exit_code), "%s of %s: exit code %d: %s", what, store->name,
              result->exit_code, result_err(result));
    outcomes[result->exit_code == 0 ? BELIEVED : REFUSED]++;
    if (result->exit_code != 0 || is_all_there(store, result, kind, what))
        return;
    outcomes[OLDER]++;
    if (store != &stores[0])
        return;
    recoveryd(&dry, "--dry-run", "--detailed-exitcode", NULL);
    cr_assert(dry.exit_code == 86 ||
                  (dry.exit_code == 3 && strstr(result_out(&dry), "FORKED") != NULL),
              "%s of %s: rows are missing or of yesterday, and nothing says so (exit code %d): %s",
              what, store->name, dry.exit_code, result_out(&dry));
}

static void expect_beginning_of_the_log(const char *what)
{
    AUTO(result_close) struct result log = { 0 };
    recoveryd(&log, "log", "-o", "jsonl");
    expect_exit(&log, 0);
    size_t size = strlen(result_out(&log));
    cr_assert_gt(size, 0);
    cr_assert_eq(memcmp(result_out(&log), ledger.data, size), 0, "%s: another log", what);
}

/* A service that was killed is not among what is started unless all of the log is there. */
static void expect_nothing_comes_back(const char *what)
{
    AUTO(result_close) struct result dry = { 0 };
    size_t i;
    json_t *action;
    recoveryd(&dry, "--dry-run", "-o", "json");
    expect_exit(&dry, 0);
    json_t *plan = result_json(&dry);
    json_array_foreach(json_object_get(plan, "actions"), i, action)
    {
        int round, number;
        const char *name = text_in(action, "service");
        cr_assert_eq(sscanf(name, "service-%d-%d", &round, &number), 2);
        cr_assert(number % 3 != 0 || strcmp(text_in(action, "action"), "start") != 0,
                  "%s: %s was killed", what, name);
    }
    json_decref(plan);
}

/* What a salvage left, and its log's anchor in the place of the one that knows the next mutation's
 * log. */
static void salvage_undo(void)
{
    char command[1600];
    snprintf(command, sizeof command,
             "rm -rf %s/quarantine-* %s/events.salvaging && cp -a %s/events.anchor %s/", scratch,
             scratch, bed.data, scratch);
    run((const char *const[]){ "/bin/sh", "-c", command, NULL });
}

static void ask_recoveryd(const char *what, bool is_believed)
{
    AUTO(result_close) struct result verified = { 0 }, salvaged = { 0 };
    recoveryd(&verified, "verify", "--full", "--detailed-exitcode");
    int code = verified.exit_code;
    cr_assert(code == 0 || code == 2 || code == 3 || code == 6 || code == 86 || code == 87,
              "%s: verify ends with %d: %s", what, code, result_err(&verified));
    cr_assert(is_believed || code != 0, "%s: verify finds nothing", what);
    if (is_believed)
        return;
    recoveryd(&salvaged, "salvage", "-o", "json");
    cr_assert(salvaged.exit_code == 0 || salvaged.exit_code == 86, "%s: salvage ends with %d: %s",
              what, salvaged.exit_code, result_err(&salvaged));
    if (salvaged.exit_code == 0) {
        expect_beginning_of_the_log(what);
        expect_nothing_comes_back(what);
    }
    salvage_undo();
}

/* --- the campaign --- */

static void put(const char *name, const char *file, struct span bytes)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    cr_assert_eq(directory_make(path, 0700), STATUS_OK);
    snprintf(path, sizeof path, "%s/%s/%s", scratch, name, file);
    cr_assert_eq(file_write(path, bytes, 0600), STATUS_OK);
}

static void try_one(size_t number, struct random *random)
{
    AUTO(buffer_close) struct buffer file = { .limit = STORE_BYTES_MAX };
    AUTO(result_close) struct result result = { 0 };
    char what[128];
    struct store *store = &stores[number % 2 == 0 ? 0 : 1 + number / 2 % 2];
    enum mutation_kind kind = (enum mutation_kind)(random_below(random, MUTATION_KINDS));
    buffer_append(&file, store->file.data, store->file.size);
    mutate(&file, buffer_span(&store->earlier), kind, random, what);
    put(store->name, "data.mdb", buffer_span(&file));
    read_store(store, scratch, &result);
    judge(store, &result, kind, what);
    if (store == &stores[0] && number / 2 % RECOVERY_EVERY == 0) {
        bool is_believed = result.exit_code == 0 && strstr(result_out(&result), "damaged ") == NULL;
        ask_recoveryd(what, is_believed);
    }
    put(store->name, "data.mdb", buffer_span(&store->file));
}

Test(corruption, no_mutation_makes_a_wrong_value, .init = set_up, .fini = tear_down)
{
    size_t count = campaign_count(MUTATIONS, MUTATIONS_LONG);
    struct random random = { random_seed() };
    fprintf(stderr, "seed %lu (set SOLO_SEED to repeat)\n", (unsigned long)random.state);
    for (size_t i = 0; i < count; i++) {
        try_one(i, &random);
        if ((i + 1) % 1000 == 0)
            fprintf(stderr, "%zu mutations\n", i + 1);
    }
    fprintf(stderr, "%zu mutations: %u believed (%u of them are older, whole), %u refused\n", count,
            outcomes[BELIEVED], outcomes[OLDER], outcomes[REFUSED]);
    cr_assert_gt(outcomes[BELIEVED], count / 20, "not everything is refused");
    cr_assert_gt(outcomes[REFUSED], count / 20);
    cr_assert_lt(outcomes[OLDER], count / 10, "not everything is of yesterday");
}

/* Another store in the place of one, and one of yesterday. */
Test(corruption, exchanged_and_older_stores_are_refused_or_told, .init = set_up, .fini = tear_down)
{
    for (size_t i = 0; i < COUNT_OF(stores); i++) {
        const struct store *other = &stores[(i + 1) % COUNT_OF(stores)];
        AUTO(result_close) struct result result = { 0 };
        put(stores[i].name, "data.mdb", buffer_span(&other->file));
        read_store(&stores[i], scratch, &result);
        cr_assert_neq(result.exit_code, 0, "%s in the place of %s", other->name, stores[i].name);
        put(stores[i].name, "data.mdb", buffer_span(&stores[i].file));
    }
    AUTO(result_close) struct result dry = { 0 };
    put("events", "data.mdb", buffer_span(&stores[0].earlier));
    recoveryd(&dry, "--dry-run", "--detailed-exitcode", NULL);
    expect_exit(&dry, 3);
    expect_contains(result_out(&dry), "FORKED");
}
