#include "tests/support/criterion.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/spec/spec.h"

static char scratch[64];

static void make_file(const char *name, mode_t mode)
{
    char path[4096];
    cr_assert_eq(path_join(path, scratch, name), STATUS_OK);
    cr_assert_eq(file_write(path, span_of_text("#!/bin/sh\n"), mode), STATUS_OK);
}

static void set_up(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/solo-program-XXXXXX");
    cr_assert_not_null(mkdtemp(scratch));
    char path[4096];
    cr_assert_eq(path_join(path, scratch, "folder"), STATUS_OK);
    cr_assert_eq(mkdir(path, 0755), 0);
    make_file("runs", 0755);
    make_file("reads", 0644);
}

static void tear_down(void)
{
    directory_remove(scratch);
}

TestSuite(program, .init = set_up, .fini = tear_down);

static enum status find(const char *program, const char *path, const char *working_dir, char *found)
{
    strcpy(found, "untouched");
    return program_find(program, path, working_dir, found);
}

Test(program, a_name_is_looked_up_in_the_path_in_order)
{
    char path[128], found[4096], expected[128];
    snprintf(path, sizeof path, "/nowhere:%s:/bin", scratch);
    snprintf(expected, sizeof expected, "%s/runs", scratch);
    cr_assert_eq(find("runs", path, "/", found), STATUS_OK);
    cr_assert_str_eq(found, expected);
    cr_assert_eq(find("sh", path, "/", found), STATUS_OK);
    cr_assert_str_eq(found, "/bin/sh");
}

Test(program, an_absolute_name_needs_no_path)
{
    char found[4096];
    cr_assert_eq(find("/bin/sh", "", "", found), STATUS_OK);
    cr_assert_str_eq(found, "/bin/sh");
}

Test(program, a_relative_name_is_taken_from_the_working_directory)
{
    char found[4096], expected[128];
    snprintf(expected, sizeof expected, "%s/./runs", scratch);
    cr_assert_eq(find("./runs", "/bin", scratch, found), STATUS_OK);
    cr_assert_str_eq(found, expected);
    cr_assert_eq(find("./runs", "/bin", "/", found), STATUS_NOT_FOUND);
    cr_assert_eq(find("./runs", "/bin", "", found), STATUS_NOT_FOUND);
}

Test(program, an_empty_element_of_the_path_is_the_working_directory)
{
    char found[4096];
    cr_assert_eq(find("runs", ":/bin", scratch, found), STATUS_OK);
    cr_assert_eq(find("runs", "/bin:", scratch, found), STATUS_OK);
    cr_assert_eq(find("runs", "/bin", scratch, found), STATUS_NOT_FOUND);
}

Test(program, what_is_not_there_is_not_found_and_nothing_is_written)
{
    char found[4096];
    cr_assert_eq(find("no-such-program", "/bin:/usr/bin", "/", found), STATUS_NOT_FOUND);
    cr_assert_str_eq(found, "untouched");
    cr_assert_eq(find("", "/bin", "/", found), STATUS_NOT_FOUND);
    cr_assert_eq(find("sh", "bin", "/", found), STATUS_NOT_FOUND);
}

Test(program, a_file_that_cannot_be_executed_is_permission_denied)
{
    char found[4096];
    cr_assert_eq(find("reads", scratch, "/", found), STATUS_PERMISSION_DENIED);
    cr_assert_eq(find("folder", scratch, "/", found), STATUS_PERMISSION_DENIED);
    cr_assert_str_eq(found, "untouched");
}

Test(program, a_later_element_may_still_have_it)
{
    char path[128], found[4096];
    make_file("sh", 0644);
    snprintf(path, sizeof path, "%s:/bin", scratch);
    cr_assert_eq(find("sh", path, "/", found), STATUS_OK);
    cr_assert_str_eq(found, "/bin/sh");
}

