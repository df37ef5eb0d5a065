/* Scratch folders with a Solo in them. */
#include "tests/support/testbed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tests/support/process.h"

/* A test that fails leaves by a jump, without its cleanups: what it leaks then is not worth a word.
 * The programs get ASAN_OPTIONS of their own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

enum {
    READY_MS = 60000,
    STOP_MS = 120000,
    ARGUMENTS_MAX = 64,
    ORDINARY_UID = 65534,
    SHOWN_BYTES = 40000
};

static const char *const solo_programs[] = { "solod",   "eventd",  "tokend",    "vaultd",
                                             "deployd", "tenantd", "recoveryd", "soloctl" };
static const char *const test_programs[] = { "announcer",     "sleeper", "exiter", "crasher",
                                             "double_forker", "flooder", "prober", "printer",
                                             "stubborn",      "hog" };

static void file_copy(const char *from_dir, const char *to_dir, const char *name, uid_t owner)
{
    char from[4096], to[4096];
    AUTO(buffer_close) struct buffer content = { .limit = 256 * 1024 * 1024 };
    if (path_join(from, from_dir, name) != STATUS_OK || path_join(to, to_dir, name) != STATUS_OK ||
        file_read(from, &content) != STATUS_OK)
        test_fail("cannot read %s/%s: is it built?", from_dir, name);
    AUTO(fd_close) int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (fd < 0 || fd_write_all(fd, buffer_span(&content)) != STATUS_OK || fchmod(fd, 0755) != 0 ||
        (owner != 0 && fchown(fd, owner, owner) != 0))
        test_fail("cannot write %s: %s", to, strerror(errno));
}

static void directory_for(const char *path, uid_t owner)
{
    if (mkdir(path, 0755) != 0 || chmod(path, 0755) != 0 ||
        (owner != 0 && chown(path, owner, owner) != 0))
        test_fail("cannot make %s: %s", path, strerror(errno));
}

static void guard_start(struct testbed *bed)
{
    char guard[4096];
    snprintf(guard, sizeof guard, "%s/testbed_guard", SOLO_TEST_PROGRAM_DIR);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        test_fail("pipe: %s", strerror(errno));
    const char *const argv[] = { guard, bed->dir, NULL };
    const char *const nothing[] = { NULL };
    struct command command = { .argv = argv, .environment = nothing };
    bed->guard = command_start_with_input(&command, ends[0]);
    bed->guard_input = ends[1];
    close(ends[0]);
}

void testbed_set(struct testbed *bed, const char *name, const char *value)
{
    size_t size = strlen(name);
    size_t i = 0;
    while (i < bed->variable_count &&
           (strncmp(bed->variables[i], name, size) != 0 || bed->variables[i][size] != '='))
        i++;
    if (i == TESTBED_VARIABLES_MAX - 1)
        test_fail("too many variables");
    if (i < bed->variable_count)
        free(bed->variables[i]);
    else
        bed->variable_count++;
    if (asprintf(&bed->variables[i], "%s=%s", name, value) < 0)
        test_fail("out of memory");
    bed->variables[bed->variable_count] = NULL;
}

const char *const *testbed_environment(const struct testbed *bed)
{
    return (const char *const *)bed->variables;
}

void testbed_open(struct testbed *bed, unsigned flags)
{
    *bed = (struct testbed){ .guard_input = -1 };
    const char *parent = getenv("TMPDIR");
    snprintf(bed->dir, sizeof bed->dir, "%.200s/solo-test-XXXXXX",
             parent == NULL ? "/tmp" : parent);
    if (mkdtemp(bed->dir) == NULL)
        test_fail("cannot make %s: %s", bed->dir, strerror(errno));
    guard_start(bed);
    if ((flags & TESTBED_AS_USER) && geteuid() == 0)
        bed->uid = ORDINARY_UID;
    if (chmod(bed->dir, 0755) != 0 || (bed->uid != 0 && chown(bed->dir, bed->uid, bed->uid) != 0))
        test_fail("cannot open %s to others: %s", bed->dir, strerror(errno));
    snprintf(bed->data, sizeof bed->data, "%s/data", bed->dir);
    snprintf(bed->run, sizeof bed->run, "%s/run", bed->dir);
    snprintf(bed->log, sizeof bed->log, "%s/solod.log", bed->dir);
    snprintf(bed->programs, sizeof bed->programs, "%s/programs", bed->dir);
    directory_for(bed->programs, bed->uid);
    for (size_t i = 0; i < COUNT_OF(test_programs); i++)
        file_copy(SOLO_TEST_PROGRAM_DIR, bed->programs, test_programs[i], bed->uid);
    const char *bin = getenv("SOLO_BIN_DIR");
    snprintf(bed->bin, sizeof bed->bin, "%s", bin == NULL ? SOLO_BIN_DIR : bin);
    if (bed->uid != 0) {
        /* The build may lie where this user cannot go. */
        char copies[300];
        snprintf(copies, sizeof copies, "%s/bin", bed->dir);
        directory_for(copies, bed->uid);
        for (size_t i = 0; i < COUNT_OF(solo_programs); i++)
            file_copy(bed->bin, copies, solo_programs[i], bed->uid);
        snprintf(bed->bin, sizeof bed->bin, "%s", copies);
    }
    testbed_set(bed, "PATH", "/usr/local/bin:/usr/bin:/bin");
    testbed_set(bed, "HOME", bed->dir);
    testbed_set(bed, "SOLO_TESTBED", bed->dir);
    /* What the kernel counts of a uid is not to be shared with the tests beside this one. */
    testbed_set(bed, "SOLO_TENANT_UID_BASE", NUMBER(200000 + getpid() % 1000000 * 1000));
    testbed_set(bed, "NO_COLOR", "1");
    /* A machine that stalls for some seconds is no reason to kill anything. */
    testbed_set(bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "30000");
    /* A big quarantine would look like a leak to the tests that watch memory. */
    testbed_set(bed, "ASAN_OPTIONS",
                "quarantine_size_mb=1:detect_leaks=1:allocator_may_return_null=1");
    testbed_set(bed, "UBSAN_OPTIONS", "print_stacktrace=1");
}

