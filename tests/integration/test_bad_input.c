/* Every refusal names field, rule and place, changes nothing and logs once. */
#include "common/base/limits.h"
#include "tests/support/expect.h"

TestSuite(bad_input, .timeout = 120);

static const struct {
    const char *what;
    const char *spec;
    enum status status;
    const char *field; /* NULL: any */
} specs[] = {
    { "an unknown key", "{'tenant':'acme','name':'x','argv':['/bin/true'],'comand':1}",
      STATUS_INVALID_ARGUMENT, "comand" },
    { "no tenant", "{'name':'x','argv':['/bin/true']}", STATUS_INVALID_ARGUMENT, "tenant" },
    { "no name", "{'tenant':'acme','argv':['/bin/true']}", STATUS_INVALID_ARGUMENT, "name" },
    { "a number as a name", "{'tenant':'acme','name':7,'argv':['/bin/true']}",
      STATUS_INVALID_ARGUMENT, "name" },
    { "capitals", "{'tenant':'Acme','name':'x','argv':['/bin/true']}", STATUS_INVALID_ARGUMENT,
      "tenant" },
    { "a slash", "{'tenant':'acme','name':'../x','argv':['/bin/true']}", STATUS_INVALID_ARGUMENT,
      "name" },
    { "64 letters",
      "{'tenant':'acme','name':"
      "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','argv':['/bin/true']}",
      STATUS_INVALID_ARGUMENT, "name" },
    { "an empty name", "{'tenant':'acme','name':'','argv':['/bin/true']}", STATUS_INVALID_ARGUMENT,
      "name" },
    { "nothing to run", "{'tenant':'acme','name':'x'}", STATUS_INVALID_ARGUMENT, "argv" },
    { "an empty argv", "{'tenant':'acme','name':'x','argv':[]}", STATUS_INVALID_ARGUMENT, "argv" },
    { "text for argv", "{'tenant':'acme','name':'x','argv':'/bin/true'}", STATUS_INVALID_ARGUMENT,
      "argv" },
    { "a number in argv", "{'tenant':'acme','name':'x','argv':['/bin/true',3]}",
      STATUS_INVALID_ARGUMENT, "argv[1]" },
    { "a number in env", "{'tenant':'acme','name':'x','argv':['/bin/true'],'env':{'A':3}}",
      STATUS_INVALID_ARGUMENT, "env.A" },
    { "an env key with =", "{'tenant':'acme','name':'x','argv':['/bin/true'],'env':{'A=B':'3'}}",
      STATUS_INVALID_ARGUMENT, NULL },
    { "another policy",
      "{'tenant':'acme','name':'x','argv':['/bin/true'],'restart':{'policy':'sometimes'}}",
      STATUS_INVALID_ARGUMENT, "restart.policy" },
    { "an unknown key in restart",
      "{'tenant':'acme','name':'x','argv':['/bin/true'],'restart':{'polcy':'never'}}",
      STATUS_INVALID_ARGUMENT, "restart.polcy" },
    { "no duration",
      "{'tenant':'acme','name':'x','argv':['/bin/true'],'stop':{'timeout':'5 years'}}",
      STATUS_INVALID_ARGUMENT, "stop.timeout" },
    { "no signal", "{'tenant':'acme','name':'x','argv':['/bin/true'],'stop':{'signal':'LOUD'}}",
      STATUS_INVALID_ARGUMENT, "stop.signal" },
    { "a relative directory",
      "{'tenant':'acme','name':'x','argv':['/bin/true'],'working_dir':'here'}",
      STATUS_INVALID_ARGUMENT, "working_dir" },
    { "a directory that is not there",
      "{'tenant':'acme','name':'x','argv':['/bin/true'],'working_dir':'/no/such/place'}",
      STATUS_FAILED_PRECONDITION, "working_dir" },
    { "a file for a directory",
      "{'tenant':'acme','name':'x','argv':['/bin/true'],'working_dir':'/etc/passwd'}",
      STATUS_FAILED_PRECONDITION, "working_dir" },
    { "code without interpreter", "{'tenant':'acme','name':'x','code':'print(1)'}",
      STATUS_INVALID_ARGUMENT, NULL },
    { "interpreter without code",
      "{'tenant':'acme','name':'x','interpreter':'sh','argv':['/bin/true']}",
      STATUS_INVALID_ARGUMENT, NULL },
    { "a secret's name with a blank",
      "{'tenant':'acme','name':'x','argv':['/bin/true'],'secrets':['no name']}",
      STATUS_INVALID_ARGUMENT, "secrets[0]" },
    { "a limit below the least",
      "{'tenant':'acme','name':'x','argv':['/bin/true'],'limits':{'memory':'1KiB'}}",
      STATUS_INVALID_ARGUMENT, "limits.memory" },
};

