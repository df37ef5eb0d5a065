/* What a process begins with, as the process itself sees it; and what happens when it cannot begin.
 */
#include "tenantd/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/scratch.h"

static char *const no_environment[] = { "ONE=1", "TWO=", NULL };

struct outcome {
    enum status status;
    struct spawn_failure failure;
    int exit_status;
    char out[32768], err[4096];
};

static void read_all(int fd, char *text, size_t size)
{
    size_t used = 0;
    for (ssize_t got; used < size - 1 && (got = read(fd, text + used, size - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = '\0';
    close(fd);
}

static void run(struct spawn_request request, struct outcome *outcome)
{
    int out[2], err[2];
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(err, O_CLOEXEC), 0);
    request.input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    request.output = out[1];
    request.error = err[1];
    request.cgroup = -1;
    pid_t pid = -1;
    outcome->exit_status = -1;
    outcome->status = spawn(&request, &pid, NULL, &outcome->failure);
    close(request.input);
    close(out[1]);
    close(err[1]);
    read_all(out[0], outcome->out, sizeof outcome->out);
    read_all(err[0], outcome->err, sizeof outcome->err);
    if (outcome->status == STATUS_OK)
        cr_assert_eq(waitpid(pid, &outcome->exit_status, 0), pid);
}

static bool may_have_a_core(void)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    return geteuid() == 0 || limit.rlim_max > 0;
}

static struct spawn_request probe(void)
{
    static char *const arguments[] = { "first", "second argument", "", NULL };
    return (struct spawn_request){ .program = PROGRAM_DIR "/spawn_probe",
                                   .arguments = arguments,
                                   .environment = no_environment,
                                   .working_dir = "/" };
}

/* The rest of the line that begins with `key`. */
static char *fact(const struct outcome *outcome, const char *key)
{
    static char value[512];
    size_t size = strlen(key);
    for (const char *line = outcome->out; line != NULL && *line != '\0';) {
        if (strncmp(line, key, size) == 0 && line[size] == ' ') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + size + 1, "\n"),
                     line + size + 1);
            return value;
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    cr_assert_fail("no fact %s in:\n%s", key, outcome->out);
    return NULL;
}

static void expect_fact(const struct outcome *outcome, const char *key, const char *value)
{
    cr_assert_str_eq(fact(outcome, key), value, "%s is %s, not %s", key, fact(outcome, key), value);
}

Test(spawn, a_process_begins_with_nothing_but_what_it_was_given)
{
    static struct outcome outcome;
    /* Things of ours that must not show in it. */
    int leaked = open("/dev/zero", O_RDONLY);
    cr_assert_geq(leaked, 3);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    setenv("SECRET", "1", 1);

    run(probe(), &outcome);
    cr_assert_eq(outcome.status, STATUS_OK);
    cr_assert(WIFEXITED(outcome.exit_status));
    cr_assert_eq(WEXITSTATUS(outcome.exit_status), 7);
    cr_assert_str_eq(outcome.err, "to standard error\n");
    expect_fact(&outcome, "descriptors", "0 1 2");
    expect_fact(&outcome, "SigBlk", "0000000000000000");
    expect_fact(&outcome, "SigIgn", "0000000000000000");
    expect_fact(&outcome, "SigCgt", "0000000000000000");
    expect_fact(&outcome, "NoNewPrivs", "1");
    expect_fact(&outcome, "CapInh", "0000000000000000");
    expect_fact(&outcome, "CapAmb", "0000000000000000");
    expect_fact(&outcome, "core", may_have_a_core() ? "1 1" : "0 0");
    expect_fact(&outcome, "death", "9");
    expect_fact(&outcome, "leads_session", "1");
    expect_fact(&outcome, "leads_group", "1");
    expect_fact(&outcome, "umask", "22");
    expect_fact(&outcome, "directory", "/");
    cr_assert_leq(atoi(fact(&outcome, "files")), 1024);
    cr_assert_not_null(strstr(outcome.out, "argument first\nargument second argument\nargument \n"
                                           "environment ONE=1\nenvironment TWO=\n"));
    cr_assert_null(strstr(outcome.out, "SECRET"));
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    cr_assert(sigismember(&now, SIGTERM));
    cr_assert_not(sigismember(&now, SIGUSR1));
    close(leaked);
}

