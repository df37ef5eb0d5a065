#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/spec/spec_json.h"
#include "common/wire/writer.h"
#include "deployd/admission.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

static struct deployd deployd;
static struct buffer map = { .limit = SPEC_BYTES_MAX };
static struct admitted admitted;
static struct problem problem;
static const struct caller operator_caller = { .kind = CALLER_OPERATOR };

static void begin(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    snprintf(deployd.settings.data_dir, sizeof deployd.settings.data_dir, "%s",
             scratch_path("data"));
}

static void end(void)
{
    buffer_close(&map);
    buffer_close(&admitted.canonical);
    scratch_remove();
}

TestSuite(admission, .init = begin, .fini = end);

static enum status decode(const struct caller *caller, const char *json)
{
    buffer_clear(&map);
    buffer_close(&admitted.canonical);
    problem = (struct problem){ 0 };
    cr_assert_eq(spec_from_json(span_of_text(json), &map, &problem), STATUS_OK);
    return admission_decode(caller, buffer_span(&map), &admitted, &problem);
}

static enum status look(const char *json)
{
    cr_assert_eq(decode(&operator_caller, json), STATUS_OK, "%s: %s", problem.field,
                 problem.message);
    return admission_program(&deployd, buffer_span(&admitted.canonical), &problem);
}

Test(admission, makes_the_canonical_form_and_its_hash)
{
    cr_assert_eq(decode(&operator_caller,
                        "{\"tenant\": \"acme\", \"name\": \"api\", \"argv\": [\"sleep\", \"1\"]}"),
                 STATUS_OK);
    cr_assert_str_eq(admitted.tenant, "acme");
    cr_assert_str_eq(admitted.name, "api");
    struct hash first = admitted.hash;
    cr_assert_eq(decode(&operator_caller,
                        "{\"argv\": [\"sleep\", \"1\"], \"name\": \"api\", \"tenant\": \"acme\"}"),
                 STATUS_OK);
    cr_assert(hash_equal(&first, &admitted.hash), "the order of the keys does not matter");
    cr_assert_eq(decode(&operator_caller,
                        "{\"argv\": [\"sleep\", \"2\"], \"name\": \"api\", \"tenant\": \"acme\"}"),
                 STATUS_OK);
    cr_assert_not(hash_equal(&first, &admitted.hash));
}

Test(admission, refuses_a_bad_spec_with_its_place)
{
    cr_assert_eq(
        decode(&operator_caller, "{\"tenant\": \"acme\", \"name\": \"Api\", \"argv\": [\"x\"]}"),
        STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(problem.field, "name");
}

Test(admission, a_token_deploys_for_its_own_tenant_only)
{
    struct caller caller = { .kind = CALLER_TOKEN, .tenant = "acme" };
    cr_assert_eq(decode(&caller, "{\"tenant\": \"acme\", \"name\": \"a\", \"argv\": [\"x\"]}"),
                 STATUS_OK);
    cr_assert_eq(decode(&caller, "{\"tenant\": \"beta\", \"name\": \"a\", \"argv\": [\"x\"]}"),
                 STATUS_UNAUTHENTICATED);
    cr_assert_str_eq(problem.field, "token");
}

Test(admission, finds_programs_in_the_path_of_the_spec)
{
    char json[4096];
    cr_assert_eq(look("{\"tenant\": \"acme\", \"name\": \"a\", \"argv\": [\"sh\"]}"), STATUS_OK);
    cr_assert_eq(look("{\"tenant\": \"acme\", \"name\": \"a\", \"argv\": [\"own\"]}"),
                 STATUS_FAILED_PRECONDITION);
    cr_assert_str_eq(problem.field, "argv[0]");
    cr_assert_not_null(strstr(problem.message, "own not found in PATH"));
    cr_assert_eq(directory_make(scratch_path("bin"), 0755), STATUS_OK);
    cr_assert_eq(file_write(scratch_path("bin/own"), span_of_text("#!/bin/sh\n"), 0755), STATUS_OK);
    snprintf(json, sizeof json,
             "{\"tenant\": \"acme\", \"name\": \"a\", \"argv\": [\"own\"], "
             "\"env\": {\"PATH\": \"%s\"}}",
             scratch_path("bin"));
    cr_assert_eq(look(json), STATUS_OK);
    chmod(scratch_path("bin/own"), 0644);
    cr_assert_eq(look(json), STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(problem.message, "cannot be executed"));
}

Test(admission, names_the_interpreter_of_code)
{
    cr_assert_eq(look("{\"tenant\": \"acme\", \"name\": \"a\", \"code\": \"print(1)\", "
                      "\"interpreter\": \"python99\", \"argv\": []}"),
                 STATUS_FAILED_PRECONDITION);
    cr_assert_str_eq(problem.field, "interpreter");
    cr_assert_eq(look("{\"tenant\": \"acme\", \"name\": \"a\", \"code\": \"exit 0\", "
                      "\"interpreter\": \"sh\", \"argv\": []}"),
                 STATUS_OK);
}

Test(admission, looks_for_relative_programs_in_the_services_own_folder)
{
    const char *json = "{\"tenant\": \"acme\", \"name\": \"a\", \"argv\": [\"./own\"]}";
    cr_assert_eq(look(json), STATUS_FAILED_PRECONDITION);
    cr_assert_eq(directory_make(scratch_path("data/tenants/acme/a"), 0755), STATUS_OK);
    cr_assert_eq(
        file_write(scratch_path("data/tenants/acme/a/own"), span_of_text("#!/bin/sh\n"), 0755),
        STATUS_OK);
    cr_assert_eq(look(json), STATUS_OK);
}
