/* How long the check of a token takes in the process that makes it, among many tokens, beside a
 * bare look-up of the same hashes by LMDB, that with the hashes and the checksum without which no
 * check can be (a process that did nothing else could be no faster), and beside a GET that is
 * answered by Redis over a Unix socket, on the same processor. Each includes one reading of the
 * clock.
 *
 *     bench_tokens FOLDER [ROUNDS [TOKENS...]]   5 rounds, among 10,000 and 1,000,000 tokens by
 *     default; each number has a store of its own in FOLDER, written as tokend would write it */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/server.h"
#include "common/access/token_map.h"
#include "common/access/token_text.h"
#include "common/api/records/schemas.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/unix_socket.h"
#include "common/db/table.h"
#include "tests/support/command.h"

enum {
    CHECKS = 40000,
    GETS = 10000,
    KEPT = 4096,
    REDIS_KEYS = 256,
    ROWS_PER_COMMIT = 20000,
    STORES_MAX = 4
};

static struct store {
    size_t count;
    char kept[KEPT][TOKEN_TEXT_BYTES];
    struct token_map map;
    struct figures p50, p99, bare_p50, least_p50;
} stores[STORES_MAX];
static uint32_t took_ns[CHECKS];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static enum status write_tokens(struct db *db, struct store *store, size_t from, size_t to)
{
    size_t step = store->count < KEPT ? 1 : store->count / KEPT;
    AUTO(buffer_close) struct buffer row = { .limit = TOKEN_RECORD_BYTES_MAX };
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(db, &txn));
    for (size_t i = from; i < to; i++) {
        char text[TOKEN_TEXT_BYTES];
        struct token_record record = {
            .accessor = uuid_draw(), .tenant = "acme", .permissions = 4, .granted_ns = 1
        };
        token_text_draw(text);
        if (i % step == 0 && i / step < KEPT)
            memcpy(store->kept[i / step], text, sizeof text);
        struct hash hash = token_text_hash(span_of_text(text));
        TRY(token_record_encode(&record, &row));
        TRY(table_put(&txn, TOKENS_TOKENS, span_of(hash.bytes, sizeof hash.bytes),
                      buffer_span(&row)));
    }
    return db_commit(&txn);
}

static enum status fill(const char *folder, const char *dir, struct store *store)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    AUTO(store_voucher_close) struct store_voucher voucher = { 0 };
    struct token_time time;
    TRY(db_open_writer(&db, &tokens_schema, dir));
    TRY(token_time_read(&time));
    store_voucher_make(&voucher, folder, TOKENS_VOUCHER, time.boot_id);
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(&db, &txn));
    TRY(store_voucher_start(&voucher, &txn));
    struct token_anchor anchor = token_anchor_start(&(struct token_anchor){ 0 }, &time);
    TRY(token_anchor_write(&txn, &anchor));
    TRY(db_commit(&txn));
    for (size_t done = 0, next; done < store->count; done = next) {
        next = done + ROWS_PER_COMMIT < store->count ? done + ROWS_PER_COMMIT : store->count;
        TRY(write_tokens(&db, store, done, next));
    }
    store_voucher_give(&voucher, &db);
    return STATUS_OK;
}

static int by_size(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
    return first < second ? -1 : first > second;
}

/* The values at half and at 99 in a hundred. */
static void add_figures(size_t count, struct figures *p50, struct figures *p99)
{
    qsort(took_ns, count, sizeof took_ns[0], by_size);
    figures_add(p50, took_ns[count / 2]);
    figures_add(p99, took_ns[count / 100 * 99]);
}

static enum status check_tokens(struct store *store)
{
    size_t known = store->count < KEPT ? store->count : KEPT;
    for (size_t i = 0; i < CHECKS; i++) {
        struct caller caller = { 0 };
        struct span text = span_of(store->kept[i * 7919 % known], TOKEN_TEXT_SIZE);
        uint64_t began_ns = now_ns();
        enum status status = store->map.verifier.verify(&store->map, text, &caller);
        took_ns[i] = (uint32_t)(now_ns() - began_ns);
        TRY(status);
    }
    add_figures(CHECKS, &store->p50, &store->p99);
    return STATUS_OK;
}

/* What no check can do without: the token's checksum and hash, a transaction renewed, one mdb_get,
 * the hash that proves the row. `is_bare`: what the map itself takes, the transaction and the get.
 */
static enum status look_up_hashes(struct store *store, bool is_bare)
{
    size_t known = store->count < KEPT ? store->count : KEPT;
    struct db *db = store->map.db;
    MDB_txn *txn;
    if (mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn) != 0)
        return STATUS_INTERNAL;
    for (size_t i = 0; i < CHECKS; i++) {
        struct span text = span_of(store->kept[i * 7919 % known], TOKEN_TEXT_SIZE);
        struct hash hash = token_text_hash(text);
        MDB_val key = { sizeof hash.bytes, hash.bytes }, value;
        mdb_txn_reset(txn);
        uint64_t began_ns = now_ns();
        bool is_valid = is_bare || token_text_is_valid(text);
        if (!is_bare)
            hash = token_text_hash(text);
        int rc = mdb_txn_renew(txn);
        if (rc == 0)
            rc = mdb_get(txn, db->tables[TOKENS_TOKENS], &key, &value);
        if (rc == 0 && !is_bare)
            hash = hash_of(span_of(value.mv_data, value.mv_size));
        took_ns[i] = (uint32_t)(now_ns() - began_ns);
        if (rc != 0 || !is_valid || hash_is_zero(&hash))
            test_fail("LMDB does not find a token");
    }
    mdb_txn_abort(txn);
    struct figures p99 = { 0 };
    add_figures(CHECKS, is_bare ? &store->bare_p50 : &store->least_p50, &p99);
    return STATUS_OK;
}

