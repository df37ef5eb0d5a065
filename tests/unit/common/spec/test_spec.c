#include "tests/support/criterion.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/spec/spec.h"
#include "common/spec/spec_json.h"
#include "common/wire/writer.h"

static struct arena arena;

static void set_up(void)
{
    arena = (struct arena){ .limit = 8 * 1024 * 1024 };
}

static void tear_down(void)
{
    arena_close(&arena);
}

TestSuite(spec, .init = set_up, .fini = tear_down);

/* Specs are written as JSON here, because it reads best. The packed text must outlive the spec. */
static enum status decode(const char *json, struct spec *spec, struct problem *problem)
{
    struct buffer map = { .limit = SPEC_BYTES_MAX };
    cr_assert_eq(spec_from_json(span_of_text(json), &map, problem), STATUS_OK, "%s: %s", json,
                 problem->message);
    char *kept = arena_text(&arena, buffer_span(&map));
    enum status status = spec_decode(span_of(kept, map.size), &arena, spec, problem);
    buffer_close(&map);
    return status;
}

static struct spec decode_well(const char *json)
{
    struct spec spec;
    struct problem problem = { 0 };
    cr_assert_eq(decode(json, &spec, &problem), STATUS_OK, "%s: %s", problem.field,
                 problem.message);
    return spec;
}

Test(spec, the_smallest_gets_every_default)
{
    struct spec spec =
        decode_well("{\"tenant\": \"acme\", \"name\": \"api\", \"argv\": [\"true\"]}");
    cr_assert_str_eq(spec.tenant, "acme");
    cr_assert_str_eq(spec.name, "api");
    cr_assert_eq(spec.argv.count, 1);
    cr_assert_str_eq(spec.argv.items[0], "true");
    cr_assert_eq(spec.code.size, 0);
    cr_assert_eq(spec.interpreter.count, 0);
    cr_assert_eq(spec.env_count, 0);
    cr_assert_str_eq(spec.working_dir, "");
    cr_assert_eq(spec.restart.policy, RESTART_ALWAYS);
    cr_assert_eq(spec.restart.initial_ms, 1000);
    cr_assert_eq(spec.restart.max_ms, 60000);
    cr_assert_eq(spec.restart.max_restarts, 5);
    cr_assert_eq(spec.restart.window_ms, 60000);
    cr_assert_eq(spec.stop.signal, SIGTERM);
    cr_assert_eq(spec.stop.timeout_ms, 5000);
    cr_assert_eq(spec.ready.timeout_ms, 30000);
    cr_assert_eq(spec.logs.max_bytes, 10 * 1024 * 1024);
    cr_assert_eq(spec.logs.files, 5);
    cr_assert_str_eq(spec_path(&spec), "/usr/local/bin:/usr/bin:/bin");
    cr_assert_str_eq(spec_program(&spec), "true");
}

Test(spec, every_field_is_read)
{
    struct spec spec = decode_well(
        "{\"tenant\": \"acme\", \"name\": \"api\", \"code\": \"print(1)\", \"argv\": [\"8080\", "
        "\"\"],"
        " \"interpreter\": [\"python3\", \"-u\"], \"env\": {\"Z\": \"1\", \"A_2\": \"\", \"PATH\": "
        "\"/opt\"},"
        " \"working_dir\": \"/srv/api\", \"secrets\": [], \"build\": \"\", \"limits\": {},"
        " \"restart\": {\"policy\": \"on-failure\", \"initial\": \"250ms\", \"max\": 2000,"
        " \"max_restarts\": 0, \"window\": \"1h\"}, \"stop\": {\"signal\": \"SIGINT\", "
        "\"timeout\": 0},"
        " \"ready\": {\"by\": \"started\", \"timeout\": \"1m\"},"
        " \"logs\": {\"max_size\": \"64KiB\", \"files\": 1}}");
    cr_assert_eq(spec.code.size, strlen("print(1)"));
    cr_assert_eq(spec.interpreter.count, 2);
    cr_assert_eq(spec.argv.count, 2);
    cr_assert_eq(spec.env_count, 3);
    cr_assert_str_eq(spec.env[0].key, "A_2");
    cr_assert_str_eq(spec.env[1].key, "PATH");
    cr_assert_str_eq(spec.env[2].key, "Z");
    cr_assert_str_eq(spec.working_dir, "/srv/api");
    cr_assert_eq(spec.restart.policy, RESTART_ON_FAILURE);
    cr_assert_eq(spec.restart.initial_ms, 250);
    cr_assert_eq(spec.restart.max_ms, 2000);
    cr_assert_eq(spec.restart.max_restarts, 0);
    cr_assert_eq(spec.restart.window_ms, 3600000);
    cr_assert_eq(spec.stop.signal, SIGINT);
    cr_assert_eq(spec.stop.timeout_ms, 0);
    cr_assert_eq(spec.ready.timeout_ms, 60000);
    cr_assert_eq(spec.logs.max_bytes, 65536);
    cr_assert_eq(spec.logs.files, 1);
    cr_assert_str_eq(spec_path(&spec), "/opt");
    cr_assert_str_eq(spec_program(&spec), "python3");
}

