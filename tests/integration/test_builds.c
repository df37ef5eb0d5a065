/* Compilers: one that works, and everything that they can do instead. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/uuid.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(builds, .timeout = 300);

static const char good_code[] = "#include <unistd.h>\n"
                                "int main(void) { for (;;) pause(); }\n";

/* A service whose code is compiled by this command, one line that is split at blanks. */
static json_t *built(const char *name, const char *code, const char *command)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:[s]}", "tenant", "acme", "name", name, "code", code,
                     "build", command, "argv", "{out}");
}

/* One whose "compiler" is a shell that runs the code. */
static json_t *scripted(const char *name, const char *script)
{
    return built(name, script, "sh {code}");
}

static void shell(const struct testbed *bed, struct result *result, const char *line)
{
    const char *const argv[] = { "/bin/sh", "-c", line, NULL };
    const struct command command = { .argv = argv,
                                     .environment = testbed_environment(bed),
                                     .uid = bed->uid };
    command_run(&command, result);
}

static void as_everybody(void (*test)(struct testbed *bed))
{
    for (unsigned as_user = 0; as_user < (geteuid() == 0 ? 2u : 1u); as_user++) {
        AUTO(testbed_close) struct testbed bed = { 0 };
        testbed_open(&bed, as_user == 1 ? TESTBED_AS_USER : 0);
        testbed_start(&bed);
        test(&bed);
    }
}

static uint64_t deploy_good(struct testbed *bed, const char *name)
{
    return service_deploy(bed, built(name, good_code, "cc -O2 -o {out} {code}"));
}

/* A build that was given up is cleared away behind the answer: that is waited for. */
static void expect_nothing_left(const struct testbed *bed)
{
    char command[4096 + 64];
    snprintf(command, sizeof command, "ls -A %s/tenants/acme | grep build; true", bed->run);
    for (int i = 0; i < 1200; i++) {
        AUTO(result_close) struct result result = { 0 };
        shell(bed, &result, command);
        if (result_out(&result)[0] == '\0')
            return;
        sleep_ms(50);
    }
    cr_assert_fail("a scratch folder is left");
}

static void builds_and_runs(struct testbed *bed)
{
    AUTO(result_close) struct result result = { 0 };
    char file[4096];
    snprintf(file, sizeof file, "%s/x.c", bed->dir);
    FILE *source = fopen(file, "w");
    fputs("#include <stdio.h>\n#include <unistd.h>\n"
          "int main(int c, char **v) { printf(\"hello %s\\n\", v[c - 1]); fflush(stdout); pause(); "
          "}\n",
          source);
    fclose(source);
    testbed_soloctl(bed, &result, "deploy", "--build", "cc -O2 -o {out} {code}", "acme/x", "--code",
                    file, "--", "{out}", "args", NULL);
    expect_exit(&result, 0);
    service_await(bed, "acme", "x", "running", 5000);
    for (int i = 0; i < 1200; i++) {
        testbed_soloctl(bed, &result, "logs", "acme/x", NULL);
        if (strstr(result_out(&result), "hello args") != NULL)
            break;
        sleep_ms(50);
    }
    expect_contains(result_out(&result), "hello args");
    expect_nothing_left(bed);
}

Test(builds, one_command_compiles_and_runs)
{
    as_everybody(builds_and_runs);
}

/* Until the row of acme/slow says so. */
static void await_building(struct testbed *bed, const char *state, uint64_t generation)
{
    for (int i = 0; i < 3000; i++) {
        json_t *row = service_row_of(bed, "acme", "slow");
        bool is_shown = row != NULL && strcmp(text_in(row, "state"), state) == 0 &&
                        number_in(row, "generation") == generation &&
                        strstr(text_in(row, "reason"), "its program is being built since ") != NULL;
        json_decref(row);
        if (is_shown)
            return;
        sleep_ms(20);
    }
    cr_assert_fail("it is not shown as being built, in state %s", state);
}

