#include "tests/support/criterion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/spec/spec.h"

/* Random specs; SOLO_TEST_SEED repeats a run. */
static uint64_t state;

static uint64_t draw(uint64_t below)
{
    state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

static const char *draw_text(struct arena *arena, const char *letters, size_t least, size_t most)
{
    size_t size = least + draw(most - least + 1);
    char *text = arena_alloc(arena, size + 1);
    cr_assert_not_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = letters[draw(strlen(letters))];
    return text;
}

static const char any_letters[] = "abc XYZ\t\n\"\\{}[]:,\x01\x7f";

static struct str_list draw_list(struct arena *arena, size_t least, size_t most)
{
    size_t count = least + draw(most - least + 1);
    const char **items = arena_alloc(arena, (count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = draw_text(arena, any_letters, i == 0 ? 1 : 0, 40);
    return (struct str_list){ items, count };
}

static struct spec draw_spec(struct arena *arena)
{
    static const int signals[] = { 1, 2, 3, 9, 10, 12, 15 };
    struct spec spec = {
        .tenant = draw_text(arena, "abcxyz019", 1, NAME_BYTES_MAX),
        .name = draw_text(arena, "abcxyz019", 1, NAME_BYTES_MAX),
        .working_dir = draw(2) == 0 ? "" : "/srv/data",
        .restart = { (enum restart_policy)draw(3), 1 + draw(1000), 1000 + draw(100000), draw(100),
                     1 + draw(86400000) },
        .stop = { signals[draw(COUNT_OF(signals))], draw(3600001) },
        .ready = { .timeout_ms = 1 + draw(3600000), .by = (enum ready_by)draw(4) },
        .logs = { 4096 + draw(UINT64_C(1) << 35), 1 + draw(100) },
    };
    if (draw(2) == 0)
        spec.limits.memory_bytes = (UINT64_C(1) << 20) + draw(UINT64_C(1) << 40);
    if (draw(2) == 0)
        spec.limits.tasks = 1 + draw(1 << 22);
    if (draw(2) == 0)
        spec.limits.files = 16 + draw((1 << 20) - 15);
    if (draw(2) == 0)
        spec.limits.cpu_milli = 10 + draw(1024 * 1000 - 9);
    struct spec_secret *secrets = arena_alloc(arena, SPEC_SECRETS_MAX * sizeof *secrets);
    spec.secrets = secrets;
    spec.secret_count = draw(3) == 0 ? draw(20) : 0;
    for (size_t i = 0; i < spec.secret_count; i++) {
        char *name = (char *)draw_text(arena, "abc.-09", 3, NAME_BYTES_MAX);
        name[0] = (char)('a' + (int)i); /* sorted, all different, */
        name[1] = 'q';                  /* and no variable of env */
        secrets[i] = (struct spec_secret){ name, draw(3) * draw(1000), draw(2) == 0, draw(2) == 0 };
    }
    bool has_code = draw(2) == 0;
    if (has_code) {
        const char *code = draw_text(arena, any_letters, 1, draw(10) == 0 ? 70000 : 300);
        spec.code = span_of_text(code);
        spec.interpreter = draw_list(arena, 1, 4);
    }
    spec.argv = draw_list(arena, has_code ? 0 : 1, 20);
    if (spec.ready.by == READY_TCP)
        spec.ready.port = 1 + draw(65535);
    if (spec.ready.by == READY_EXEC)
        spec.ready.argv = draw_list(arena, 1, 5);
    struct spec_pair *env = arena_alloc(arena, 20 * sizeof *env);
    spec.env = env;
    spec.env_count = draw(20);
    for (size_t i = 0; i < spec.env_count; i++) {
        char *key = (char *)draw_text(arena, "ABC_xyz09", 3, 10);
        key[0] = (char)('A' + (int)i); /* sorted, all different */
        env[i] = (struct spec_pair){ key, draw_text(arena, any_letters, 0, 100) };
    }
    return spec;
}

static void assert_round_trip(const struct spec *spec, struct arena *arena, uint64_t seed)
{
    AUTO(buffer_close) struct buffer first = { .limit = SPEC_BYTES_MAX };
    AUTO(buffer_close) struct buffer second = { .limit = SPEC_BYTES_MAX };
    struct spec read;
    struct problem problem = { 0 };
    cr_assert_eq(spec_encode(spec, &first), STATUS_OK);
    cr_assert_eq(spec_decode(buffer_span(&first), arena, &read, &problem), STATUS_OK,
                 "seed %llu: %s: %s", (unsigned long long)seed, problem.field, problem.message);
    cr_assert_eq(spec_encode(&read, &second), STATUS_OK);
    cr_assert(span_equal(buffer_span(&first), buffer_span(&second)), "seed %llu",
              (unsigned long long)seed);
    cr_assert_eq(read.restart.policy, spec->restart.policy);
    cr_assert_eq(read.stop.signal, spec->stop.signal);
    cr_assert_eq(read.ready.by, spec->ready.by);
    cr_assert_eq(read.ready.port, spec->ready.port);
    cr_assert_eq(read.ready.argv.count, spec->ready.argv.count);
    cr_assert_eq(read.limits.memory_bytes, spec->limits.memory_bytes);
    cr_assert_eq(read.limits.tasks, spec->limits.tasks);
    cr_assert_eq(read.limits.files, spec->limits.files);
    cr_assert_eq(read.limits.cpu_milli, spec->limits.cpu_milli);
    cr_assert_eq(read.argv.count, spec->argv.count);
    cr_assert_eq(read.secret_count, spec->secret_count);
    for (size_t i = 0; i < read.secret_count; i++) {
        cr_assert_str_eq(read.secrets[i].name, spec->secrets[i].name);
        cr_assert_eq(read.secrets[i].version, spec->secrets[i].version);
        cr_assert_eq(read.secrets[i].is_env, spec->secrets[i].is_env);
        cr_assert_eq(read.secrets[i].is_optional, spec->secrets[i].is_optional);
    }
    cr_assert(span_equal(read.code, spec->code));
}

Test(spec_property, canonical_form_is_read_back_to_the_same_bytes)
{
    const char *given = getenv("SOLO_TEST_SEED");
    uint64_t seed;
    random_fill(&seed, sizeof seed);
    if (given != NULL)
        seed = strtoull(given, NULL, 10);
    fprintf(stderr, "spec_property: SOLO_TEST_SEED=%llu\n", (unsigned long long)seed);
    state = seed;
    AUTO(arena_close) struct arena arena = { .limit = 4 * 1024 * 1024 };
    for (int i = 0; i < 2000; i++) {
        struct spec spec = draw_spec(&arena);
        assert_round_trip(&spec, &arena, seed);
        arena_reset(&arena);
    }
}