static json_t *json_of(const char *text)
{
    char quoted[8192];
    snprintf(quoted, sizeof quoted, "%s", text);
    for (char *c = quoted; *c != '\0'; c++)
        if (*c == '\'')
            *c = '"';
    json_error_t error;
    json_t *value = json_loads(quoted, 0, &error);
    cr_assert_not_null(value, "%s: %s", text, error.text);
    return value;
}

/* What the daemons have said of requests: they say other things, too, whenever they have to. */
static size_t lines_about_requests(const struct testbed *bed)
{
    return testbed_log_count(bed, "msg=refused") + testbed_log_count(bed, " status=");
}

Test(bad_input, a_bad_spec_is_refused_at_its_place_and_changes_nothing)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "bystander");
    uint64_t last = log_settled_id(&bed);
    for (size_t i = 0; i < COUNT_OF(specs); i++) {
        struct problem problem = { 0 };
        size_t lines = lines_about_requests(&bed);
        enum status status = service_try_deploy(&bed, json_of(specs[i].spec), NULL, &problem);
        cr_expect_eq(status, specs[i].status, "%s: %s (%s: %s)", specs[i].what, status_name(status),
                     problem.field, problem.message);
        cr_expect_neq(problem.message[0], '\0', "%s: no words", specs[i].what);
        if (specs[i].field != NULL) {
            const char *field = problem.field;
            if (strncmp(field, "spec.", 5) == 0)
                field += 5;
            cr_expect_str_eq(field, specs[i].field, "%s: at \"%s\": %s", specs[i].what,
                             problem.field, problem.message);
        }
        sleep_ms(5);
        size_t logged = lines_about_requests(&bed) - lines;
        cr_expect_leq(logged, 1, "%s: logged %zu times", specs[i].what, logged);
    }
    cr_assert_eq(log_last_id(&bed), last, "a refusal changed the log");
    json_t *rows = service_rows(&bed);
    cr_assert_eq(json_array_size(rows), 1);
    json_decref(rows);
    printf("%zu bad specs refused\n", COUNT_OF(specs));
}

Test(bad_input, a_request_that_its_checks_refuse_is_logged_once)
{
    static const struct {
        const char *daemon, *method, *params, *line;
    } cases[] = {
        { "eventd", "event.query", "{'limti':1}",
          "method=event.query status=invalid_argument field=limti" },
        { "deployd", "service.kill", "{'tenant':1,'name':'x'}",
          "method=service.kill status=invalid_argument field=tenant" },
        { "tokend", "token.nonsense", "{}", "status=not_found field=method" },
        { "vaultd", "vault.status", "{'token':'no token'}",
          "method=vault.status status=unauthenticated" },
        { "deployd", "service.kill", "{'tenant':'nope','name':'nope'}",
          "msg=refused method=service.kill tenant=nope name=nope" },
        { "deployd", "service.restart", "{'tenant':'nope','name':'nope'}",
          "msg=refused method=service.restart tenant=nope name=nope" },
    };
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct problem problem = { 0 };
        size_t lines = lines_about_requests(&bed);
        cr_assert_neq(testbed_call(&bed, cases[i].daemon, cases[i].method, json_of(cases[i].params),
                                   NULL, &problem),
                      STATUS_OK);
        cr_expect_eq(testbed_log_count(&bed, cases[i].line), 1, "no line %s", cases[i].line);
        cr_expect_eq(lines_about_requests(&bed) - lines, 1, "%s", cases[i].line);
    }
}