Test(builds, one_that_runs_is_shown)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char file[4096];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    snprintf(file, sizeof file, "%s/slow.c", bed.dir);
    cr_assert_eq(file_write(file, span_of_text("sleep 1000"), 0644), STATUS_OK);
    char soloctl[4200];
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed.bin);
    const char *const argv[] = { soloctl, "--run",   bed.run,     "deploy", "acme/slow", "--code",
                                 file,    "--build", "sh {code}", "--",     "{out}",     NULL };
    const struct command deploy = { .argv = argv, .environment = testbed_environment(&bed) };
    char log[4096];
    snprintf(log, sizeof log, "%s/deploy", bed.dir);
    pid_t first = command_start(&deploy, log);
    await_building(&bed, "building", 0);
    testbed_soloctl(&bed, &result, "describe", "acme/slow", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "soloctl kill acme/slow");
    testbed_soloctl(&bed, &result, "status", "-o", "json", NULL);
    expect_contains(result_out(&result), "\"building\": 1");
    service_kill(&bed, "acme", "slow");
    cr_assert_neq(command_wait(first, 60000), 0);
    cr_assert_null(service_row_of(&bed, "acme", "slow"));
    /* One that runs says what it is and that it will be replaced. */
    uint64_t generation = service_deploy_sleeper(&bed, "acme", "slow");
    pid_t second = command_start(&deploy, log);
    await_building(&bed, "running", generation);
    service_kill(&bed, "acme", "slow");
    cr_assert_neq(command_wait(second, 60000), 0);
}

static void fails_and_changes_nothing(struct testbed *bed)
{
    uint64_t generation = deploy_good(bed, "api");
    pid_t pid = service_pid(bed, "acme", "api");
    uint64_t last = log_settled_id(bed);
    struct problem problem = { 0 };
    enum status status = service_try_deploy(
        bed, built("api", "int main(void)\n{\n    return x;\n}\n", "cc -o {out} {code}"), NULL,
        &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, "build");
    expect_contains(problem.message, "cc exited with code 1\n");
    expect_contains(problem.message, "undeclared");
    status = service_try_deploy(bed, built("api", "x", "no-such-cc {code}"), NULL, &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, "build[0]");
    expect_contains(problem.message, "no-such-cc not found");
    status = service_try_deploy(bed, scripted("api", "nice; exit 5"), NULL, &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, "build");
    expect_contains(problem.message, "\n10");
    status = service_try_deploy(bed, scripted("api", "echo forgotten; exit 0"), NULL, &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, "build");
    expect_contains(problem.message, "did not write {out}\nforgotten");
    status = service_try_deploy(bed, scripted("api", "ln -s /etc/passwd out"), NULL, &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, "build");
    cr_assert_eq(service_pid(bed, "acme", "api"), pid);
    cr_assert_eq(log_settled_id(bed), last, "a failed build leaves no event");
    json_t *row = service_row_of(bed, "acme", "api");
    expect_number(row, "generation", generation);
    json_decref(row);
    expect_nothing_left(bed);
    cr_assert_eq(testbed_log_count(bed, "undeclared"), 0, "no log keeps what a compiler says");
}

Test(builds, a_failed_one_is_the_answer_and_nothing_else)
{
    as_everybody(fails_and_changes_nothing);
}

static void misbehave(struct testbed *bed)
{
    static const struct {
        const char *script, *says;
    } compilers[] = {
        { "exec yes", "printed without end" },
        { "dd if=/dev/zero of=big bs=1M count=2000 2>/dev/null; sleep 60", "bytes on disk" },
        { "i=0; while [ $i -lt 100 ]; do mkdir d; cd d; i=$((i+1)); done; sleep 60",
          "folders within folders" },
        { "dd if=/dev/zero of=/dev/null bs=1500M count=1", "exited with code" },
        { "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & exit 3",
          "exited with code 3" },
        /* Many, and not so busy that they starve the supervisor on a slow machine. */
        { "f() { sleep 0.2; f | f & }; f; sleep 4; exit 4", "exited with code" },
    };
    service_deploy_sleeper(bed, "acme", "healthy");
    pid_t pid = service_pid(bed, "acme", "healthy");
    for (size_t i = 0; i < COUNT_OF(compilers); i++) {
        struct problem problem = { 0 };
        enum status status = STATUS_UNAVAILABLE; /* of a supervisor that has too much to do */
        for (int attempt = 0; status == STATUS_UNAVAILABLE && attempt < 5; attempt++) {
            status = service_try_deploy(bed, scripted("bad", compilers[i].script), NULL, &problem);
            expect_nothing_left(bed);
        }
        cr_assert_eq(status, STATUS_FAILED_PRECONDITION, "%s: %s %s", compilers[i].script,
                     status_name(status), problem.message);
        expect_contains(problem.message, compilers[i].says);
    }
    cr_assert_eq(service_pid(bed, "acme", "healthy"), pid);
    json_t *rows = service_rows(bed);
    cr_assert_eq(json_array_size(rows), 1);
    json_decref(rows);
}

