#include "tests/support/criterion.h"

#include "common/spec/build.h"

static struct spec spec_of(const char **command, size_t count)
{
    return (struct spec){ .tenant = "acme",
                          .name = "api",
                          .code = span_of_text("int main;"),
                          .build = { command, count } };
}

Test(build, the_source_file_is_named_by_what_the_compiler_goes_by)
{
    static const char *const names[][2] = {
        { "cc", "code.c" },          { "/usr/bin/gcc-12", "code.c" },
        { "clang++-15", "code.cc" }, { "x86_64-linux-gnu-g++", "code.cc" },
        { "rustc", "code.rs" },      { "go", "code.go" },
        { "make", "code" },          { "ccache", "code" },
        { "/opt/cc/bin/x", "code" }, { "cc-wrapper", "code" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *command[] = { names[i][0] };
        struct spec spec = spec_of(command, 1);
        cr_assert_str_eq(build_code_name(&spec), names[i][1], "%s", names[i][0]);
    }
}

Test(build, the_compiler_may_stand_behind_who_calls_it)
{
    static const char *const commands[][6] = {
        { "ccache", "cc", "{code}", "code.c" },
        { "nice", "-n", "5", "/usr/bin/g++-12", "code.cc" },
        { "env", "A=go", "c89", "code.c" },
        { "env", "O={out}", "cc", "{code}", "code.c" },
        { "strace", "--trace=cc", "x", "code" },
        { "tool", "{code}", "--", "cc", "code" },
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        size_t count = 0;
        while (count + 1 < 6 && commands[i][count + 1] != NULL)
            count++;
        struct spec spec = spec_of((const char **)commands[i], count);
        cr_assert_str_eq(build_code_name(&spec), commands[i][count], "%s", commands[i][0]);
    }
}

static struct hash key_of(const struct spec *spec, const char *compiler)
{
    struct hash key;
    cr_assert_eq(build_key(spec, compiler, &key), STATUS_OK);
    return key;
}

Test(build, everything_that_it_is_made_from_is_in_the_key)
{
    const char *command[] = { "cc", "ab", "c" }, *other[] = { "cc", "a", "bc" };
    const struct spec_pair path = { "PATH", "/bin" };
    struct spec first = spec_of(command, 3);
    struct hash key = key_of(&first, "/bin/sh"), same = key_of(&first, "/bin/sh");
    cr_assert(hash_equal(&key, &same));
    struct spec changed[] = { first, first, first, first };
    changed[0].tenant = "beta";
    changed[1].code = span_of_text("int main ;");
    changed[2].build = (struct str_list){ other, 3 };
    changed[3].env = &path;
    changed[3].env_count = 1;
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++) {
        struct hash differs = key_of(&changed[i], "/bin/sh");
        cr_assert_not(hash_equal(&key, &differs), "change %zu", i);
    }
    struct hash differs = key_of(&first, "/bin/ls");
    cr_assert_not(hash_equal(&key, &differs));
    struct spec renamed = first; /* two services of a tenant share what is the same */
    renamed.name = "other";
    differs = key_of(&renamed, "/bin/sh");
    cr_assert(hash_equal(&key, &differs));
}

Test(build, a_compiler_that_is_not_there_has_no_key)
{
    const char *command[] = { "no-such-compiler" };
    char found[4096];
    struct hash key;
    struct spec spec = spec_of(command, 1);
    cr_assert_eq(build_compiler_find(&spec, found), STATUS_NOT_FOUND);
    cr_assert_eq(build_key(&spec, "/no/such/file", &key), STATUS_NOT_FOUND);
}