char *testbed_socket(const struct testbed *bed, const char *name, char path[4096])
{
    snprintf(path, 4096, "%s/%s.sock", bed->run, name);
    return path;
}

char *testbed_program(const struct testbed *bed, const char *name, char path[4096])
{
    snprintf(path, 4096, "%s/%s", bed->programs, name);
    return path;
}

void testbed_show_log(const struct testbed *bed)
{
    AUTO(buffer_close) struct buffer log = { .limit = 256 * 1024 * 1024 };
    if (file_read(bed->log, &log) != STATUS_OK)
        return;
    size_t shown = log.size < SHOWN_BYTES ? log.size : SHOWN_BYTES;
    fprintf(stderr, "--- the end of %s\n%.*s---\n", bed->log, (int)shown,
            (const char *)log.data + (log.size - shown));
}

/* The first place where a text stands, and what follows. */
static void log_show_at(const struct testbed *bed, const char *text)
{
    AUTO(buffer_close) struct buffer log = { .limit = 256 * 1024 * 1024 };
    if (file_read(bed->log, &log) != STATUS_OK)
        return;
    const char *start = (const char *)log.data, *end = start + log.size;
    const char *at = memmem(start, log.size, text, strlen(text));
    if (at == NULL)
        return;
    at = at - start > 400 ? at - 400 : start;
    fprintf(stderr, "--- from %s\n%.*s\n---\n", bed->log, end - at > 9000 ? 9000 : (int)(end - at),
            at);
}

size_t testbed_log_count(const struct testbed *bed, const char *text)
{
    AUTO(buffer_close) struct buffer log = { .limit = 256 * 1024 * 1024 };
    if (file_read(bed->log, &log) != STATUS_OK || log.size == 0)
        return 0;
    size_t count = 0, size = strlen(text);
    if (log.size == 0)
        return 0;
    const char *at = (const char *)log.data, *end = at + log.size;
    while ((at = memmem(at, (size_t)(end - at), text, size)) != NULL) {
        count++;
        at += size;
    }
    return count;
}

void testbed_launch(struct testbed *bed, ...)
{
    char solod[4200];
    snprintf(solod, sizeof solod, "%s/solod", bed->bin);
    const char *argv[ARGUMENTS_MAX] = { solod, "--data", bed->data, "--run", bed->run };
    size_t count = 5;
    va_list arguments;
    va_start(arguments, bed);
    for (const char *argument; (argument = va_arg(arguments, const char *)) != NULL;) {
        if (count == ARGUMENTS_MAX - 1)
            test_fail("too many arguments");
        argv[count++] = argument;
    }
    va_end(arguments);
    struct command command = { .argv = argv,
                               .environment = testbed_environment(bed),
                               .uid = bed->uid,
                               .directory = bed->dir };
    bed->solod = command_start(&command, bed->log);
}