Test(bad_input, refusals_do_not_fill_the_log)
{
    enum { REQUESTS = 1000 };
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(buffer_close) struct buffer frames = { .limit = 1 << 20 };
    struct caller caller;
    char path[4096];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    json_t *params = json_of("{'tenant':'nope','name':'nope'}");
    for (uint64_t i = 0; i < REQUESTS; i++)
        caller_pack(&frames, i, "service.kill", params);
    json_decref(params);
    cr_assert_eq(caller_open(&caller, testbed_socket(&bed, "deployd", path)), STATUS_OK);
    cr_assert(caller_send(&caller, buffer_span(&frames)));
    for (int i = 0; i < REQUESTS; i++) {
        json_t *answer = caller_receive(&caller, 60000, NULL);
        cr_assert_not_null(answer);
        json_decref(answer);
    }
    caller_close(&caller);
    size_t lines = testbed_log_count(&bed, "msg=refused");
    cr_assert_geq(lines, 1);
    cr_assert_lt(lines, REQUESTS / 2, "%zu lines", lines);
}

/* With the names as they were given, also when they are what is wrong. */
Test(bad_input, a_refused_deploy_is_logged_once_with_its_names)
{
    static const struct {
        const char *spec, *line;
    } cases[] = {
        { "{'tenant':'acme','name':'unknown-key','argv':['/bin/true'],'comand':1}",
          "tenant=acme name=unknown-key field=comand" },
        { "{'tenant':'ACME','name':'capitals','argv':['/bin/true']}",
          "tenant=ACME name=capitals field=tenant" },
        { "{'tenant':'acme','name':'No_Name','argv':['/bin/true']}",
          "tenant=acme name=No_Name field=name" },
    };
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct problem problem = { 0 };
        size_t refusals = testbed_log_count(&bed, "msg=refused");
        cr_assert_eq(service_try_deploy(&bed, json_of(cases[i].spec), NULL, &problem),
                     STATUS_INVALID_ARGUMENT);
        cr_assert_eq(testbed_log_count(&bed, cases[i].line), 1, "no line %s", cases[i].line);
        cr_assert_eq(testbed_log_count(&bed, "msg=refused") - refusals, 1, "%s", cases[i].line);
    }
    cr_assert_eq(testbed_log_count(&bed, "tenant=\"\""), 0);
}

/* It is refused before anything is deployed, by a question that changes nothing. */
Test(bad_input, a_refused_apply_is_logged_once_for_each_spec)
{
    static const char refused[] =
        "[{\"tenant\":\"acme\",\"name\":\"good\",\"argv\":[\"/bin/sleep\",\"1000000\"]},"
        "{\"tenant\":\"acme\",\"name\":\"bad\",\"argv\":[\"no-such-program\"]},"
        "{\"tenant\":\"acme\",\"name\":\"worse\",\"code\":\"x\",\"interpreter\":\"no-such\"}]";
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t last = log_settled_id(&bed);
    testbed_soloctl_input(&bed, &result, refused, "apply", "-f", "-", NULL);
    expect_exit(&result, 6);
    cr_assert_eq(testbed_log_count(&bed, "msg=refused"), 2);
    cr_assert_eq(testbed_log_count(&bed, "tenant=acme name=bad field=argv[0]"), 1);
    cr_assert_eq(testbed_log_count(&bed, "tenant=acme name=worse field=interpreter"), 1);
    cr_assert_eq(log_last_id(&bed), last, "nothing has changed");
}

