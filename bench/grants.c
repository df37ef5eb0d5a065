/* Tokens: how many grants and revocations a second are acknowledged after their commit, what a
 * sweep costs those who ask meanwhile, and how soon tokend answers when its store is large.
 *
 *     bench_grants [SECONDS [ROUNDS [TOKENS]]]   2 seconds, 3 rounds, 1,000,000 tokens by default;
 *                                                with 0 rounds the large store alone
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/machine.h"
#include "bench/protocols.h"
#include "common/api/records/schemas.h"
#include "common/api/records/token_record.h"
#include "common/base/clock.h"
#include "common/db/table.h"
#include "common/rpc/method.h"
#include "tests/support/services.h"

enum { ROWS_PER_COMMIT = 20000, SAMPLE_SECONDS = 8, RESTARTS = 9 };

static uint64_t counter(const struct testbed *bed, const char *name)
{
    json_t *reply = testbed_ask(bed, "tokend", "daemon.stats", NULL);
    uint64_t value = number_in(json_object_get(reply, "counters"), name);
    json_decref(reply);
    return value;
}

static void must(enum status status, const char *what)
{
    if (status != STATUS_OK)
        test_fail("%s: %s", what, status_text(status));
}

/* --- grants --- */

static void measure_changes(const struct testbed *bed, const struct load_protocol *protocol,
                            const char *what, double seconds, int rounds)
{
    char path[4096], line[64];
    struct figures one = { 0 }, many = { 0 }, commits = { 0 };
    uint64_t answers;
    testbed_socket(bed, "tokend", path);
    for (int round = 0; round < rounds; round++) {
        struct load load = { protocol, path, 1, 1, seconds };
        figures_add(&one, load_run(&load, &answers));
        load.connections = 64;
        uint64_t before = counter(bed, "commits");
        double begin = machine_now();
        figures_add(&many, load_run(&load, &answers));
        figures_add(&commits, (double)(counter(bed, "commits") - before) / (machine_now() - begin));
    }
    snprintf(line, sizeof line, "commits while 64 clients %s", what);
    figure_print_plain(line, figures_median(&commits), "/s", 0, 0);
    snprintf(line, sizeof line, "%ss, 64 clients", what);
    figure_print(line, figures_median(&many), "/s", "one client", figures_median(&one), 8, 0);
}

/* --- revocations --- */

enum { REVOKED_MAX = 1000000 };
static char accessors[REVOKED_MAX][REVOKED_TEXT_BYTES];

static size_t list_tokens(const struct testbed *bed)
{
    char after[128] = "";
    size_t count = 0;
    do {
        json_t *page = testbed_ask(bed, "tokend", "token.list",
                                   json_pack("{s:s, s:i}", "after", after, "limit", 1000)),
               *item;
        size_t i;
        json_array_foreach(json_object_get(page, "tokens"), i, item) if (count < REVOKED_MAX)
            snprintf(accessors[count++], REVOKED_TEXT_BYTES, "%s", text_in(item, "accessor"));
        const char *next = text_in(page, "next");
        snprintf(after, sizeof after, "%s", next == NULL ? "" : next);
        json_decref(page);
    } while (after[0] != '\0' && count < REVOKED_MAX);
    return count;
}

/* Of what was granted; in a third of the time, so that there are enough. */
static void measure_revocations(const struct testbed *bed, double seconds, int rounds)
{
    protocol_revoke_these((const char(*)[REVOKED_TEXT_BYTES])accessors, list_tokens(bed));
    measure_changes(bed, &protocol_token_revoke, "revoke", seconds / 3, rounds);
}

/* --- a large store --- */

static void write_token(struct db_txn *txn, uint64_t number, uint64_t expires_ns,
                        struct buffer *row)
{
    struct hash hash = hash_of(span_of(&number, sizeof number));
    struct token_record record = {
        .tenant = "bench",
        .permissions = permission_bit(PERMISSION_READ),
        .granted_ns = 1,
        .expires_ns = expires_ns,
    };
    uint8_t tenant_key[6 + UUID_BYTES] = "bench", expiry_key[8 + HASH_BYTES];
    /* As drawn at the same millisecond: they sort by their number. */
    struct table_number sorted = table_number(number);
    memcpy(record.accessor.bytes, sorted.bytes, sizeof sorted.bytes);
    memcpy(tenant_key + 6, record.accessor.bytes, UUID_BYTES);
    struct span key = span_of(hash.bytes, HASH_BYTES);
    struct span accessor = span_of(record.accessor.bytes, UUID_BYTES);
    must(token_record_encode(&record, row), "pack a token");
    must(table_put(txn, TOKENS_TOKENS, key, buffer_span(row)), "write a token");
    must(table_put(txn, TOKENS_BY_TENANT, span_of(tenant_key, sizeof tenant_key), key), "write");
    must(table_put(txn, TOKENS_BY_ACCESSOR, accessor, key), "write");
    if (expires_ns == 0)
        return;
    struct table_number time = table_number(expires_ns);
    memcpy(expiry_key, time.bytes, 8);
    memcpy(expiry_key + 8, hash.bytes, HASH_BYTES);
    must(
        table_put(txn, TOKENS_BY_EXPIRY, span_of(expiry_key, sizeof expiry_key), span_of_text("t")),
        "write");
}