Test(program, a_name_that_is_too_long_is_not_found)
{
    char found[4096], name[5000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_assert_eq(find(name, "/bin", "/", found), STATUS_NOT_FOUND);
}

/* --- of a spec --- */

/* {DATA} is the folder of the test, where acme's own tool lies in the folder of its service api. */
static const struct {
    const char *program, *path, *working_dir;
    bool has_code;
    enum status status;
    const char *field, *words;
} checks[] = {
    { "sh", "/usr/bin:/bin", "", false, STATUS_OK, "", "" },
    { "/bin/sh", "", "", false, STATUS_OK, "", "" },
    { "no-such", "/usr/bin:/bin", "", false, STATUS_FAILED_PRECONDITION, "argv[0]",
      "no-such not found in PATH /usr/bin:/bin" },
    { "no-such", "/bin", "", true, STATUS_FAILED_PRECONDITION, "interpreter",
      "no-such not found in PATH /bin" },
    { "/no/such", "/bin", "", false, STATUS_FAILED_PRECONDITION, "argv[0]", "/no/such not found" },
    { "{DATA}/reads", "/bin", "", true, STATUS_FAILED_PRECONDITION, "interpreter", "" },
    { "{code}", "/bin", "", true, STATUS_UNKNOWN, "interpreter", "" },
    { "{code}", "/bin", "", false, STATUS_FAILED_PRECONDITION, "argv[0]", "" },
    /* in the service's own folder, under each of its names */
    { "./tool", "/bin", "", false, STATUS_OK, "", "" },
    { "tool", ":/bin", "", false, STATUS_OK, "", "" },
    { "{DATA}/tenants/acme/api/tool", "/bin", "", false, STATUS_OK, "", "" },
    { "/var/lib/solo/tenants/acme/api/tool", "/bin", "", false, STATUS_OK, "", "" },
    { "tool", "/var/lib/solo/tenants/acme/api", "", false, STATUS_OK, "", "" },
    { "./tool", "/bin", "/var/lib/solo/tenants/acme/api", false, STATUS_OK, "", "" },
    { "/var/lib/solo/tenants/acme/api/plain", "/bin", "", false, STATUS_FAILED_PRECONDITION,
      "argv[0]", "/var/lib/solo/tenants/acme/api/plain cannot be executed" },
    { "/var/lib/solo/tenants/acme/api/none", "/bin", "", false, STATUS_FAILED_PRECONDITION,
      "argv[0]", "/var/lib/solo/tenants/acme/api/none not found" },
    /* a link into what only the service sees */
    { "./current/tool", "/bin", "", false, STATUS_UNKNOWN, "argv[0]", "" },
    /* the directory that it starts in */
    { "/bin/sh", "", "/", false, STATUS_OK, "", "" },
    { "/bin/sh", "", "/no/such", false, STATUS_FAILED_PRECONDITION, "working_dir",
      "/no/such not found: the directory must be there when the service starts" },
    { "no-such", "/bin", "/no/such", true, STATUS_FAILED_PRECONDITION, "working_dir", "" },
    { "/bin/sh", "", "/etc/passwd", false, STATUS_FAILED_PRECONDITION, "working_dir",
      "/etc/passwd is no directory that can be entered" },
    { "/bin/sh", "", "/var/lib/solo/tenants/acme/api", false, STATUS_OK, "", "" },
    { "/bin/sh", "", "/var/lib/solo/tenants/acme/api/none", false, STATUS_FAILED_PRECONDITION,
      "working_dir", "" },
    { "/bin/sh", "", "/var/lib/solo/tenants/acme/api/plain", false, STATUS_FAILED_PRECONDITION,
      "working_dir", "" },
    { "/bin/sh", "", "/var/lib/solo/tenants/acme/api/current", false, STATUS_UNKNOWN, "working_dir",
      "" },
    { "/bin/sh", "", "/var/lib/solo/tenants/acme2", false, STATUS_UNKNOWN, "working_dir",
      "/var/lib/solo/tenants/acme2 is seen by the service only" },
    { "/bin/sh", "", "/run/solo", false, STATUS_UNKNOWN, "working_dir", "" },
    { "/no/such", "", "/run/solo", false, STATUS_FAILED_PRECONDITION, "argv[0]", "" },
    /* what is somebody else's, or of Solo itself */
    { "/var/lib/solo/tenants/acme2/api/tool", "/bin", "", false, STATUS_UNKNOWN, "argv[0]", "" },
    { "/var/lib/solo/run-tenants/acme/api/7/code", "/bin", "", false, STATUS_UNKNOWN, "argv[0]",
      "/var/lib/solo/run-tenants/acme/api/7/code is seen by the service only" },
    { "no-such", "/var/lib/solo/bin:/bin", "", false, STATUS_UNKNOWN, "argv[0]", "" },
    { "sh", "/var/lib/solo/bin:/bin", "", false, STATUS_OK, "", "" },
};

static const char *with_data(const char *text, char expanded[4096])
{
    bool is_in_data = strncmp(text, "{DATA}", 6) == 0;
    snprintf(expanded, 4096, "%s%s", is_in_data ? scratch : "", is_in_data ? text + 6 : text);
    return expanded;
}

static enum status check(size_t i, struct program_memory *memory, struct problem *problem)
{
    char program[4096];
    const char *list[] = { with_data(checks[i].program, program), NULL };
    const struct spec_pair path = { "PATH", checks[i].path };
    const struct spec spec = {
        .tenant = "acme",
        .name = "api",
        .argv = { list, 1 },
        .code = checks[i].has_code ? span_of_text("code") : (struct span){ 0 },
        .interpreter = { list, checks[i].has_code ? 1 : 0 },
        .env = &path,
        .env_count = 1,
        .working_dir = checks[i].working_dir,
    };
    return spec_program_check(&spec, scratch, PROGRAM_OWN_UID, memory, problem);
}

Test(program, the_program_of_a_spec_is_looked_up_as_its_service_sees_it)
{
    char own[4096], link[4096];
    path_join(own, scratch, "tenants/acme/api");
    cr_assert_eq(directory_make(own, 0755), STATUS_OK);
    make_file("tenants/acme/api/tool", 0755);
    make_file("tenants/acme/api/plain", 0644);
    path_join(link, own, "current");
    cr_assert_eq(symlink("/var/lib/solo/tenants/acme/api/versions/3", link), 0);
    struct program_memory memory = { 0 };
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
            struct problem problem = { 0 };
            enum status status = check(i, round == 0 ? NULL : &memory, &problem);
            cr_assert_eq(status, checks[i].status, "%s in %s: %s %s", checks[i].program,
                         checks[i].path, status_name(status), problem.message);
            cr_assert_str_eq(problem.field, checks[i].field, "%s", checks[i].program);
            if (checks[i].words[0] != '\0')
                cr_assert_str_eq(problem.message, checks[i].words);
        }
}