Test(bad_input, code_that_is_too_big_is_refused)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t last = log_settled_id(&bed);
    size_t size = SPEC_CODE_BYTES_MAX + 1;
    char *code = malloc(size + 1);
    cr_assert_not_null(code);
    memset(code, '#', size);
    code[size] = '\0';
    struct problem problem = { 0 };
    enum status status =
        service_try_deploy(&bed,
                           json_pack("{s:s, s:s, s:s, s:s}", "tenant", "acme", "name", "big",
                                     "interpreter", "sh", "code", code),
                           NULL, &problem);
    cr_assert(status == STATUS_INVALID_ARGUMENT || status == STATUS_RESOURCE_EXHAUSTED, "%s",
              status_name(status));
    expect_contains(problem.field, "code");
    /* the largest that is allowed goes through */
    code[SPEC_CODE_BYTES_MAX] = '\0';
    memcpy(code, "sleep 1000\n", 11);
    cr_assert_eq(log_last_id(&bed), last);
    service_deploy(&bed, json_pack("{s:s, s:s, s:s, s:s}", "tenant", "acme", "name", "big",
                                   "interpreter", "sh", "code", code));
    free(code);
}

/* What a person types: the exit code, words on stderr, nothing on stdout. */
static const struct {
    const char *what;
    const char *input; /* for apply -f -; NULL: the arguments */
    const char *arguments[8];
    int exit_code;
    const char *says;
} commands[] = {
    { "an unknown key",
      "{\"tenant\":\"acme\",\"name\":\"x\",\"argv\":[\"/bin/true\"],\"comand\":1}",
      { "apply", "-f", "-" },
      65,
      "comand" },
    { "a key twice",
      "{\"tenant\":\"acme\",\"name\":\"x\",\"name\":\"y\",\"argv\":[\"/bin/true\"]}",
      { "apply", "-f", "-" },
      65,
      "line 1, column 34: the key \"name\" is there already" },
    { "a key twice in the second spec",
      "{\"tenant\":\"acme\",\"name\":\"x\",\"argv\":[\"/bin/true\"]}\n"
      "{\"tenant\":\"acme\",\"name\":\"y\",\"argv\":[\"/bin/true\"],\n \"argv\":[]}",
      { "apply", "-f", "-" },
      65,
      "line 3, column 7: the key \"argv\" is there already" },
    { "no JSON", "{\"tenant\": \"acme\",\n \"name\": }", { "apply", "-f", "-" }, 65, "line 2" },
    { "no such program",
      NULL,
      { "deploy", "acme/x", "--", "/no/such/program" },
      6,
      "/no/such/program" },
    { "no such interpreter",
      "echo",
      { "deploy", "acme/x", "--code", "/etc/passwd", "--interpreter", "python9.99" },
      6,
      "python9.99" },
    { "an empty file of code",
      NULL,
      { "deploy", "acme/x", "--code", "/dev/null", "--interpreter", "sh" },
      65,
      "--code /dev/null: is empty" },
    { "empty code",
      "{\"tenant\":\"acme\",\"name\":\"x\",\"code\":\"\",\"interpreter\":\"sh\"}",
      { "apply", "-f", "-" },
      65,
      "it is empty" },
    { "a bad name", NULL, { "deploy", "acme/X", "--", "/bin/true" }, 64, "X" },
    { "no name", NULL, { "deploy", "--", "/bin/true" }, 64, "TENANT/NAME" },
    { "no command", NULL, { "frobnicate" }, 64, "frobnicate" },
    { "an unknown flag", NULL, { "get", "services", "--frobnicate" }, 64, "frobnicate" },
    { "a permission that is none",
      NULL,
      { "token", "create", "-t", "acme", "--permission", "fly" },
      64,
      "called \"fly\"; there are deploy, kill, read, events:write," },
    { "metadata that is no JSON",
      NULL,
      { "token", "attenuate", "--permission", "read", "--metadata", "{" },
      64,
      "--metadata" },
    { "no accessor", NULL, { "token", "describe", "tok_short" }, 64, "tok_short" },
    { "no accessor to renew", NULL, { "token", "renew", "tok_short" }, 64, "tok_short" },
    { "no accessor to revoke", NULL, { "token", "revoke", "tok_short" }, 64, "tok_short" },
    { "a variable without a value",
      NULL,
      { "deploy", "acme/x", "--env", "A", "--", "/bin/true" },
      64,
      "--env A" },
    { "a spec, made of flags, that does not hold",
      NULL,
      { "deploy", "acme/x", "--restart", "sometimes", "--", "/bin/true" },
      65,
      "restart.policy" },
    { "a kill of nothing", NULL, { "kill", "acme/never" }, 4, "acme/never" },
    { "a description of nothing", NULL, { "describe", "acme/never" }, 4, "acme/never" },
    { "output of nothing", NULL, { "logs", "acme/never" }, 4, "acme/never" },
};