/* Every tenth has expired long ago. */
static void fill_store(const struct testbed *bed, uint64_t tokens)
{
    char dir[400];
    static struct db db;
    struct buffer row = { .limit = TOKEN_RECORD_BYTES_MAX };
    snprintf(dir, sizeof dir, "%s/tokens", bed->data);
    must(db_open_writer(&db, &tokens_schema, dir), "open the store");
    for (uint64_t number = 0; number < tokens;) {
        struct db_txn txn = { 0 };
        must(db_begin_write(&db, &txn), "begin");
        for (int i = 0; i < ROWS_PER_COMMIT && number < tokens; i++, number++)
            write_token(&txn, number, number % 10 == 0 ? 2 : 0, &row);
        must(db_commit(&txn), "commit");
    }
    must(db_close_cleanly(&db), "close the store");
    buffer_close(&row);
}

static double private_mib(pid_t pid)
{
    char path[64], line[256];
    double kib = 0, value;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Private_Dirty: %lf", &value) == 1)
            kib += value;
    if (file != NULL)
        fclose(file);
    return kib / 1024;
}

/* Of the last start of tokend, as solod measured it. */
static double ready_ms(const struct testbed *bed)
{
    char command[400];
    snprintf(command, sizeof command,
             "grep 'daemon ready.*name=tokend' %s | tail -1 | sed 's/.*took_ms=//'", bed->log);
    FILE *pipe = popen(command, "re");
    double ms = -1;
    if (pipe == NULL || fscanf(pipe, "%lf", &ms) != 1)
        test_fail("solod does not say when tokend was ready");
    pclose(pipe);
    return ms;
}

/* When Solo starts, vaultd starts beside it, on the processors that there are. */
static void measure_start(const struct testbed *bed)
{
    struct figures alone = { 0 };
    double with_others = ready_ms(bed);
    for (int i = 0; i < RESTARTS; i++) {
        json_decref(
            testbed_ask(bed, "solod", "daemon.restart", json_pack("{s:s}", "daemon", "tokend")));
        figures_add(&alone, ready_ms(bed));
    }
    figure_print_plain("tokend, exec to ready with TOKENS tokens, as Solo starts", with_others,
                       "ms", 0, 1);
    figure_print_plain("the same of tokend alone", figures_median(&alone), "ms", 10, 1);
}

/* It begins ten seconds after the start; what that one costs is not its doing. */
static void await_sweep(const struct testbed *bed)
{
    for (int waited_ms = 0; counter(bed, "token_expired") == 0; waited_ms += 10) {
        if (waited_ms > 60000)
            test_fail("nothing is swept");
        usleep(10000);
    }
}

/* One grant after the other for so long; the slowest of them. */
static double slowest_grant_ms(const struct testbed *bed)
{
    char path[4096];
    double slowest = 0, begin = machine_now();
    testbed_socket(bed, "tokend", path);
    uint64_t number = 0;
    struct caller caller;
    must(caller_open(&caller, path), "connect");
    while (machine_now() - begin < SAMPLE_SECONDS)
        for (int i = 0; i < 200; i++) {
            char hash[4 + HASH_TEXT_BYTES] = "hex:";
            const uint64_t drawn[] = { ++number, clock_wall_ns() };
            struct hash bytes = hash_of(span_of(drawn, sizeof drawn));
            hex_text(hash + 4, bytes.bytes, HASH_BYTES);
            json_t *params = json_pack("{s:s, s:s, s:[s]}", "token_hash", hash, "tenant", "bench",
                                       "permissions", "read");
            struct problem problem = { 0 };
            double asked = machine_now();
            enum status status = caller_call(&caller, "token.grant", params, 30000, NULL, &problem);
            double took = (machine_now() - asked) * 1e3;
            json_decref(params);
            if (status != STATUS_OK && status != STATUS_RESOURCE_EXHAUSTED)
                test_fail("token.grant: %s", problem.message);
            slowest = took > slowest ? took : slowest;
        }
    caller_close(&caller);
    return slowest;
}

/* The first sweep begins ten seconds after the start: until then grants have tokend to themselves.
 */
static void measure_sweep(const struct testbed *bed)
{
    double quiet = slowest_grant_ms(bed);
    await_sweep(bed);
    uint64_t before = counter(bed, "token_expired");
    double slowest = slowest_grant_ms(bed);
    uint64_t swept = counter(bed, "token_expired") - before;
    figure_print_plain("tokens swept meanwhile", (double)swept / SAMPLE_SECONDS, "/s", 0, 0);
    figure_print_plain("slowest grant as long without a sweep", quiet, "ms", 0, 0);
    figure_print_plain("what the sweep added to the slowest", slowest - quiet, "ms", 10, 1);
}

int main(int argc, char **argv)
{
    schema_probe_if_asked(argc, argv);
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    int rounds = argc > 2 ? atoi(argv[2]) : 3;
    uint64_t tokens = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000000;
    struct testbed bed;
    if (rounds > 0) {
        testbed_open(&bed, 0);
        testbed_start(&bed);
        measure_changes(&bed, &protocol_token_grant, "grant", seconds, rounds);
        measure_revocations(&bed, seconds, rounds);
        testbed_discard(&bed);
    }

    testbed_open(&bed, 0);
    mkdir(bed.data, 0755);
    fill_store(&bed, tokens);
    testbed_start(&bed);
    measure_start(&bed);
    measure_sweep(&bed);
    figure_print_plain("private memory of tokend", private_mib(testbed_daemon(&bed, "tokend")),
                       "MiB", 5, 1);
    testbed_discard(&bed);
    return 0;
}