bool testbed_wait_ready(struct testbed *bed, int timeout_ms)
{
    char path[4096];
    testbed_socket(bed, "solod", path);
    uint64_t end_ns = clock_boottime_ns() + (uint64_t)timeout_ms * 1000000;
    while (clock_boottime_ns() < end_ns && process_is_alive(bed->solod)) {
        struct caller caller;
        enum status status = caller_open(&caller, path);
        if (status == STATUS_OK) {
            json_t *params = json_pack("{s:i}", "timeout_ms", timeout_ms);
            status = caller_call(&caller, "system.wait", params, timeout_ms, NULL, NULL);
            json_decref(params);
        }
        caller_close(&caller);
        if (status == STATUS_OK)
            return true;
        /* The socket of an earlier life may still lie there; nothing announces the new one. */
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
    return false;
}

void testbed_start(struct testbed *bed)
{
    testbed_launch(bed, NULL);
    if (testbed_wait_ready(bed, READY_MS))
        return;
    testbed_show_log(bed);
    test_fail("Solo did not become ready (solod %s)",
              process_is_alive(bed->solod) ? "still runs" : "has ended");
}

int testbed_stop(struct testbed *bed)
{
    if (bed->solod == 0)
        return 0;
    process_signal(bed->solod, SIGTERM);
    int exit_code = command_wait(bed->solod, STOP_MS);
    if (exit_code < 0) {
        testbed_show_log(bed);
        test_fail("solod has not ended %d s after SIGTERM", STOP_MS / 1000);
    }
    bed->solod = 0;
    if (exit_code !=
        0) /* which few tests want: the log says why, whatever the caller makes of it */
        testbed_show_log(bed);
    return exit_code;
}

void testbed_kill_everything(struct testbed *bed)
{
    /* solod first: it would start again what dies before it. */
    if (bed->solod != 0) {
        process_signal(bed->solod, SIGKILL);
        command_wait(bed->solod, -1);
        bed->solod = 0;
    }
    process_kill_all(bed->dir, bed->guard);
}

void testbed_kill_solod(struct testbed *bed)
{
    static const char *const names[] = { "eventd", "tokend", "vaultd", "deployd" };
    pid_t pids[COUNT_OF(names)];
    for (size_t i = 0; i < COUNT_OF(names); i++)
        pids[i] = testbed_daemon(bed, names[i]);
    process_signal(bed->solod, SIGKILL);
    command_wait(bed->solod, -1);
    bed->solod = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (pids[i] != 0 && !process_wait_gone(pids[i], STOP_MS))
            test_fail("%s outlives solod", names[i]);
}

size_t testbed_processes(const struct testbed *bed, pid_t *pids, size_t count_max)
{
    size_t count = process_find(bed->dir, pids, count_max);
    for (size_t i = 0; i < count && i < count_max; i++)
        if (pids[i] == bed->guard) {
            count--;
            pids[i] = pids[count < count_max ? count : count_max - 1];
            break;
        }
    return count;
}

bool testbed_is_empty(const struct testbed *bed)
{
    enum { LOOKS = 1000, PAUSE_MS = 20 };
    pid_t pids[1];
    for (int i = 0; i < LOOKS; i++) {
        if (testbed_processes(bed, pids, 1) == 0)
            return true;
        usleep(PAUSE_MS * 1000);
    }
    return false;
}

static void list_left_over(const struct testbed *bed)
{
    pid_t pids[64];
    size_t count = testbed_processes(bed, pids, COUNT_OF(pids));
    AUTO(buffer_close) struct buffer line = { .limit = 1024 * 1024 };
    for (size_t i = 0; i < count && i < COUNT_OF(pids); i++)
        if (process_read(pids[i], "cmdline", &line)) {
            for (size_t at = 0; at < line.size; at++)
                if (line.data[at] == '\0')
                    line.data[at] = ' ';
            fprintf(stderr, "left over: pid %d: %s\n", pids[i], (const char *)line.data);
        }
}

void testbed_discard(struct testbed *bed)
{
    if (bed->guard == 0)
        return;
    testbed_kill_everything(bed);
    close(bed->guard_input);
    command_wait(bed->guard, 60000);
    for (size_t i = 0; i < bed->variable_count; i++)
        free(bed->variables[i]);
    *bed = (struct testbed){ .guard_input = -1 };
}

void testbed_close(struct testbed *bed)
{
    if (bed->guard == 0)
        return;
    static const char *const complaints[] = { "AddressSanitizer", "LeakSanitizer",
                                              "runtime error:", "assertion failed" };
    int exit_code = testbed_stop(bed);
    if (exit_code != 0)
        test_fail("solod ended with exit code %d after SIGTERM", exit_code);
    if (!testbed_is_empty(bed)) {
        list_left_over(bed);
        testbed_show_log(bed);
        test_fail("processes outlive Solo");
    }
    for (size_t i = 0; i < COUNT_OF(complaints); i++)
        if (testbed_log_count(bed, complaints[i]) != 0) {
            log_show_at(bed, complaints[i]);
            test_fail("a program said: %s", complaints[i]);
        }
    testbed_discard(bed);
}

enum status testbed_call(const struct testbed *bed, const char *daemon, const char *method,
                         json_t *params, json_t **result, struct problem *problem)
{
    char path[4096];
    struct caller caller;
    enum status status = caller_open(&caller, testbed_socket(bed, daemon, path));
    if (status == STATUS_OK)
        status = caller_call(&caller, method, params, 60000, result, problem);
    else
        problem_set(problem, status, "", "cannot connect to %s", path);
    caller_close(&caller);
    json_decref(params);
    return status;
}

json_t *testbed_ask(const struct testbed *bed, const char *daemon, const char *method,
                    json_t *params)
{
    json_t *result = NULL;
    struct problem problem = { 0 };
    enum status status = testbed_call(bed, daemon, method, params, &result, &problem);
    if (status != STATUS_OK) {
        testbed_show_log(bed);
        test_fail("%s: %s %s %s", method, status_name(status), problem.field, problem.message);
    }
    return result;
}

static pid_t pid_in_list(json_t *answer, const char *list, const char *key, const char *name,
                         const char *pid_key)
{
    pid_t pid = 0;
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(answer, list), i, item)
    {
        const char *found = json_string_value(json_object_get(item, key));
        if (found != NULL && strcmp(found, name) == 0)
            pid = (pid_t)json_integer_value(json_object_get(item, pid_key));
    }
    json_decref(answer);
    return pid;
}