Test(spec, limits_are_read)
{
    struct spec spec =
        decode_well("{\"tenant\": \"a\", \"name\": \"b\", \"argv\": [\"c\"], \"limits\": "
                    "{\"memory\": \"256MiB\", \"tasks\": 64, \"files\": 100, \"cpu\": 0.5}}");
    cr_assert_eq(spec.limits.memory_bytes, 256 << 20);
    cr_assert_eq(spec.limits.tasks, 64);
    cr_assert_eq(spec.limits.files, 100);
    cr_assert_eq(spec.limits.cpu_milli, 500);
    spec = decode_well("{\"tenant\": \"a\", \"name\": \"b\", \"argv\": [\"c\"], \"limits\": "
                       "{\"cpu\": 2}}");
    cr_assert_eq(spec.limits.cpu_milli, 2000);
    cr_assert_eq(spec.limits.tasks, 0);
}

Test(spec, the_longest_delay_is_never_below_the_first_by_default)
{
    struct spec spec = decode_well("{\"tenant\": \"a\", \"name\": \"b\", \"argv\": [\"c\"],"
                                   " \"restart\": {\"initial\": \"2m\"}}");
    cr_assert_eq(spec.restart.max_ms, 120000);
}

#define GOOD "\"tenant\": \"acme\", \"name\": \"api\", \"argv\": [\"true\"]"