Test(spawn, as_root_it_runs_as_the_tenant_without_any_capability)
{
    static struct outcome outcome;
    if (geteuid() != 0)
        cr_skip("needs root");
    struct spawn_request request = probe();
    /* The build folder may be below somebody's private home. */
    AUTO(scratch_close) struct scratch scratch;
    scratch_open(&scratch);
    char command[PATH_MAX * 2 + 64], program[PATH_MAX];
    snprintf(command, sizeof command, "cp %s %s/probe && chmod 755 %s/probe", request.program,
             scratch.path, scratch.path);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(path_join(program, scratch.path, "probe"), STATUS_OK);
    request.program = program;
    request.has_ids = true;
    request.uid = 212345;
    request.gid = 212346;
    run(request, &outcome);
    cr_assert_eq(outcome.status, STATUS_OK);
    expect_fact(&outcome, "ids", "212345 212345 212346 212346");
    expect_fact(&outcome, "groups", "0");
    expect_fact(&outcome, "CapPrm", "0000000000000000");
    expect_fact(&outcome, "CapEff", "0000000000000000");
    expect_fact(&outcome, "CapBnd", "0000000000000000");
    expect_fact(&outcome, "death", "9");
}

Test(spawn, says_which_step_failed_and_why)
{
    static struct outcome outcome;
    struct spawn_request request = probe();
    request.program = "/nonexistent/program";
    run(request, &outcome);
    cr_assert_eq(outcome.status, STATUS_FAILED_PRECONDITION);
    cr_assert_str_eq(outcome.failure.step, "exec");
    cr_assert_eq(outcome.failure.error, ENOENT);

    request.program = "/etc/passwd";
    run(request, &outcome);
    cr_assert_eq(outcome.status, STATUS_FAILED_PRECONDITION);
    cr_assert_eq(outcome.failure.error, EACCES);

    request = probe();
    request.working_dir = "/nonexistent";
    run(request, &outcome);
    cr_assert_eq(outcome.status, STATUS_FAILED_PRECONDITION);
    cr_assert_str_eq(outcome.failure.step, "chdir");
    cr_assert_eq(outcome.failure.error, ENOENT);
    /* No zombie is left of any of them. */
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
    cr_assert_eq(errno, ECHILD);
}

Test(spawn, a_text_file_is_not_run_by_a_shell)
{
    static struct outcome outcome;
    AUTO(scratch_close) struct scratch scratch;
    scratch_open(&scratch);
    char path[PATH_MAX];
    cr_assert_eq(path_join(path, scratch.path, "script"), STATUS_OK);
    cr_assert_eq(file_write(path, span_of_text("echo hello\n"), 0755), STATUS_OK);
    struct spawn_request request = probe();
    request.program = path;
    run(request, &outcome);
    cr_assert_eq(outcome.status, STATUS_FAILED_PRECONDITION);
    cr_assert_eq(outcome.failure.error, ENOEXEC);
}

Test(spawn, out_of_processes_is_a_status)
{
    if (geteuid() == 0)
        cr_skip("the limit does not bind root");
    static struct outcome outcome;
    struct rlimit before, none;
    cr_assert_eq(getrlimit(RLIMIT_NPROC, &before), 0);
    none = (struct rlimit){ 0, before.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_NPROC, &none), 0);
    run(probe(), &outcome);
    cr_assert_eq(setrlimit(RLIMIT_NPROC, &before), 0);
    cr_assert_eq(outcome.status, STATUS_RESOURCE_EXHAUSTED);
}

/* From here on the kernel does not know this call. */
static void forget_call(unsigned number)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { COUNT_OF(filter), filter };
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void on_signal(int number)
{
    (void)number;
}

Test(spawn, begins_the_same_way_on_an_older_kernel)
{
    static const unsigned unknown[] = { SYS_clone3, SYS_close_range };
    static struct outcome outcome;
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, on_signal);
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        forget_call(unknown[i]);
        run(probe(), &outcome);
        cr_assert_eq(outcome.status, STATUS_OK);
        cr_assert_eq(WEXITSTATUS(outcome.exit_status), 7);
        expect_fact(&outcome, "SigBlk", "0000000000000000");
        expect_fact(&outcome, "SigIgn", "0000000000000000");
        expect_fact(&outcome, "SigCgt", "0000000000000000");
        expect_fact(&outcome, "leads_session", "1");
    }
}

Test(spawn, leaves_our_descriptors_alone)
{
    enum { OPEN = 200 };
    static struct outcome outcome;
    static int ours[OPEN];
    run(probe(), &outcome);
    for (int i = 0; i < OPEN; i++)
        cr_assert_geq(ours[i] = open("/dev/zero", O_RDONLY | (i % 2 == 0 ? O_CLOEXEC : 0)), 0);
    int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(before);
    for (int i = 0; i < 3; i++) {
        run(probe(), &outcome); /* reads to the end of both pipes: no end of them stays with us */
        cr_assert_eq(outcome.status, STATUS_OK);
        expect_fact(&outcome, "descriptors", "0 1 2");
    }
    for (int i = 0; i < OPEN; i++)
        cr_assert_eq(fcntl(ours[i], F_GETFD), i % 2 == 0 ? FD_CLOEXEC : 0);
    int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(after, before, "a descriptor was left open");
    close(after);
}
