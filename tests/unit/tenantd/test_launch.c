/* From a spec to the arguments and the environment of a process. */
#include "tenantd/launch.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "tests/support/criterion.h"

static struct str_list list(const char *const *items)
{
    struct str_list made = { items, 0 };
    while (items[made.count] != NULL)
        made.count++;
    return made;
}
#define LIST(...) list((const char *const[]){ __VA_ARGS__, NULL })

static void expect_texts(const struct spec *spec, const char *code_path, size_t arguments,
                         const char *const *expected)
{
    struct launch *launch;
    AUTO(arena_close) struct arena arena = { .limit = 16 * 1024 * 1024 };
    const struct spec_files files = { code_path, spec_is_built(spec) ? "/r/out" : NULL };
    cr_assert_eq(launch_make(spec, &files, &arena, &launch), STATUS_OK);
    cr_assert_eq(launch->argument_count, arguments);
    const char *text = launch->texts;
    for (; *expected != NULL; expected++, text += strlen(text) + 1)
        cr_assert_str_eq(text, *expected);
    launch_free(launch);
}

Test(launch, a_command_is_its_arguments)
{
    const struct spec_pair env[] = { { "A", "1" }, { "B", "" } };
    const struct spec spec = {
        .name = "api", .argv = LIST("/bin/prog", "{code}", ""), .env = env, .env_count = 2
    };
    expect_texts(&spec, "/code", 3,
                 (const char *const[]){ "/bin/prog", "{code}", "", "A=1", "B=", NULL });
}

Test(launch, code_stands_between_interpreter_and_arguments)
{
    const struct spec spec = { .name = "api",
                               .argv = LIST("8080"),
                               .code = span_of_text("x"),
                               .interpreter = LIST("python3", "-u") };
    expect_texts(&spec, "/r/code", 4,
                 (const char *const[]){ "python3", "-u", "/r/code", "8080", NULL });
}

Test(launch, code_stands_where_it_is_named)
{
    const struct spec spec = { .name = "api",
                               .argv = LIST("-f", "{code}", "--also={code},{code}"),
                               .code = span_of_text("x"),
                               .interpreter = LIST("awk") };
    expect_texts(&spec, "/c", 4, (const char *const[]){ "awk", "-f", "/c", "--also=/c,/c", NULL });
}

Test(launch, nobody_names_himself)
{
    const struct spec_pair env[] = { { "SOLO_INSTANCE", "x/y/1/2" },
                                     { "SOLO_OTHER", "kept" },
                                     { "SOLO_TENANT", "other" } };
    const struct spec spec = { .name = "api", .argv = LIST("p"), .env = env, .env_count = 3 };
    expect_texts(&spec, "/c", 1,
                 (const char *const[]){ "p", "SOLO_OTHER=kept", SPEC_DEFAULT_PATH, NULL });
}

Test(launch, the_mark_names_store_tenant_generation_and_instance)
{
    static struct site site;
    char mark[200];
    strcpy(site.mark_prefix, "00112233445566778899aabbccddeeff/acme/");
    const struct launch_identity identity = { "api", 42, 0xab };
    cr_assert_str_eq(launch_mark(mark, &site, &identity),
                     "00112233445566778899aabbccddeeff/acme/42/00000000000000ab");
}