/* Each refusal names its field and its rule. */
static const struct {
    const char *json;
    enum status status;
    const char *field;
    const char *rule; /* part of the message */
} refusals[] = {
    { "{\"name\": \"api\", \"argv\": [\"x\"]}", STATUS_INVALID_ARGUMENT, "tenant", "required" },
    { "{\"tenant\": \"acme\", \"argv\": [\"x\"]}", STATUS_INVALID_ARGUMENT, "name", "required" },
    { "{\"tenant\": \"Acme\", \"name\": \"api\", \"argv\": [\"x\"]}", STATUS_INVALID_ARGUMENT,
      "tenant", "not \"Acme\"" },
    { "{\"tenant\": \"acme\", \"name\": \"a/b\", \"argv\": [\"x\"]}", STATUS_INVALID_ARGUMENT,
      "name", NAME_PATTERN },
    { "{\"tenant\": \"acme\", \"name\": \"\", \"argv\": [\"x\"]}", STATUS_INVALID_ARGUMENT, "name",
      NAME_PATTERN },
    { "{\"tenant\": 7, \"name\": \"api\", \"argv\": [\"x\"]}", STATUS_INVALID_ARGUMENT, "tenant",
      "must be text, not a whole number" },
    { "{\"tenant\": \"acme\", \"name\": \"api\"}", STATUS_INVALID_ARGUMENT, "argv", "required" },
    { "{\"tenant\": \"acme\", \"name\": \"api\", \"argv\": []}", STATUS_INVALID_ARGUMENT, "argv",
      "required" },
    { "{\"tenant\": \"acme\", \"name\": \"api\", \"argv\": [\"\"]}", STATUS_INVALID_ARGUMENT,
      "argv[0]", "must name a program" },
    { "{\"tenant\": \"acme\", \"name\": \"api\", \"argv\": \"ls -l\"}", STATUS_INVALID_ARGUMENT,
      "argv", "must be a list of text, not text" },
    { "{\"tenant\": \"acme\", \"name\": \"api\", \"argv\": [\"a\", \"b\", \"c\", 4]}",
      STATUS_INVALID_ARGUMENT, "argv[3]", "must be text, not a whole number" },
    { "{" GOOD ", \"argc\": 1}", STATUS_INVALID_ARGUMENT, "argc", "did you mean argv?" },
    { "{" GOOD ", \"evn\": {}}", STATUS_INVALID_ARGUMENT, "evn", "did you mean env?" },
    { "{" GOOD ", \"secret\": []}", STATUS_INVALID_ARGUMENT, "secret", "did you mean secrets?" },
    { "{" GOOD ", \"color\": 1}", STATUS_INVALID_ARGUMENT, "color", "unknown key \"color\"" },
    { "{" GOOD ", \"a\\u001bb\": 1}", STATUS_INVALID_ARGUMENT, "a\\x1bb", "unknown key" },
    { "{" GOOD ", \"code\": \"x\"}", STATUS_INVALID_ARGUMENT, "interpreter", "required with code" },
    { "{" GOOD ", \"code\": \"x\", \"interpreter\": \"\"}", STATUS_INVALID_ARGUMENT, "interpreter",
      "required with code" },
    { "{" GOOD ", \"code\": \"x\", \"interpreter\": [\"\"]}", STATUS_INVALID_ARGUMENT,
      "interpreter[0]", "must name a program" },
    { "{" GOOD ", \"code\": 1}", STATUS_INVALID_ARGUMENT, "code", "must be text" },
    { "{" GOOD ", \"interpreter\": \"sh\"}", STATUS_INVALID_ARGUMENT, "interpreter",
      "with code only" },
    { "{" GOOD ", \"interpreter\": {}}", STATUS_INVALID_ARGUMENT, "interpreter", "a list of text" },
    { "{" GOOD ", \"build\": \"cc {code}\"}", STATUS_INVALID_ARGUMENT, "build", "with code only" },
    { "{" GOOD ", \"build\": {}}", STATUS_INVALID_ARGUMENT, "build", "a list of text" },
    { "{" GOOD ", \"code\": \"x\", \"build\": [\"cc\"], \"interpreter\": \"sh\"}",
      STATUS_INVALID_ARGUMENT, "interpreter", "and build exclude each other" },
    { "{" GOOD ", \"code\": \"x\", \"build\": [\"\"]}", STATUS_INVALID_ARGUMENT, "build[0]",
      "a program's name" },
    { "{" GOOD ", \"code\": \"x\", \"build\": \"./cc {code}\"}", STATUS_INVALID_ARGUMENT,
      "build[0]", "its absolute path" },
    { "{\"tenant\": \"acme\", \"name\": \"api\", \"code\": \"x\", \"build\": \"cc\"}",
      STATUS_INVALID_ARGUMENT, "argv", "is required with build" },
    { "{" GOOD ", \"secrets\": [\"_DB\"]}", STATUS_INVALID_ARGUMENT, "secrets[0]", "must match" },
    { "{" GOOD ", \"secrets\": \"db\"}", STATUS_INVALID_ARGUMENT, "secrets", "a list" },
    { "{" GOOD ", \"secrets\": [{}]}", STATUS_INVALID_ARGUMENT, "secrets[0]", "have a name" },
    { "{" GOOD ", \"secrets\": [\"a\", {\"name\": \"a\"}]}", STATUS_INVALID_ARGUMENT, "secrets",
      "name a twice" },
    { "{" GOOD ", \"secrets\": [{\"name\": \"a\", \"version\": 0}]}", STATUS_INVALID_ARGUMENT,
      "secrets[0].version", "from 1" },
    { "{" GOOD ", \"secrets\": [{\"name\": \"a\", \"version\": \"new\"}]}", STATUS_INVALID_ARGUMENT,
      "secrets[0].version", "must be latest" },
    { "{" GOOD ", \"secrets\": [{\"name\": \"a\", \"as\": \"stdin\"}]}", STATUS_INVALID_ARGUMENT,
      "secrets[0].as", "file or env" },
    { "{" GOOD ", \"secrets\": [{\"name\": \"a\", \"required\": 1}]}", STATUS_INVALID_ARGUMENT,
      "secrets[0].required", "true or false" },
    { "{" GOOD ", \"secrets\": [{\"name\": \"a\", \"mode\": 1}]}", STATUS_INVALID_ARGUMENT,
      "secrets[0].mode", "unknown key" },
    { "{" GOOD ", \"secrets\": [{\"name\": \"9a\", \"as\": \"env\"}]}", STATUS_INVALID_ARGUMENT,
      "secrets[0]", "begin with a letter" },
    { "{" GOOD ", \"secrets\": [{\"name\": \"solo-x\", \"as\": \"env\"}]}", STATUS_INVALID_ARGUMENT,
      "secrets[0]", "sets itself" },
    { "{" GOOD ", \"secrets\": [{\"name\": \"path\", \"as\": \"env\"}]}", STATUS_INVALID_ARGUMENT,
      "secrets", "would be PATH" },
    { "{" GOOD ", \"env\": {\"A_B\": \"1\"}, \"secrets\": [{\"name\": \"a-b\", \"as\": \"env\"}]}",
      STATUS_INVALID_ARGUMENT, "env", "must not set A_B" },
    { "{" GOOD ", \"env\": {\"CREDENTIALS_DIRECTORY\": \"/\"}, \"secrets\": [\"a\"]}",
      STATUS_INVALID_ARGUMENT, "env", "must not set CREDENTIALS" },
    { "{" GOOD ", \"secrets\": [{\"name\": \"A.b\", \"as\": \"env\"}, {\"name\": \"a-b\", "
      "\"as\": \"env\"}]}",
      STATUS_INVALID_ARGUMENT, "secrets", "would both be A_B" },
    { "{" GOOD ", \"limits\": []}", STATUS_INVALID_ARGUMENT, "limits", "must be a map" },
    { "{" GOOD ", \"limits\": {\"disk\": 1}}", STATUS_INVALID_ARGUMENT, "limits.disk",
      "unknown key" },
    { "{" GOOD ", \"limits\": {\"memory\": \"lots\"}}", STATUS_INVALID_ARGUMENT, "limits.memory",
      "a size" },
    { "{" GOOD ", \"limits\": {\"memory\": \"1023KiB\"}}", STATUS_INVALID_ARGUMENT, "limits.memory",
      "from 1048576" },
    { "{" GOOD ", \"limits\": {\"memory\": 0}}", STATUS_INVALID_ARGUMENT, "limits.memory",
      "from 1048576" },
    { "{" GOOD ", \"limits\": {\"tasks\": 0}}", STATUS_INVALID_ARGUMENT, "limits.tasks", "from 1" },
    { "{" GOOD ", \"limits\": {\"tasks\": 4194305}}", STATUS_INVALID_ARGUMENT, "limits.tasks",
      "to 4194304" },
    { "{" GOOD ", \"limits\": {\"files\": 15}}", STATUS_INVALID_ARGUMENT, "limits.files",
      "from 16" },
    { "{" GOOD ", \"limits\": {\"cpu\": 0.001}}", STATUS_INVALID_ARGUMENT, "limits.cpu",
      "from 0.01 to 1024, not 0.001" },
    { "{" GOOD ", \"limits\": {\"cpu\": 0}}", STATUS_INVALID_ARGUMENT, "limits.cpu",
      "from 0.01 to 1024, not 0" },
    { "{" GOOD ", \"limits\": {\"cpu\": -2}}", STATUS_INVALID_ARGUMENT, "limits.cpu",
      "from 0.01 to 1024, not -2" },
    { "{" GOOD ", \"limits\": {\"cpu\": 1025}}", STATUS_INVALID_ARGUMENT, "limits.cpu",
      "to 1024, not 1025" },
    { "{" GOOD ", \"limits\": {\"cpu\": 1e300}}", STATUS_INVALID_ARGUMENT, "limits.cpu",
      "to 1024" },
    { "{" GOOD ", \"limits\": {\"cpu\": \"half\"}}", STATUS_INVALID_ARGUMENT, "limits.cpu",
      "a number of processors" },
    { "{" GOOD ", \"env\": []}", STATUS_INVALID_ARGUMENT, "env", "a map of text" },
    { "{" GOOD ", \"env\": {\"PATH\": 1}}", STATUS_INVALID_ARGUMENT, "env.PATH", "must be text" },
    { "{" GOOD ", \"env\": {\"1A\": \"\"}}", STATUS_INVALID_ARGUMENT, "env.1A", "must match" },
    { "{" GOOD ", \"env\": {\"\": \"\"}}", STATUS_INVALID_ARGUMENT, "env.", "must match" },
    { "{" GOOD ", \"env\": {\"A=B\": \"\"}}", STATUS_INVALID_ARGUMENT, "env.A=B", "must match" },
    { "{" GOOD ", \"env\": {\"SOLO_TENANT\": \"x\"}}", STATUS_INVALID_ARGUMENT, "env.SOLO_TENANT",
      "set by Solo itself" },
    { "{" GOOD ", \"working_dir\": \"srv\"}", STATUS_INVALID_ARGUMENT, "working_dir",
      "absolute path, not \"srv\"" },
    { "{" GOOD ", \"restart\": \"always\"}", STATUS_INVALID_ARGUMENT, "restart", "must be a map" },
    { "{" GOOD ", \"restart\": {\"policy\": \"maybe\"}}", STATUS_INVALID_ARGUMENT, "restart.policy",
      "not \"maybe\"" },
    { "{" GOOD ", \"restart\": {\"max\": \"5 parsecs\"}}", STATUS_INVALID_ARGUMENT, "restart.max",
      "a duration" },
    { "{" GOOD ", \"restart\": {\"initial\": \"5s\", \"max\": \"1s\"}}", STATUS_INVALID_ARGUMENT,
      "restart.max", "below restart.initial" },
    { "{" GOOD ", \"restart\": {\"initial\": 0}}", STATUS_INVALID_ARGUMENT, "restart.initial",
      "from 1" },
    { "{" GOOD ", \"restart\": {\"initial\": \"3d\"}}", STATUS_INVALID_ARGUMENT, "restart.initial",
      "to 1d, not 3d" },
    { "{" GOOD ", \"restart\": {\"window\": -1}}", STATUS_INVALID_ARGUMENT, "restart.window",
      "not -1" },
    { "{" GOOD ", \"restart\": {\"max_restarts\": 1.5}}", STATUS_INVALID_ARGUMENT,
      "restart.max_restarts", "a whole number" },
    { "{" GOOD ", \"restart\": {\"max_restarts\": -5}}", STATUS_INVALID_ARGUMENT,
      "restart.max_restarts", "not -5" },
    { "{" GOOD ", \"restart\": {\"max_restart\": 5}}", STATUS_INVALID_ARGUMENT,
      "restart.max_restart", "did you mean max_restarts?" },
    { "{" GOOD ", \"stop\": {\"signal\": \"NOPE\"}}", STATUS_INVALID_ARGUMENT, "stop.signal",
      "not \"NOPE\"" },
    { "{" GOOD ", \"stop\": {\"timeout\": \"2h\"}}", STATUS_INVALID_ARGUMENT, "stop.timeout",
      "from 0s to 1h" },
    { "{" GOOD ", \"ready\": {\"by\": \"tcp\"}}", STATUS_INVALID_ARGUMENT, "ready.port",
      "is required" },
    { "{" GOOD ", \"ready\": {\"by\": \"tcp\", \"port\": 65536}}", STATUS_INVALID_ARGUMENT,
      "ready.port", "from 1 to 65535" },
    { "{" GOOD ", \"ready\": {\"port\": 80}}", STATUS_INVALID_ARGUMENT, "ready.port", "tcp only" },
    { "{" GOOD ", \"ready\": {\"by\": \"exec\"}}", STATUS_INVALID_ARGUMENT, "ready.argv",
      "is required" },
    { "{" GOOD ", \"ready\": {\"by\": \"exec\", \"argv\": [\"\"]}}", STATUS_INVALID_ARGUMENT,
      "ready.argv[0]", "must name a program" },
    { "{" GOOD ", \"ready\": {\"by\": \"notify\", \"argv\": [\"true\"]}}", STATUS_INVALID_ARGUMENT,
      "ready.argv", "exec only" },
    { "{" GOOD ", \"ready\": {\"by\": \"luck\"}}", STATUS_INVALID_ARGUMENT, "ready.by",
      "not \"luck\"" },
    { "{" GOOD ", \"ready\": {\"timeout\": 0}}", STATUS_INVALID_ARGUMENT, "ready.timeout",
      "from 1" },
    { "{" GOOD ", \"logs\": {\"max_size\": \"10MB\"}}", STATUS_INVALID_ARGUMENT, "logs.max_size",
      "not \"10MB\"" },
    { "{" GOOD ", \"logs\": {\"max_size\": 10}}", STATUS_INVALID_ARGUMENT, "logs.max_size",
      "from 4096" },
    { "{" GOOD ", \"logs\": {\"max_size\": \"99999999999999999999GiB\"}}", STATUS_INVALID_ARGUMENT,
      "logs.max_size", "a size" },
    { "{" GOOD ", \"logs\": {\"max_size\": true}}", STATUS_INVALID_ARGUMENT, "logs.max_size",
      "not true or false" },
    { "{" GOOD ", \"logs\": {\"files\": 0}}", STATUS_INVALID_ARGUMENT, "logs.files", "from 1" },
    { "{" GOOD ", \"logs\": null}", STATUS_INVALID_ARGUMENT, "logs", "must be a map, not null" },
};

