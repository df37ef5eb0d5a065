/* Keys and values in memory: locked, bounded, wiped when they come back. */
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/buffer.h"
#include "common/base/log.h"
#include "common/secret/locked_pool.h"
#include "common/secret/secret.h"
#include "tests/support/criterion.h"

enum { POOL_BYTES = 1024 * 1024 };

static struct locked_pool pool;

static void open_pool(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    cr_assert_eq(locked_pool_open(&pool, POOL_BYTES), STATUS_OK);
    cr_assert(pool.is_locked);
}

static void close_pool(void)
{
    cr_assert_eq(pool.taken, 0, "%zu bytes were not given back", pool.taken);
    locked_pool_close(&pool);
}

TestSuite(locked_pool, .init = open_pool, .fini = close_pool, .timeout = 60);

static bool holds(const char *text)
{
    return memmem(pool.data, pool.size, text, strlen(text)) != NULL;
}

static size_t resident_bytes(void)
{
    unsigned char pages[POOL_BYTES / 4096];
    size_t count = 0, page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    cr_assert_leq(POOL_BYTES / page_bytes, sizeof pages);
    cr_assert_eq(mincore(pool.data, pool.size, pages), 0);
    for (size_t i = 0; i < POOL_BYTES / page_bytes; i++)
        count += pages[i] & 1;
    return count * page_bytes;
}

Test(locked_pool, costs_the_memory_that_was_used_at_most)
{
    enum { PIECE_BYTES = 64 * 1024 };
    struct memory *memory = &pool.memory;
    cr_assert_leq(resident_bytes(), PIECE_BYTES, "it is empty");
    void *piece = memory->take(memory, PIECE_BYTES);
    memset(piece, 'x', PIECE_BYTES);
    memory->give(memory, piece, PIECE_BYTES);
    cr_assert_leq(resident_bytes(), 2 * PIECE_BYTES);
}

Test(locked_pool, gives_out_no_more_than_it_has_and_takes_all_of_it_back)
{
    void *pieces[64];
    struct memory *memory = &pool.memory;
    cr_assert_null(memory->take(memory, POOL_BYTES + 1));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 64; i++) {
            pieces[i] = memory->take(memory, POOL_BYTES / 64);
            cr_assert_not_null(pieces[i]);
        }
        cr_assert_null(memory->take(memory, 1), "more than there is");
        for (int i = 0; i < 64; i++) { /* in an order that leaves gaps on both sides */
            int which = (i * 37 + round) % 64;
            memory->give(memory, pieces[which], POOL_BYTES / 64);
        }
        cr_assert_eq(pool.taken, 0);
    }
    void *whole = memory->take(memory, POOL_BYTES);
    cr_assert_not_null(whole, "its gaps were not joined");
    memory->give(memory, whole, POOL_BYTES);
}

Test(locked_pool, a_buffer_leaves_nothing_behind_where_it_was)
{
    struct buffer buffer = { .limit = 100000, .memory = &pool.memory };
    buffer_append_text(&buffer, "needle-in-the-hay");
    cr_assert(holds("needle-in-the-hay"));
    for (int i = 0; i < 2000; i++)
        buffer_append_text(&buffer, "0123456789");
    cr_assert(holds("needle-in-the-hay"), "it was moved, and is there still");
    buffer_consume(&buffer, strlen("needle-in-the-hay"));
    cr_assert_not(holds("needle-in-the-hay"));
    buffer_append_text(&buffer, "second-needle");
    buffer_cut(&buffer, buffer.size - strlen("needle"));
    cr_assert_not(holds("second-needle"));
    buffer_append_text(&buffer, "third-needle");
    buffer_clear(&buffer);
    cr_assert_not(holds("third-needle"));
    buffer_append_text(&buffer, "last-needle");
    buffer_close(&buffer);
    cr_assert_not(holds("needle"));
}

Test(locked_pool, an_arena_leaves_nothing_behind)
{
    struct arena arena = { .limit = 100000, .memory = &pool.memory };
    cr_assert_not_null(arena_text(&arena, span_of_text("small-needle")));
    char *large = arena_alloc(&arena, 50000);
    cr_assert_not_null(large);
    memcpy(large + 40000, "large-needle", 12);
    cr_assert_null(arena_alloc(&arena, 60000), "past its limit");
    arena_reset(&arena);
    cr_assert_not(holds("needle"));
    arena_close(&arena);
}

TestSuite(secret, .timeout = 60);

Test(secret, is_kept_between_uses)
{
    struct secret secret = { 0 };
    cr_assert_eq(secret_new(&secret, 32), STATUS_OK);
    memcpy(secret_open(&secret), "0123456789abcdef", 16);
    cr_assert_eq(memcmp(secret_open(&secret), "0123456789abcdef", 16), 0, "opened twice");
    secret_close(&secret);
    secret_close(&secret);
    secret_free(&secret);
    secret_free(&secret);
}

Test(secret, is_refused_when_memory_cannot_be_locked)
{
    struct secret secret = { 0 };
    struct locked_pool unlocked;
    log_setup("test", LOG_LEVEL_ERROR);
    const struct rlimit none = { 0, 0 };
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    if (geteuid() == 0 &&
        (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
        cr_skip_test("root may lock without bound");
    cr_assert_eq(secret_new(&secret, 32), STATUS_RESOURCE_EXHAUSTED);
    cr_assert_null(secret.data);
    cr_assert_not_null(strstr(memory_lock_problem(), "RLIMIT_MEMLOCK"));
    cr_assert_eq(locked_pool_open(&unlocked, POOL_BYTES), STATUS_OK);
    cr_assert_not(unlocked.is_locked);
    locked_pool_close(&unlocked);
}
