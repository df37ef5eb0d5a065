#include "soloctl/deployment.h"

#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/spec/spec.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "tests/support/criterion.h"
#include "tests/unit/soloctl/captured.h"

static struct arguments arguments;
static const struct target target = { "demo", "web", "demo/web" };

static enum status pack(const char *const *words, const char *code, struct buffer *spec,
                        struct problem *problem)
{
    int count = 3;
    static char *argv[64] = { (char *)"soloctl", (char *)"deploy", (char *)"demo/web" };
    for (; *words != NULL; words++)
        argv[count++] = (char *)*words;
    argv[count] = NULL;
    TRY(arguments_parse(commands, command_count, count, argv, &arguments, problem));
    return deployment_pack(&arguments, &target, span_of_text(code), spec, problem);
}
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

Test(deployment, flags_become_the_spec_that_they_say)
{
    AUTO(buffer_close) struct buffer packed = { .limit = SPEC_BYTES_MAX };
    AUTO(arena_close) struct arena arena = { .limit = 1 << 20 };
    struct problem problem = { 0 };
    struct spec spec;
    cr_assert_eq(pack(WORDS("--code", "server.py", "--interpreter", "python3", "--env", "A=1",
                            "--env", "B=x=y", "--restart", "never", "--", "8080", "--v"),
                      "print(1)", &packed, &problem),
                 STATUS_OK, "%s", problem.message);
    cr_assert_eq(spec_decode(buffer_span(&packed), &arena, &spec, &problem), STATUS_OK, "%s: %s",
                 problem.field, problem.message);
    cr_assert_str_eq(spec.tenant, "demo");
    cr_assert_str_eq(spec.name, "web");
    cr_assert(span_equal(spec.code, span_of_text("print(1)")));
    cr_assert_str_eq(spec.interpreter.items[0], "python3");
    cr_assert_eq(spec.argv.count, 2);
    cr_assert_str_eq(spec.argv.items[1], "--v");
    cr_assert_eq(spec.env_count, 2);
    cr_assert_str_eq(spec.env[1].value, "x=y");
    cr_assert_eq(spec.restart.policy, RESTART_NEVER);
    cr_assert_eq(spec.restart.max_restarts, 5, "what was not said keeps its default");
}

Test(deployment, secrets_are_named_one_by_one)
{
    AUTO(buffer_close) struct buffer packed = { .limit = SPEC_BYTES_MAX };
    AUTO(arena_close) struct arena arena = { .limit = 1 << 20 };
    struct problem problem = { 0 };
    struct spec spec;
    cr_assert_eq(
        pack(WORDS("--secret", "db", "--secret", "cert", "--", "x"), "", &packed, &problem),
        STATUS_OK);
    cr_assert_eq(spec_decode(buffer_span(&packed), &arena, &spec, &problem), STATUS_OK);
    cr_assert_eq(spec.secret_count, 2);
    cr_assert_str_eq(spec.secrets[0].name, "cert", "sorted");
    cr_assert_eq(spec.secrets[1].version, 0);
}

Test(deployment, a_build_is_one_line_that_is_split_at_blanks)
{
    AUTO(buffer_close) struct buffer packed = { .limit = SPEC_BYTES_MAX };
    AUTO(arena_close) struct arena arena = { .limit = 1 << 20 };
    struct problem problem = { 0 };
    struct spec spec;
    cr_assert_eq(pack(WORDS("--code", "x.c", "--build", "cc  -O2 -o {out}\t{code} ", "--", "{out}"),
                      "int main;", &packed, &problem),
                 STATUS_OK);
    cr_assert_eq(spec_decode(buffer_span(&packed), &arena, &spec, &problem), STATUS_OK, "%s",
                 problem.message);
    cr_assert_eq(spec.build.count, 5);
    cr_assert_str_eq(spec.build.items[0], "cc");
    cr_assert_str_eq(spec.build.items[4], "{code}");
    cr_assert_str_eq(spec.argv.items[0], "{out}");
}

Test(deployment, an_environment_without_equals_is_usage)
{
    AUTO(buffer_close) struct buffer packed = { .limit = SPEC_BYTES_MAX };
    struct problem problem = { 0 };
    cr_assert_eq(pack(WORDS("--env", "PATH", "--", "x"), "", &packed, &problem), STATUS_USAGE);
    cr_assert_str_eq(problem.message, "--env PATH: must be KEY=VALUE");
}

Test(deployment, a_spec_past_its_bound_is_refused_before_it_is_sent)
{
    AUTO(buffer_close) struct buffer packed = { .limit = 64 };
    struct problem problem = { 0 };
    cr_assert_eq(pack(WORDS("--env", "A=0123456789012345678901234567890123456789", "--", "x"), "",
                      &packed, &problem),
                 STATUS_INVALID_ARGUMENT);
}

Test(deployment, a_reply_reads_as_a_sentence_and_as_a_document)
{
    struct service_deploy_reply reply = { .tenant = "demo",
                                          .name = "web",
                                          .event_id = 12,
                                          .generation = 12,
                                          .state = "running",
                                          .pid = 4711,
                                          .isolation = "none (one uid)" };
    capture(STDOUT_FILENO);
    deployment_print("demo/web", &reply);
    reply.unchanged = true;
    reply.pid = 0;
    reply.state = "backoff";
    deployment_print("demo/web", &reply);
    cr_assert_str_eq(captured_text(), "demo/web deployed: generation 12, running, pid 4711\n"
                                      "demo/web unchanged: generation 12, backoff\n");
    AUTO(item_close) struct item item = ITEM_EMPTY;
    deployment_item(&target, &reply, &item);
    capture(STDOUT_FILENO);
    document_print(FORMAT_JSON, &item, "demo/web");
    json_t *json = captured_json();
    cr_assert_str_eq(json_string_value(json_object_get(json, "kind")), "deployment");
    cr_assert_str_eq(json_string_value(json_object_get(json, "tenant")), "demo");
    cr_assert_str_eq(json_string_value(json_object_get(json, "name")), "web");
    cr_assert_eq(json_integer_value(json_object_get(json, "generation")), 12);
    cr_assert_eq(json_integer_value(json_object_get(json, "event_id")), 12);
    cr_assert_str_eq(json_string_value(json_object_get(json, "state")), "backoff");
    cr_assert(json_is_null(json_object_get(json, "pid")));
    json_decref(json);
}

Test(deployment, missing_isolation_is_said)
{
    capture(STDERR_FILENO);
    deployment_isolation_note("uid per tenant, pid and mount namespace");
    cr_assert_str_eq(captured_text(), "");
    deployment_isolation_note("none (one uid)");
    cr_assert_not_null(strstr(captured_text(), "isolation: none (one uid)"));
}