Test(spec, each_refusal_names_field_and_rule)
{
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct spec spec = { .tenant = "untouched" };
        struct problem problem = { 0 };
        enum status status = decode(refusals[i].json, &spec, &problem);
        cr_expect_eq(status, refusals[i].status, "%s: %s", refusals[i].json, status_name(status));
        cr_expect_eq(problem.code, status);
        cr_expect_str_eq(problem.field, refusals[i].field, "%s", refusals[i].json);
        cr_expect_not_null(strstr(problem.message, refusals[i].rule), "%s: %s", refusals[i].json,
                           problem.message);
        cr_expect_str_eq(spec.tenant, "untouched");
    }
}

/* What JSON cannot say. */
static enum status decode_packed(const struct buffer *map, struct problem *problem)
{
    struct spec spec;
    return spec_decode(buffer_span(map), &arena, &spec, problem);
}

static void write_good(struct buffer *map, size_t more)
{
    write_map(map, 3 + more);
    write_str(map, "tenant");
    write_str(map, "acme");
    write_str(map, "name");
    write_str(map, "api");
    write_str(map, "argv");
    write_array(map, 1);
    write_str(map, "true");
}

Test(spec, a_key_that_stands_twice_is_refused)
{
    AUTO(buffer_close) struct buffer map = { .limit = 1024 };
    struct problem problem = { 0 };
    write_good(&map, 1);
    write_str(&map, "name");
    write_str(&map, "api");
    cr_assert_eq(decode_packed(&map, &problem), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "name");
    cr_assert_not_null(strstr(problem.message, "twice"));
}