Test(builds, a_compiler_that_misbehaves_is_ended_with_its_tree)
{
    as_everybody(misbehave);
}

Test(builds, one_that_takes_too_long_is_ended_with_its_tree)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    struct problem problem = { 0 };
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_BUILD_TIMEOUT_MS", "8000"); /* a copy takes less, however busy it is */
    testbed_start(&bed);
    json_t *quick = scripted("quick", "cp /bin/sleep out");
    json_object_set_new(quick, "argv", json_pack("[s, s]", "{out}", "1000"));
    service_deploy(&bed, quick);
    enum status status = service_try_deploy(
        &bed, scripted("slow", "setsid sleep 1000 & sleep 1000"), NULL, &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, "build");
    expect_contains(problem.message, "sh did not end within 8s and was stopped");
    expect_nothing_left(&bed);
    cr_assert_null(service_row_of(&bed, "acme", "slow"));
}

/* How many were at it at once, by the marks that they left: the first waits for the second. */
static int most_at_once(const char *file)
{
    FILE *marks = fopen(file, "r");
    int running = 0, most = 0, ended = 0, mark;
    cr_assert_not_null(marks);
    while ((mark = fgetc(marks)) != EOF) {
        running += mark == 'b' ? 1 : mark == 'e' ? -1 : 0;
        ended += mark == 'e';
        most = running > most ? running : most;
    }
    fclose(marks);
    cr_assert_eq(ended, 5);
    return most;
}

Test(builds, some_run_at_once_and_the_others_wait_for_their_turn)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char marks[64], command[16384];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    snprintf(marks, sizeof marks, "/tmp/solo-builds-%d", (int)getpid());
    snprintf(command, sizeof command,
             "cd %s; : > %s; chmod 666 %s; for i in 1 2 3 4 5; do echo \"echo b >> %s; until [ "
             "\\$(grep -c b %s) -ge 2 ]; do sleep 0.05; done; sleep 0.5; echo e >> "
             "%s; cp /bin/sleep out # $i\" > c$i; %s/soloctl --run %s deploy --build 'sh {code}' "
             "--code c$i acme/s$i -- '{out}' 1000 & pids=\"$pids $!\"; done; for p in $pids; do "
             "wait $p || exit 1; done",
             bed.dir, marks, marks, marks, marks, marks, bed.bin, bed.run);
    shell(&bed, &result, command);
    expect_exit(&result, 0);
    cr_assert_eq(most_at_once(marks), BUILDS_RUNNING_MAX);
    unlink(marks);
    for (int i = 1; i <= 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        service_await(&bed, "acme", name, "running", 10000);
    }
}

static size_t cached(const struct testbed *bed, size_t *bytes)
{
    char command[4096];
    AUTO(result_close) struct result result = { 0 };
    size_t count = 0;
    snprintf(command, sizeof command, "find %s/builds -type f -size +1k -printf '%%s\\n'",
             bed->data);
    shell(bed, &result, command);
    *bytes = 0;
    for (const char *line = result_out(&result); *line != '\0';
         line = strchr(line, '\n') + 1, count++)
        *bytes += strtoul(line, NULL, 10);
    return count;
}

/* Room for three: what nobody uses goes first, what somebody uses stays. */
Test(builds, the_cache_keeps_to_its_bound)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    struct problem problem = { 0 };
    size_t bytes, rest;
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_BUILD_CACHE_MAX", "350000");
    testbed_start(&bed);
    for (int i = 0; i < 8; i++) {
        char name[16], script[128];
        snprintf(name, sizeof name, "s%d", i);
        snprintf(script, sizeof script, "cp /bin/sleep out && truncate -s 100000 out # %d", i);
        json_t *spec = scripted(name, script);
        json_object_set_new(spec, "argv", json_pack("[s, s]", "{out}", "1000"));
        service_deploy(&bed, spec);
        rest = cached(&bed, &bytes);
        cr_assert_leq(bytes, 350000, "%zu bytes in %zu files", bytes, rest);
        if (i != 0)
            service_kill(&bed, "acme", name);
    }
    cr_assert_eq(cached(&bed, &bytes), 3);
    testbed_kill_everything(&bed);
    testbed_start(&bed);
    service_await(&bed, "acme", "s0", "running", 10000);
    cr_assert_eq(testbed_log_count(&bed, "is built again"), 0);
    enum status status = service_try_deploy(
        &bed, scripted("big", "truncate -s 400000 out; echo x >> out"), NULL, &problem);
    expect_refused(status, STATUS_FAILED_PRECONDITION, &problem, "build");
}