Test(program, what_the_tenant_may_not_execute_is_refused)
{
    static const struct {
        mode_t folder, file;
        enum status status;
    } cases[] = {
        { 0755, 0755, STATUS_OK },
        { 0755, 0700, STATUS_FAILED_PRECONDITION },
        { 0700, 0755, STATUS_FAILED_PRECONDITION },
    };
    char path[4096];
    if (geteuid() != 0)
        cr_skip("one uid");
    int death_signal = 0;
    cr_assert_eq(prctl(PR_SET_PDEATHSIG, SIGUSR1), 0);
    cr_assert_eq(prctl(PR_SET_DUMPABLE, 0), 0);
    cr_assert_eq(path_join(path, scratch, "runs"), STATUS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct problem problem = { 0 };
        const char *list[] = { path };
        const struct spec spec = {
            .tenant = "acme", .name = "api", .argv = { list, 1 }, .working_dir = ""
        };
        cr_assert_eq(chmod(scratch, cases[i].folder), 0);
        cr_assert_eq(chmod(path, cases[i].file), 0);
        cr_expect_eq(spec_program_check(&spec, scratch, 65534, NULL, &problem), cases[i].status,
                     "%o/%o: %s", cases[i].folder, cases[i].file, problem.message);
        cr_expect_eq(spec_program_check(&spec, scratch, PROGRAM_OWN_UID, NULL, &problem), STATUS_OK,
                     "our own rights are back");
    }
    cr_expect_eq(prctl(PR_GET_PDEATHSIG, &death_signal), 0);
    cr_expect_eq(death_signal, SIGUSR1, "deployd would outlive solod");
    cr_expect_eq(prctl(PR_GET_DUMPABLE), 0, "its memory is nobody's to look into");
}

Test(program, the_program_of_a_probe_is_looked_up_too)
{
    const char *list[] = { "/bin/sh" }, *probes[] = { "/bin/true", "/nonexistent/probe" };
    for (size_t i = 0; i < 2; i++) {
        struct problem problem = { 0 };
        const struct spec spec = {
            .tenant = "acme",
            .name = "api",
            .argv = { list, 1 },
            .ready = { .by = READY_EXEC, .argv = { &probes[i], 1 } },
            .working_dir = "",
        };
        cr_assert_eq(spec_program_check(&spec, scratch, PROGRAM_OWN_UID, NULL, &problem),
                     i == 0 ? STATUS_OK : STATUS_FAILED_PRECONDITION, "%s", problem.message);
        cr_assert_str_eq(problem.field, i == 0 ? "" : "ready.argv[0]");
    }
}

/* It is made before the first start. */
Test(program, the_own_folder_of_a_service_need_not_be_there)
{
    char own[4096];
    const char *folders[] = { "/var/lib/solo/tenants/acme/api", own,
                              "/var/lib/solo/tenants/acme/other" };
    const char *list[] = { "/bin/sh" };
    path_join(own, scratch, "tenants/acme/api");
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct problem problem = { 0 };
        const struct spec spec = {
            .tenant = "acme",
            .name = "api",
            .argv = { list, 1 },
            .working_dir = folders[i],
        };
        cr_assert_eq(spec_program_check(&spec, scratch, PROGRAM_OWN_UID, NULL, &problem),
                     i < 2 ? STATUS_OK : STATUS_FAILED_PRECONDITION, "%s: %s", folders[i],
                     problem.message);
    }
}