Test(spec, an_environment_key_that_stands_twice_is_refused)
{
    AUTO(buffer_close) struct buffer map = { .limit = 1024 };
    struct problem problem = { 0 };
    write_good(&map, 1);
    write_str(&map, "env");
    write_map(&map, 3);
    static const char *const keys[] = { "KEY", "OTHER", "KEY" };
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        write_str(&map, keys[i]);
        write_str(&map, "");
    }
    cr_assert_eq(decode_packed(&map, &problem), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "env.KEY");
}

Test(spec, nul_in_text_is_refused_and_a_value_of_env_is_never_shown)
{
    AUTO(buffer_close) struct buffer map = { .limit = 1024 };
    struct problem problem = { 0 };
    write_good(&map, 1);
    write_str(&map, "env");
    write_map(&map, 1);
    write_str(&map, "KEY");
    write_text(&map, span_of("hunter2\0", 8));
    cr_assert_eq(decode_packed(&map, &problem), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "env.KEY");
    cr_assert_null(strstr(problem.message, "hunter2"));
}

Test(spec, text_that_is_not_utf8_is_refused)
{
    AUTO(buffer_close) struct buffer map = { .limit = 1024 };
    struct problem problem = { 0 };
    write_good(&map, 1);
    write_str(&map, "working_dir");
    write_text(&map, span_of("/\xff", 2));
    cr_assert_eq(decode_packed(&map, &problem), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "working_dir");
}