static void await_logged(const struct testbed *bed, const char *service, const char *text)
{
    AUTO(result_close) struct result result = { 0 };
    for (int i = 0; i < 500; i++) {
        testbed_soloctl(bed, &result, "logs", service, NULL);
        if (strstr(result_out(&result), text) != NULL)
            return;
        sleep_ms(20);
    }
    cr_assert_fail("\"%s\" never came: %s%s", text, result_out(&result), result_err(&result));
}

Test(builds, are_made_again_when_the_cache_is_gone)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char command[4096];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    deploy_good(&bed, "api");
    service_deploy_sleeper(&bed, "acme", "other");
    testbed_kill_everything(&bed);
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    expect_lacks(result_out(&result), "\"open\"");
    snprintf(command, sizeof command, "rm -r %s/builds", bed.data);
    shell(&bed, &result, command);
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    expect_contains(result_out(&result), "\"open\"");
    expect_contains(result_out(&result), "has to be built");
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", 10000);
    service_await(&bed, "acme", "other", "running", 10000);
    /* And while everything runs; what is printed then goes to a folder that is made anew, too. */
    snprintf(command, sizeof command, "rm -r %s/builds %s/logs", bed.data, bed.data);
    shell(&bed, &result, command);
    expect_exit(&result, 0);
    deploy_good(&bed, "third");
    service_kill(&bed, "acme", "third");
    service_deploy(&bed, service_spec(&bed, "acme", "talks", "printer", "3", NULL));
    await_logged(&bed, "acme/talks", "out 3");
    service_kill(&bed, "acme", "talks");
    snprintf(command, sizeof command, "stat -c %%a %s/builds %s/logs/acme", bed.data, bed.data);
    shell(&bed, &result, command);
    cr_assert_str_eq(result_out(&result), "700\n750\n");
    /* And when a byte of it is another one. */
    testbed_kill_everything(&bed);
    snprintf(command, sizeof command,
             "for f in %s/builds/*; do printf X | dd of=$f bs=1 seek=700 conv=notrunc; done 2>&1",
             bed.data);
    shell(&bed, &result, command);
    testbed_start(&bed);
    service_await(&bed, "acme", "api", "running", 10000);
    cr_assert_gt(testbed_log_count(&bed, "is damaged, and is built again"), 0);
}

Test(builds, one_that_fails_at_recovery_is_told_and_the_others_come_up)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    char command[4096], flag[4096], code[8192];
    testbed_open(&bed, 0);
    testbed_start(&bed);
    /* A compiler that works once. */
    snprintf(flag, sizeof flag, "/tmp/solo-build-%d", (int)getpid());
    unlink(flag); /* of an earlier process with this pid, which was killed */
    snprintf(code, sizeof code, "test -e %s || { touch %s; cp /bin/sleep out; exit; }\nexit 9",
             flag, flag);
    json_t *spec = scripted("once", code);
    json_object_set_new(spec, "argv", json_pack("[s, s]", "{out}", "1000"));
    service_deploy(&bed, spec);
    service_deploy_sleeper(&bed, "acme", "other");
    testbed_kill_everything(&bed);
    snprintf(command, sizeof command, "rm -r %s/builds", bed.data);
    shell(&bed, &result, command);
    testbed_start(&bed);
    service_await(&bed, "acme", "other", "running", 10000);
    json_t *events = events_after(&bed, 0);
    json_t *failed = event_last(events, "service_recovery_failed", "acme", "once");
    cr_assert_not_null(failed);
    expect_text(json_object_get(failed, "payload"), "code", "build_failed");
    json_decref(events);
    unlink(flag);
}

/* A deploy in a process of its own, whose build goes on until the gate is there. */
static void slow_path(const struct testbed *bed, const char *file, char path[300])
{
    snprintf(path, 300, "%s/%s", bed->dir, file);
}

static void await_build(const struct testbed *bed)
{
    char command[4096];
    snprintf(command, sizeof command,
             "for i in $(seq 1200); do ls -d %s/tenants/acme/+build-* 2>/dev/null && exit 0; sleep "
             "0.05; done; exit 1",
             bed->run);
    AUTO(result_close) struct result result = { 0 };
    shell(bed, &result, command);
    expect_exit(&result, 0);
}

