#include "common/base/run_folder.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/base/name.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

static char run[4096];

static void set_up(void)
{
    char tenants[4096];
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    snprintf(run, sizeof run, "%s", scratch_path("run"));
    cr_assert_eq(path_join(tenants, run, RUN_TENANTS), STATUS_OK);
    cr_assert_eq(directory_make(tenants, 0700), STATUS_OK);
}

TestSuite(run_folder, .init = set_up, .fini = scratch_remove);

static void write_text(const char *file, const char *text)
{
    char path[4096];
    cr_assert_eq(path_join(path, run, file), STATUS_OK);
    cr_assert_eq(file_write(path, span_of_text(text), 0600), STATUS_OK);
}

Test(run_folder, has_a_place_for_each_thing)
{
    char path[4096], longest[NAME_BYTES_MAX + 1], expected[256], folder[4096];
    cr_assert_eq(run_socket_path(path, "/r", "eventd"), STATUS_OK);
    cr_assert_str_eq(path, "/r/eventd.sock");
    cr_assert_eq(run_internal_path(path, "/r", "solod.lock"), STATUS_OK);
    cr_assert_str_eq(path, "/r/internal/solod.lock");
    cr_assert_eq(tenant_lock_path(path, "/r", "acme"), STATUS_OK);
    cr_assert_str_eq(path, "/r/internal/tenants/acme.lock");
    memset(longest, 'x', NAME_BYTES_MAX);
    longest[NAME_BYTES_MAX] = '\0';
    snprintf(expected, sizeof expected, "/r/internal/tenants/%s.sock", longest);
    cr_assert_eq(tenant_socket_path(path, "/r", longest), STATUS_OK);
    cr_assert_str_eq(path, expected);
    memset(folder, 'y', sizeof folder - 1);
    folder[sizeof folder - 1] = '\0';
    cr_assert_eq(run_socket_path(path, folder, "eventd"), STATUS_RESOURCE_EXHAUSTED);
}

/* --- supervisors --- */

struct seen {
    char tenants[8][NAME_BYTES_MAX + 1];
    size_t count;
    enum status answer;
};

static enum status visit(void *context, const char *tenant)
{
    struct seen *seen = context;
    snprintf(seen->tenants[seen->count++], sizeof seen->tenants[0], "%s", tenant);
    return seen->answer;
}

Test(run_folder, each_tenant_whose_lock_is_held_is_visited)
{
    char path[4096];
    struct file_lock acme = FILE_LOCK_NONE, other = FILE_LOCK_NONE;
    cr_assert_eq(tenant_lock_path(path, run, "acme"), STATUS_OK);
    cr_assert_eq(file_lock_take(&acme, path, 0), STATUS_OK);
    cr_assert_eq(run_internal_path(path, run, "tenants/Not a name.lock"), STATUS_OK);
    cr_assert_eq(file_lock_take(&other, path, 0), STATUS_OK);
    write_text(RUN_TENANTS "/free.lock", "");
    write_text(RUN_TENANTS "/.lock", "");
    write_text(RUN_TENANTS "/acme.sock", "");
    struct seen seen = { .answer = STATUS_OK };
    cr_assert_eq(tenants_locked_each(run, visit, &seen), STATUS_OK);
    cr_assert_eq(seen.count, 1);
    cr_assert_str_eq(seen.tenants[0], "acme");
    file_lock_release(&acme);
    cr_assert_eq(tenants_locked_each(run, visit, &seen), STATUS_OK);
    cr_assert_eq(seen.count, 1);
    file_lock_release(&other);
}

Test(run_folder, a_visit_that_fails_ends_the_round)
{
    char path[4096];
    static const char *const names[] = { "a", "b" };
    struct file_lock locks[2] = { FILE_LOCK_NONE, FILE_LOCK_NONE };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        cr_assert_eq(tenant_lock_path(path, run, names[i]), STATUS_OK);
        cr_assert_eq(file_lock_take(&locks[i], path, 0), STATUS_OK);
    }
    struct seen seen = { .answer = STATUS_IO };
    cr_assert_eq(tenants_locked_each(run, visit, &seen), STATUS_IO);
    cr_assert_eq(seen.count, 1);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        file_lock_release(&locks[i]);
}

Test(run_folder, one_that_is_not_there_has_no_supervisors)
{
    struct seen seen = { .answer = STATUS_OK };
    cr_assert_eq(tenants_locked_each(scratch_path("none"), visit, &seen), STATUS_OK);
    cr_assert_eq(seen.count, 0);
}

/* --- ids --- */

Test(run_folder, says_which_boot_it_belongs_to)
{
    char boot_id[BOOT_ID_BYTES], line[BOOT_ID_BYTES + 2], big[512];
    enum run_boot boot;
    cr_assert_eq(run_boot_find(run, &boot), STATUS_OK);
    cr_assert_eq(boot, RUN_BOOT_UNKNOWN);
    cr_assert_eq(run_boot_write(run), STATUS_OK);
    cr_assert_eq(run_boot_find(run, &boot), STATUS_OK);
    cr_assert_eq(boot, RUN_BOOT_CURRENT);
    clock_boot_id(boot_id);
    snprintf(line, sizeof line, "%s\n", boot_id);
    write_text("boot_id", line);
    cr_assert_eq(run_boot_find(run, &boot), STATUS_OK);
    cr_assert_eq(boot, RUN_BOOT_CURRENT, "written by a person, with a line's end");
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    const char *const others[] = { "", "\n", "00000000-0000-0000-0000-000000000000", big };
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        write_text("boot_id", others[i]);
        cr_assert_eq(run_boot_find(run, &boot), STATUS_OK);
        cr_assert_eq(boot, RUN_BOOT_EARLIER);
    }
}

Test(run_folder, the_id_of_a_run_is_what_was_written_or_none)
{
    char text[UUID_TEXT_BYTES], written[UUID_TEXT_BYTES], line[UUID_TEXT_BYTES + 2];
    cr_assert_eq(run_id_read(run, text), STATUS_NOT_FOUND);
    struct uuid id = uuid_draw();
    cr_assert_eq(run_id_write(run, &id), STATUS_OK);
    cr_assert_eq(run_id_read(run, text), STATUS_OK);
    cr_assert_str_eq(text, uuid_text(written, &id));
    snprintf(line, sizeof line, "%s\n", written);
    write_text(RUN_INTERNAL "/run_id", line);
    cr_assert_eq(run_id_read(run, text), STATUS_OK);
    cr_assert_str_eq(text, written);
    write_text(RUN_INTERNAL "/run_id", "nonsense");
    cr_assert_eq(run_id_read(run, text), STATUS_NOT_FOUND);
    write_text(RUN_INTERNAL "/run_id", "");
    cr_assert_eq(run_id_read(run, text), STATUS_NOT_FOUND);
}

Test(run_folder, a_program_of_solo_lies_beside_the_one_that_runs)
{
    char path[4096];
    cr_assert_eq(program_beside(path, "test_base"), STATUS_OK);
    cr_assert_eq(access(path, X_OK), 0, "%s", path);
    cr_assert_eq(path[0], '/');
}