Test(spec, what_follows_the_map_is_refused)
{
    AUTO(buffer_close) struct buffer map = { .limit = 1024 };
    struct problem problem = { 0 };
    write_good(&map, 0);
    write_nil(&map);
    cr_assert_eq(decode_packed(&map, &problem), STATUS_INVALID_ARGUMENT);
}

Test(spec, every_cut_is_refused)
{
    AUTO(buffer_close) struct buffer map = { .limit = 1024 };
    write_good(&map, 0);
    for (size_t size = 0; size < map.size; size++) {
        struct spec spec;
        cr_assert_eq(spec_decode(span_of(map.data, size), &arena, &spec, NULL),
                     STATUS_INVALID_ARGUMENT);
    }
}

Test(spec, lists_and_texts_are_bounded)
{
    AUTO(buffer_close) struct buffer map = { .limit = 2 * 1024 * 1024 };
    struct problem problem = { 0 };
    write_map(&map, 1);
    write_str(&map, "argv");
    write_array(&map, SPEC_LIST_MAX + 1);
    for (size_t i = 0; i < SPEC_LIST_MAX + 1; i++)
        write_str(&map, "x");
    cr_assert_eq(decode_packed(&map, &problem), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "argv");

    char *text = arena_alloc(&arena, SPEC_CODE_BYTES_MAX + 2);
    memset(text, 'x', SPEC_CODE_BYTES_MAX + 1);
    buffer_clear(&map);
    write_map(&map, 1);
    write_str(&map, "code");
    write_str(&map, text);
    cr_assert_eq(decode_packed(&map, &problem), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "code");

    text[SPEC_TEXT_BYTES_MAX + 1] = '\0';
    buffer_clear(&map);
    write_map(&map, 1);
    write_str(&map, "argv");
    write_array(&map, 2);
    write_str(&map, "ok");
    write_str(&map, text);
    cr_assert_eq(decode_packed(&map, &problem), STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "argv[1]");
}