Test(bad_input, a_bad_command_ends_with_the_documented_exit_code)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t last = log_settled_id(&bed);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        AUTO(result_close) struct result result = { 0 };
        const char *const *a = commands[i].arguments;
        testbed_soloctl_input(&bed, &result, commands[i].input == NULL ? "" : commands[i].input,
                              a[0], a[1], a[2], a[3], a[4], a[5], a[6], NULL);
        cr_expect_eq(result.exit_code, commands[i].exit_code, "%s: exit code %d, wanted %d: %s",
                     commands[i].what, result.exit_code, commands[i].exit_code,
                     result_err(&result));
        cr_expect_not_null(strstr(result_err(&result), commands[i].says), "%s: \"%s\" not in: %s",
                           commands[i].what, commands[i].says, result_err(&result));
        cr_expect_eq(result.out.size, 0, "%s: on stdout: %s", commands[i].what,
                     result_out(&result));
    }
    cr_assert_eq(log_last_id(&bed), last, "a refusal changed the log");
    printf("%zu bad commands refused\n", COUNT_OF(commands));
}

Test(bad_input, events_of_solos_own_types_are_refused_from_everybody_else)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "api");
    uint64_t last = log_settled_id(&bed);
    static const char *const types[] = { "service_killed",     "service_deployed", "system_started",
                                         "service_completed",  "tenant_created",   "log_opened",
                                         "capability_granted", "no_such_type",     "app." };
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        struct problem problem = { 0 };
        enum status status = testbed_call(
            &bed, "eventd", "event.append",
            json_pack("{s:s, s:s, s:s, s:{s:I}}", "type", types[i], "tenant", "acme", "subject",
                      "service/acme/api", "payload", "generation", (json_int_t)generation),
            NULL, &problem);
        cr_expect(status == STATUS_PERMISSION_DENIED || status == STATUS_INVALID_ARGUMENT, "%s: %s",
                  types[i], status_name(status));
    }
    struct problem problem = { 0 };
    enum status status = testbed_call(
        &bed, "eventd", "event.append",
        json_pack("{s:s, s:s, s:s, s:i}", "type", "app.x", "source", "tokend", "incarnation",
                  "hex:00112233445566778899aabbccddeeff", "source_number", 1),
        NULL, &problem);
    cr_expect_neq(status, STATUS_OK, "somebody else numbered a source");
    cr_assert_eq(log_last_id(&bed), last);
}

Test(bad_input, an_unknown_setting_or_flag_stops_the_start)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_launch(&bed, "--frobnicate", NULL);
    cr_assert_eq(command_wait(bed.solod, 60000), 64);
    testbed_launch(&bed, "--set", "no_such_key=1", NULL);
    int code = command_wait(bed.solod, 60000);
    cr_assert(code == 64 || code == 65, "exit code %d", code);
    testbed_set(&bed, "SOLO_RECOVERY_ENABLED", "perhaps");
    testbed_launch(&bed, NULL);
    cr_assert_eq(command_wait(bed.solod, 60000), 65);
    bed.solod = 0;
}
