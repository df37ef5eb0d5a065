#include "tests/support/criterion.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/spec/program.h"

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