Test(spec, the_whole_is_bounded_so_that_its_canonical_form_fits)
{
    AUTO(buffer_close) struct buffer map = { .limit = 8 * 1024 * 1024 };
    struct problem problem = { 0 };
    char *text = arena_alloc(&arena, SPEC_TEXT_BYTES_MAX + 1);
    memset(text, 'x', SPEC_TEXT_BYTES_MAX);
    for (size_t count = 40; count < 48; count++) { /* 704 KiB lie between */
        buffer_clear(&map);
        write_map(&map, 3);
        write_str(&map, "tenant");
        write_str(&map, "acme");
        write_str(&map, "name");
        write_str(&map, "api");
        write_str(&map, "argv");
        write_array(&map, count);
        for (size_t i = 0; i < count; i++)
            write_str(&map, text);
        struct spec spec;
        enum status status = spec_decode(buffer_span(&map), &arena, &spec, &problem);
        cr_assert_eq(status, count < 44 ? STATUS_OK : STATUS_INVALID_ARGUMENT, "%zu", count);
        AUTO(buffer_close) struct buffer canonical = { .limit = SPEC_BYTES_MAX };
        if (status == STATUS_OK)
            cr_assert_eq(spec_encode(&spec, &canonical), STATUS_OK);
    }
    cr_assert_not_null(strstr(problem.message, "at most"));
}

Test(spec, an_arena_that_is_full_is_no_refusal_of_the_spec)
{
    AUTO(buffer_close) struct buffer map = { .limit = 1024 };
    write_good(&map, 0);
    AUTO(arena_close) struct arena small = { .limit = 8 };
    struct spec spec;
    struct problem problem = { 0 };
    cr_assert_eq(spec_decode(buffer_span(&map), &small, &spec, &problem),
                 STATUS_RESOURCE_EXHAUSTED);
}

Test(spec, encoding_into_a_full_buffer_says_so)
{
    struct spec spec = decode_well("{" GOOD "}");
    AUTO(buffer_close) struct buffer small = { .limit = 40 };
    cr_assert_eq(spec_encode(&spec, &small), STATUS_RESOURCE_EXHAUSTED);
}

