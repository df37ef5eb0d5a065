/* How long the check of a token takes in the process that makes it, among many tokens. Prints p50
 * and p99 in nanoseconds. Usage: bench_tokens FOLDER [TOKENS...]; each number has a store of its
 * own in FOLDER, written as tokend would write it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/access/token_map.h"
#include "common/access/token_text.h"
#include "common/api/records/schemas.h"
#include "common/api/records/token_record.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/db/table.h"

enum { CHECKS = 200000, KEPT = 4096, ROWS_PER_COMMIT = 20000 };

static char kept[KEPT][TOKEN_TEXT_BYTES];
static uint32_t took_ns[CHECKS];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static enum status write_tokens(struct db *db, size_t from, size_t to, size_t step)
{
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
            memcpy(kept[i / step], text, sizeof text);
        struct hash hash = token_text_hash(span_of_text(text));
        TRY(token_record_encode(&record, &row));
        TRY(table_put(&txn, TOKENS_TOKENS, span_of(hash.bytes, sizeof hash.bytes),
                      buffer_span(&row)));
    }
    return db_commit(&txn);
}

static enum status fill(const char *dir, size_t count)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    struct token_time time;
    TRY(db_open_writer(&db, &tokens_schema, dir));
    TRY(token_time_read(&time));
    AUTO(db_end) struct db_txn txn = { 0 };
    TRY(db_begin_write(&db, &txn));
    struct token_anchor anchor = token_anchor_start(&(struct token_anchor){ 0 }, &time);
    TRY(token_anchor_write(&txn, &anchor));
    TRY(db_commit(&txn));
    for (size_t done = 0; done < count; done += ROWS_PER_COMMIT)
        TRY(write_tokens(&db, done, done + ROWS_PER_COMMIT < count ? done + ROWS_PER_COMMIT : count,
                         count < KEPT ? 1 : count / KEPT));
    return STATUS_OK;
}

static int by_size(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
    return first < second ? -1 : first > second;
}

static enum status measure(const char *folder, size_t count)
{
    static struct token_map map;
    char dir[4096];
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    size_t known = count < KEPT ? count : KEPT;
    snprintf(dir, sizeof dir, "%s/tokens-%zu", folder, count);
    TRY(fill(dir, count));
    TRY(token_map_open(&map, loop, dir));
    for (size_t i = 0; i < CHECKS; i++) {
        struct caller caller = { 0 };
        uint64_t began_ns = now_ns();
        enum status status =
            map.verifier.verify(&map, span_of_text(kept[i * 7919 % known]), &caller);
        took_ns[i] = (uint32_t)(now_ns() - began_ns);
        TRY(status);
    }
    qsort(took_ns, CHECKS, sizeof took_ns[0], by_size);
    printf("verify among %zu tokens: p50 %u ns, p99 %u ns\n", count, took_ns[CHECKS / 2],
           took_ns[CHECKS / 100 * 99]);
    token_map_close(&map);
    ev_loop_destroy(loop);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    schema_probe_if_asked(argc, argv);
    log_setup("bench", LOG_LEVEL_ERROR);
    static const size_t usual[] = { 10000, 1000000 };
    size_t count = argc > 2 ? (size_t)argc - 2 : COUNT_OF(usual);
    if (argc < 2)
        return status_exit_code(STATUS_USAGE);
    for (size_t i = 0; i < count; i++) {
        enum status status =
            measure(argv[1], argc > 2 ? strtoull(argv[i + 2], NULL, 10) : usual[i]);
        if (status != STATUS_OK)
            return status_exit_code(status);
    }
    return 0;
}