/* --- Redis --- */

static uint64_t exchange_ns(int fd, const char *request, const char *answer)
{
    char got[256];
    size_t size = strlen(answer), received = 0;
    uint64_t began_ns = now_ns();
    if (fd_write_all(fd, span_of_text(request)) != STATUS_OK)
        test_fail("cannot write to Redis");
    while (received < size) {
        ssize_t more = read(fd, got + received, sizeof got - received);
        if (more <= 0)
            test_fail("Redis says nothing");
        received += (size_t)more;
    }
    uint64_t took = now_ns() - began_ns;
    if (memcmp(got, answer, size) != 0)
        test_fail("Redis says: %.*s", (int)received, got);
    return took;
}

static void set_keys(int fd)
{
    char request[256];
    for (int i = 0; i < REDIS_KEYS; i++) {
        snprintf(request, sizeof request, "*3\r\n$3\r\nSET\r\n$64\r\n%064d\r\n$4\r\nacme\r\n", i);
        exchange_ns(fd, request, "+OK\r\n");
    }
}

static void get_keys(int fd, struct figures *p50, struct figures *p99)
{
    char request[256];
    for (int i = 0; i < GETS; i++) {
        snprintf(request, sizeof request, "*2\r\n$3\r\nGET\r\n$64\r\n%064d\r\n", i % REDIS_KEYS);
        took_ns[i] = (uint32_t)exchange_ns(fd, request, "$4\r\nacme\r\n");
    }
    add_figures(GETS, p50, p99);
}

/* --- both --- */

/* What is started from here on stays on this processor, too. */
static void stay_on_one_processor(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        test_fail("cannot stay on one processor");
}

/* A DATA and a RUN of its own. */
static enum status open_store(const char *folder, struct store *store)
{
    char dir[4096], own[4096];
    snprintf(own, sizeof own, "%s/%zu", folder, store->count);
    TRY(directory_make(own, 0700));
    TRY(path_join(dir, own, "tokens"));
    TRY(fill(own, dir, store));
    return token_map_open(&store->map, dir, own);
}

static void print(const struct store *store, const struct figures *redis)
{
    char what[64];
    double goal_ns = store->count > 10000 ? 3000 : 1500;
    snprintf(what, sizeof what, "check among %zu tokens, p50", store->count);
    figure_print_plain(what, figures_median(&store->p50), "ns", goal_ns, 1);
    figure_print(what, figures_median(&store->p50), "ns", "bare LMDB get",
                 figures_median(&store->bare_p50), 0, 1);
    figure_print(what, figures_median(&store->p50), "ns", "what none does without",
                 figures_median(&store->least_p50), 0, 1);
    if (redis->count > 0) {
        figure_print(what, figures_median(&store->p50), "ns", "Redis GET", figures_median(redis),
                     0.1, 1);
        figure_print("what none does without", figures_median(&store->least_p50), "ns", "Redis GET",
                     figures_median(redis), 0, 1);
    }
    snprintf(what, sizeof what, "check among %zu tokens, p99", store->count);
    figure_print_plain(what, figures_median(&store->p99), "ns", 0, 1);
}

static enum status measure(const char *folder, size_t count, int rounds)
{
    struct figures redis_p50 = { 0 }, redis_p99 = { 0 };
    char path[4096];
    int redis = -1;
    for (size_t i = 0; i < count; i++)
        TRY(open_store(folder, &stores[i]));
    stay_on_one_processor();
    snprintf(path, sizeof path, "%s/redis.sock", folder);
    static const char *const environment[] = { "PATH=/usr/bin:/bin", NULL };
    pid_t server = server_start_redis(folder, environment, path);
    if (server != 0) {
        TRY(unix_socket_connect(path, &redis));
        if (fcntl(redis, F_SETFL, 0) < 0) /* it waits for its answers */
            test_fail("cannot talk to Redis");
        set_keys(redis);
    } else {
        printf("redis-server is not installed: no comparison with it\n");
    }
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            TRY(check_tokens(&stores[i]));
            TRY(look_up_hashes(&stores[i], true));
            TRY(look_up_hashes(&stores[i], false));
        }
        if (redis >= 0)
            get_keys(redis, &redis_p50, &redis_p99);
    }
    for (size_t i = 0; i < count; i++) {
        print(&stores[i], &redis_p50);
        token_map_close(&stores[i].map);
    }
    if (redis >= 0) {
        figure_print_plain("Redis GET on the same processor, p99", figures_median(&redis_p99), "ns",
                           0, 1);
        close(redis);
        kill(server, SIGTERM);
        command_wait(server, 10000);
    }
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    static const size_t usual[] = { 10000, 1000000 };
    schema_probe_if_asked(argc, argv);
    log_setup("bench", LOG_LEVEL_ERROR);
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    size_t count = argc > 3 ? (size_t)argc - 3 : COUNT_OF(usual);
    char folder[4096];
    if (argc < 2 || count > STORES_MAX || realpath(argv[1], folder) == NULL)
        return status_exit_code(STATUS_USAGE);
    for (size_t i = 0; i < count; i++)
        stores[i].count = argc > 3 ? strtoull(argv[i + 3], NULL, 10) : usual[i];
    return status_exit_code(measure(folder, count, rounds));
}