Test(spec, the_canonical_form_does_not_depend_on_how_it_was_written)
{
    struct spec a = decode_well("{" GOOD ", \"env\": {\"A\": \"1\", \"B\": \"2\"},"
                                " \"stop\": {\"signal\": \"SIGTERM\", \"timeout\": \"5s\"}}");
    struct spec b =
        decode_well("{\"env\": {\"B\": \"2\", \"A\": \"1\"}, \"stop\": {\"timeout\": 5000},"
                    " \"logs\": {\"max_size\": \"10MiB\"}, " GOOD "}");
    AUTO(buffer_close) struct buffer first = { .limit = SPEC_BYTES_MAX };
    AUTO(buffer_close) struct buffer second = { .limit = SPEC_BYTES_MAX };
    cr_assert_eq(spec_encode(&a, &first), STATUS_OK);
    cr_assert_eq(spec_encode(&b, &second), STATUS_OK);
    cr_assert(span_equal(buffer_span(&first), buffer_span(&second)));
    struct hash hash = spec_hash(buffer_span(&first)), same = spec_hash(buffer_span(&second));
    cr_assert(hash_equal(&hash, &same));
}

static void assert_command(const char *json, const char *expected)
{
    struct spec spec = decode_well(json);
    struct str_list command;
    cr_assert_eq(spec_command(&spec, &(struct spec_files){ "/run/code", NULL }, &arena, &command),
                 STATUS_OK);
    char joined[256] = "";
    for (size_t i = 0; i < command.count; i++) {
        strcat(joined, i == 0 ? "" : "|");
        strcat(joined, command.items[i]);
    }
    cr_assert_str_eq(joined, expected);
    cr_assert_null(command.items[command.count]);
}

static bool says_limits(const char *json, struct hash *hash)
{
    AUTO(buffer_close) struct buffer canonical = { .limit = SPEC_BYTES_MAX };
    struct spec spec = decode_well(json);
    cr_assert_eq(spec_encode(&spec, &canonical), STATUS_OK);
    *hash = spec_hash(buffer_span(&canonical));
    return memmem(canonical.data, canonical.size, "limits", strlen("limits")) != NULL;
}

/* Specs that were stored before there were limits keep their hash. */
Test(spec, limits_that_are_not_given_are_not_in_the_canonical_form)
{
    struct hash none, empty, same, other;
    cr_assert_not(says_limits("{" GOOD "}", &none));
    cr_assert_not(says_limits("{" GOOD ", \"limits\": {}}", &empty));
    cr_assert(hash_equal(&none, &empty));
    cr_assert(says_limits("{" GOOD ", \"limits\": {\"cpu\": 1, \"memory\": \"1MiB\"}}", &none));
    cr_assert(says_limits("{" GOOD ", \"limits\": {\"memory\": 1048576, \"cpu\": 1.0}}", &same));
    cr_assert(hash_equal(&none, &same));
    cr_assert(says_limits("{" GOOD ", \"limits\": {\"memory\": 1048577, \"cpu\": 1.0}}", &other));
    cr_assert_not(hash_equal(&none, &other));
}

Test(spec, the_command_puts_the_code_where_it_belongs)
{
    assert_command("{" GOOD "}", "true");
    assert_command(
        "{\"tenant\": \"a\", \"name\": \"b\", \"argv\": [\"sh\", \"-c\", \"echo ${code}\"]}",
        "sh|-c|echo ${code}");
    assert_command(
        "{\"tenant\": \"a\", \"name\": \"b\", \"code\": \"x\", \"interpreter\": \"python3\","
        " \"argv\": [\"8080\"]}",
        "python3|/run/code|8080");
    assert_command(
        "{\"tenant\": \"a\", \"name\": \"b\", \"code\": \"x\", \"interpreter\": \"python3\"}",
        "python3|/run/code");
    assert_command("{\"tenant\": \"a\", \"name\": \"b\", \"code\": \"x\","
                   " \"interpreter\": [\"perl\", \"{code}\", \"-w\"], \"argv\": [\"1\"]}",
                   "perl|/run/code|-w|1");
    assert_command("{\"tenant\": \"a\", \"name\": \"b\", \"code\": \"x\", \"interpreter\": \"awk\","
                   " \"argv\": [\"-f\", \"{code}\", \"a{code}b{code}\"]}",
                   "awk|-f|/run/code|a/run/codeb/run/code");
}
