#include "common/base/arena.h"

#include <stdalign.h>

#include "tests/support/criterion.h"

Test(arena, memory_is_zeroed_and_aligned)
{
    struct arena arena = { .limit = 4096 };
    for (size_t size = 1; size < 40; size++) {
        unsigned char *memory = arena_alloc(&arena, size);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(memory[i], 0);
        memset(memory, 0xff, size);
    }
    arena_close(&arena);
}

Test(arena, memory_is_zeroed_again_after_a_reset)
{
    struct arena arena = { .limit = 4096 };
    memset(arena_alloc(&arena, 100), 0xff, 100);
    arena_reset(&arena);
    cr_assert_eq(arena.used, 0);
    unsigned char *memory = arena_alloc(&arena, 100);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(memory[i], 0);
    arena_close(&arena);
}

Test(arena, refuses_what_is_past_its_limit)
{
    struct arena arena = { .limit = 64 };
    cr_assert_not_null(arena_alloc(&arena, 48));
    cr_assert_null(arena_alloc(&arena, 32));
    cr_assert_not_null(arena_alloc(&arena, 16), "what still fits is given");
    cr_assert_null(arena_alloc(&arena, 1));
    arena_reset(&arena);
    cr_assert_not_null(arena_alloc(&arena, 64));
    arena_close(&arena);
}

Test(arena, refuses_sizes_that_wrap_around)
{
    struct arena arena = { .limit = SIZE_MAX };
    cr_assert_null(arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(arena_alloc(&arena, SIZE_MAX - 15));
    arena_close(&arena);
}

Test(arena, holds_more_than_one_chunk)
{
    struct arena arena = { .limit = 1 << 20 };
    char *first = arena_alloc(&arena, 100);
    memset(first, 'a', 100);
    char *big = arena_alloc(&arena, 100000);
    memset(big, 'b', 100000);
    for (int i = 0; i < 100; i++)
        memset(arena_alloc(&arena, 1000), 'c', 1000);
    cr_assert_eq(first[99], 'a');
    cr_assert_eq(big[99999], 'b');
    arena_close(&arena);
    cr_assert_null(arena.chunks);
    cr_assert_eq(arena.limit, 1u << 20, "it can be used again");
}

Test(arena, copies_text_and_ends_it)
{
    struct arena arena = { .limit = 256 };
    char source[] = { 'a', 'b', 'c', 'd' };
    char *copy = arena_text(&arena, span_of(source, 3));
    source[0] = 'x';
    cr_assert_str_eq(copy, "abc");
    cr_assert_str_eq(arena_text(&arena, (struct span){ 0 }), "");
    arena_close(&arena);
}