pid_t testbed_daemon(struct testbed *bed, const char *name)
{
    enum { LOOKS = 500, PAUSE_MS = 20 };
    pid_t pid = 0;
    for (int i = 0; i < LOOKS && pid == 0; i++) {
        if (i > 0)
            usleep(PAUSE_MS * 1000);
        pid = pid_in_list(testbed_ask(bed, "solod", "daemon.list", NULL), "daemons", "name", name,
                          "pid");
    }
    return pid;
}

pid_t testbed_await_new_daemon(struct testbed *bed, const char *name, pid_t old)
{
    enum { LOOKS = 3000, PAUSE_MS = 20 };
    for (int i = 0; i < LOOKS; i++) {
        pid_t pid = testbed_daemon(bed, name);
        if (pid != 0 && pid != old)
            return pid;
        usleep(PAUSE_MS * 1000);
    }
    test_fail("%s has not been started anew in the place of %d", name, (int)old);
}

pid_t testbed_supervisor(struct testbed *bed, const char *tenant)
{
    return pid_in_list(testbed_ask(bed, "deployd", "tenant.list", NULL), "tenants", "tenant",
                       tenant, "supervisor_pid");
}

pid_t testbed_await_new_supervisor(struct testbed *bed, const char *tenant, pid_t old)
{
    enum { LOOKS = 3000, PAUSE_MS = 20 };
    for (int i = 0; i < LOOKS; i++) {
        pid_t pid = testbed_supervisor(bed, tenant);
        if (pid != 0 && pid != old)
            return pid;
        usleep(PAUSE_MS * 1000);
    }
    test_fail("%s has no new supervisor in the place of %d", tenant, (int)old);
}

static void run_program(const struct testbed *bed, struct result *result, const char **argv,
                        size_t count, const char *input, va_list arguments, const char *const *last)
{
    for (const char *argument; (argument = va_arg(arguments, const char *)) != NULL;) {
        if (count >= ARGUMENTS_MAX - 6)
            test_fail("too many arguments");
        argv[count++] = argument;
    }
    for (; *last != NULL; last++)
        argv[count++] = *last;
    argv[count] = NULL;
    struct command command = { .argv = argv,
                               .environment = testbed_environment(bed),
                               .input = span_of_text(input),
                               .uid = bed->uid,
                               .directory = bed->dir };
    command_run(&command, result);
}

void testbed_soloctl_input(const struct testbed *bed, struct result *result, const char *input, ...)
{
    char soloctl[4200];
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed->bin);
    const char *argv[ARGUMENTS_MAX] = { soloctl, "--run", bed->run };
    const char *const last[] = { NULL };
    va_list arguments;
    va_start(arguments, input);
    run_program(bed, result, argv, 3, input, arguments, last);
    va_end(arguments);
}

void testbed_soloctl(const struct testbed *bed, struct result *result, ...)
{
    char soloctl[4200];
    snprintf(soloctl, sizeof soloctl, "%s/soloctl", bed->bin);
    const char *argv[ARGUMENTS_MAX] = { soloctl, "--run", bed->run };
    const char *const last[] = { NULL };
    va_list arguments;
    va_start(arguments, result);
    run_program(bed, result, argv, 3, "", arguments, last);
    va_end(arguments);
}

void testbed_recoveryd(const struct testbed *bed, struct result *result, ...)
{
    char recoveryd[4200];
    snprintf(recoveryd, sizeof recoveryd, "%s/recoveryd", bed->bin);
    const char *argv[ARGUMENTS_MAX] = { recoveryd };
    const char *const last[] = { "--data", bed->data, "--run", bed->run, NULL };
    va_list arguments;
    va_start(arguments, result);
    run_program(bed, result, argv, 1, "", arguments, last);
    va_end(arguments);
}