/* The pid of its soloctl, which writes to slow.out. */
static pid_t begin_slow_deploy(const struct testbed *bed, char request_id[UUID_TEXT_BYTES])
{
    struct uuid drawn = uuid_draw();
    uuid_text(request_id, &drawn);
    char soloctl[4200], code[300], out[300], script[400];
    slow_path(bed, "slow", code);
    slow_path(bed, "slow.out", out);
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed->bin);
    snprintf(script, sizeof script, "until [ -e %s/gate ]; do sleep 0.05; done; cp /bin/sleep out",
             bed->dir);
    cr_assert_eq(file_write(code, span_of_text(script), 0644), STATUS_OK);
    const char *const argv[] = { soloctl,     "--run",   bed->run,    "deploy", "--request-id",
                                 request_id,  "--build", "sh {code}", "--code", code,
                                 "acme/slow", "--",      "{out}",     "1000",   NULL };
    pid_t pid = command_start(
        &(struct command){ .argv = argv, .environment = testbed_environment(bed) }, out);
    await_build(bed);
    return pid;
}

static void open_gate(const struct testbed *bed)
{
    char gate[300];
    slow_path(bed, "gate", gate);
    cr_assert_eq(file_write(gate, span_of_text(""), 0644), STATUS_OK);
}

/* It has heard what became of its deploy. */
static void end_slow_deploy(pid_t soloctl, bool is_done)
{
    int exit_code = command_wait(soloctl, 60000);
    cr_assert_eq(exit_code == 0, is_done, "soloctl ended with %d", exit_code);
}

Test(builds, a_repeat_finishes_what_a_dead_daemon_began)
{
    char id[UUID_TEXT_BYTES];
    for (int i = 0; i < 2; i++) {
        AUTO(testbed_close) struct testbed bed = { 0 };
        AUTO(result_close) struct result result = { 0 };
        char file[4096];
        testbed_open(&bed, 0);
        testbed_start(&bed);
        service_deploy_sleeper(&bed, "acme", "first");
        pid_t soloctl = begin_slow_deploy(&bed, id), supervisor = testbed_supervisor(&bed, "acme");
        process_signal(i == 0 ? testbed_daemon(&bed, "deployd") : supervisor, SIGKILL);
        if (i == 1)
            testbed_await_new_supervisor(&bed, "acme", supervisor);
        open_gate(&bed);
        cr_assert(testbed_wait_ready(&bed, 60000));
        snprintf(file, sizeof file, "%s/slow", bed.dir);
        testbed_soloctl(&bed, &result, "deploy", "--request-id", id, "--build", "sh {code}",
                        "--code", file, "acme/slow", "--", "{out}", "1000", NULL);
        expect_exit(&result, 0);
        service_await(&bed, "acme", "slow", "running", 10000);
        json_t *events = events_after(&bed, 0);
        cr_assert_eq(events_count(events, "service_deployed", "acme", "slow"), 1);
        json_decref(events);
        expect_nothing_left(&bed);
        command_wait(soloctl, 60000); /* it may have been refused what was repeated then */
    }
}

Test(builds, a_kill_ends_one_and_does_not_wait)
{
    char id[UUID_TEXT_BYTES];
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "slow");
    pid_t soloctl = begin_slow_deploy(&bed, id);
    service_kill(&bed, "acme", "slow");
    expect_nothing_left(&bed);
    end_slow_deploy(soloctl, false);
    open_gate(&bed);
    sleep_ms(1000);
    cr_assert_null(service_row_of(&bed, "acme", "slow"));
}

/* The first deploy of a service that nobody has seen yet is a service to its owner. */
Test(builds, a_kill_ends_that_of_a_first_deploy_too)
{
    char id[UUID_TEXT_BYTES], file[4096];
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    service_deploy_sleeper(&bed, "acme", "other");
    pid_t soloctl = begin_slow_deploy(&bed, id);
    testbed_soloctl(&bed, &result, "kill", "acme/slow", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "acme/slow killed: its build was ended");
    expect_nothing_left(&bed);
    end_slow_deploy(soloctl, false);
    open_gate(&bed);
    sleep_ms(1000);
    cr_assert_null(service_row_of(&bed, "acme", "slow"));
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_deployed", "acme", "slow"), 0);
    cr_assert_eq(events_count(events, "service_killed", "acme", "slow"), 1);
    json_decref(events);
    snprintf(file, sizeof file, "%s/slow.out", bed.dir);
    FILE *said = fopen(file, "r");
    char text[512] = "";
    cr_assert_gt(fread(text, 1, sizeof text - 1, said), 0);
    fclose(said);
    expect_contains(text, "killed while");
    testbed_soloctl(&bed, &result, "kill", "acme/slow", NULL);
    expect_exit(&result, 4);
}
