#include "soloctl/session.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "soloctl/commands.h"
#include "tests/support/criterion.h"
#include "tests/unit/soloctl/captured.h"

static char folder[] = "/tmp/solo-ctl-XXXXXX";
static char token_file[64];

static void setup(void)
{
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    snprintf(token_file, sizeof token_file, "%s/token", folder);
    unsetenv("SOLO_RUN_DIR");
}

static void clean(void)
{
    unlink(token_file);
    rmdir("run");
    rmdir(folder);
}

TestSuite(session, .init = setup, .fini = clean);

static enum status open_with(struct session *session, enum flag flag, const char *value,
                             struct problem *problem)
{
    struct arguments arguments = { .command = &commands[0] };
    arguments.value[flag] = value;
    return session_open(session, &arguments, problem);
}

static void write_token(const char *text, mode_t mode)
{
    int fd = open(token_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fchmod(fd, mode), 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

Test(session, run_directory_is_the_flag_or_the_environment_or_the_nearest)
{
    struct problem problem = { 0 };
    AUTO(session_close) struct session a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
    cr_assert_eq(open_with(&a, FLAG_help, NULL, &problem), STATUS_OK);
    cr_assert_str_eq(a.run_dir, "/run/solo");
    cr_assert_eq(mkdir("run", 0700), 0);
    cr_assert_eq(open_with(&b, FLAG_help, NULL, &problem), STATUS_OK);
    cr_assert_str_eq(b.run_dir, "./run");
    setenv("SOLO_RUN_DIR", "/elsewhere", 1);
    cr_assert_eq(open_with(&c, FLAG_help, NULL, &problem), STATUS_OK);
    cr_assert_str_eq(c.run_dir, "/elsewhere");
    cr_assert_eq(open_with(&d, FLAG_run, "/named", &problem), STATUS_OK);
    cr_assert_str_eq(d.run_dir, "/named");
}

Test(session, a_token_file_that_others_can_read_is_refused)
{
    struct problem problem = { 0 };
    AUTO(session_close) struct session refused = { 0 }, taken = { 0 };
    write_token("solo_secret\n", 0644);
    cr_assert_eq(open_with(&refused, FLAG_token_file, token_file, &problem),
                 STATUS_PERMISSION_DENIED);
    cr_assert_not_null(strstr(problem.message, "chmod 600"), "%s", problem.message);
    cr_assert_str_eq(refused.token, "", "not even read");
    write_token("solo_secret\n", 0600);
    cr_assert_eq(open_with(&taken, FLAG_token_file, token_file, &problem), STATUS_OK);
    cr_assert_str_eq(taken.token, "solo_secret");
}

Test(session, a_file_without_a_token_is_refused)
{
    struct problem problem = { 0 };
    static char text[2 * TOKEN_BYTES_MAX];
    AUTO(session_close) struct session a = { 0 }, b = { 0 }, c = { 0 };
    write_token("", 0600);
    cr_assert_eq(open_with(&a, FLAG_token_file, token_file, &problem), STATUS_INVALID_ARGUMENT);
    memset(text, 'x', sizeof text - 1);
    write_token(text, 0600);
    cr_assert_eq(open_with(&b, FLAG_token_file, token_file, &problem), STATUS_INVALID_ARGUMENT);
    cr_assert_null(strstr(problem.message, "xxx"), "what may be a token is never shown");
    cr_assert_eq(open_with(&c, FLAG_token_file, "/absent", &problem), STATUS_INVALID_ARGUMENT);
}

Test(session, bad_global_flags_are_usage)
{
    static const struct {
        enum flag flag;
        const char *value;
    } bad[] = { { FLAG_output, "xml" },
                { FLAG_output, "" },
                { FLAG_tenant, "A" },
                { FLAG_request_id, "1" },
                { FLAG_request_id, "017f22e2-79b0-4cc3-98c4-dc0c0c07398f" } };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct problem problem = { 0 };
        AUTO(session_close) struct session session = { 0 };
        cr_assert_eq(open_with(&session, bad[i].flag, bad[i].value, &problem), STATUS_USAGE, "%s",
                     bad[i].value);
    }
}

Test(session, a_request_id_is_taken_or_drawn)
{
    struct problem problem = { 0 };
    char text[UUID_TEXT_BYTES];
    AUTO(session_close) struct session given = { 0 }, drawn = { 0 };
    cr_assert_eq(
        open_with(&given, FLAG_request_id, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", &problem),
        STATUS_OK);
    cr_assert_str_eq(uuid_text(text, &given.request_id), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    cr_assert(given.is_repeated);
    cr_assert_eq(open_with(&drawn, FLAG_help, NULL, &problem), STATUS_OK);
    cr_assert_neq(uuid_milliseconds(&drawn.request_id), 0);
}

Test(session, a_solo_that_does_not_run_is_unavailable_at_once)
{
    struct problem problem = { 0 };
    struct rpc_client *client;
    AUTO(session_close) struct session session = { 0 };
    cr_assert_eq(open_with(&session, FLAG_run, folder, &problem), STATUS_OK);
    cr_assert_eq(session_client(&session, PEER_DEPLOYD, &client, &problem), STATUS_UNAVAILABLE);
    capture(STDERR_FILENO);
    cr_assert_eq(session_fail(&session, "demo/web", STATUS_UNAVAILABLE, &problem), 9);
    cr_assert_not_null(strstr(captured_text(), "is Solo running? start it with scripts/up, or name "
                                               "its run directory with --run"),
                       "%s", captured_text());
}

Test(session, failures_name_command_subject_place_rule_and_code)
{
    struct problem problem;
    struct session session = { .command = &commands[0], .is_changing = true };
    problem_set(&problem, STATUS_INVALID_ARGUMENT, "env.PATH", "must not contain\x1b[2J NUL");
    capture(STDERR_FILENO);
    cr_assert_eq(session_fail(&session, "demo/web", STATUS_INVALID_ARGUMENT, &problem), 65);
    cr_assert_str_eq(captured_text(), "soloctl: deploy demo/web: env.PATH: must not "
                                      "contain\\x1b[2J NUL (invalid_argument)\n");
    problem = (struct problem){ 0 };
    capture(STDERR_FILENO);
    cr_assert_eq(session_fail(&session, "", STATUS_UNKNOWN, &problem), 70);
    cr_assert_not_null(strstr(captured_text(), "soloctl: deploy: outcome unknown (unknown)\n"));
    cr_assert_not_null(strstr(captured_text(), "--request-id "), "how to learn the outcome");
}
