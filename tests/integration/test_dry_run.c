/* A dry run changes nothing at all and predicts what the real run does. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "tests/support/expect.h"

enum { ATTEMPTS = 40, PAUSE_MS = 250 };

TestSuite(dry_run, .timeout = 240);

enum { ENTRIES_MAX = 20000 };

/* Everything that lies below a folder, as text: path, kind, size, times, content. */
struct picture {
    char *lines[ENTRIES_MAX];
    size_t count;
};

static void picture_close(struct picture *picture)
{
    for (size_t i = 0; i < picture->count; i++)
        free(picture->lines[i]);
    picture->count = 0;
}

static void picture_add(struct picture *picture, const char *path, const char *spared)
{
    struct stat info;
    if (lstat(path, &info) != 0)
        cr_assert_fail("cannot stat %s", path);
    char content[HASH_TEXT_BYTES] = "";
    if (S_ISREG(info.st_mode)) {
        AUTO(buffer_close) struct buffer bytes = { .limit = 512 * 1024 * 1024 };
        cr_assert_eq(file_read(path, &bytes), STATUS_OK, "%s", path);
        struct hash hash = hash_of(buffer_span(&bytes));
        hex_text(content, hash.bytes, sizeof hash.bytes);
    }
    bool is_spared = spared != NULL && strstr(path, spared) != NULL;
    cr_assert_lt(picture->count, ENTRIES_MAX);
    if (is_spared)
        return;
    cr_assert_geq(asprintf(&picture->lines[picture->count++],
                           "%s mode %o owner %u:%u links %lu size %ld inode %lu mtime %ld.%09ld "
                           "ctime %ld.%09ld %s",
                           path, info.st_mode, info.st_uid, info.st_gid,
                           (unsigned long)info.st_nlink, (long)info.st_size,
                           (unsigned long)info.st_ino, info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
                           info.st_ctim.tv_sec, info.st_ctim.tv_nsec, content),
                  0);
    if (!S_ISDIR(info.st_mode))
        return;
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char below[4096];
        if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0 &&
            path_join(below, path, entries[i]->d_name) == STATUS_OK)
            picture_add(picture, below, spared);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static bool is_same_picture(const struct picture *before, const struct picture *after)
{
    bool is_same = before->count == after->count;
    for (size_t i = 0; is_same && i < before->count; i++)
        is_same = strcmp(after->lines[i], before->lines[i]) == 0;
    return is_same;
}

static void expect_same_picture(const struct picture *before, const struct picture *after)
{
    for (size_t i = 0; i < before->count && i < after->count; i++)
        cr_assert_str_eq(after->lines[i], before->lines[i], "changed:\n%s\n%s", before->lines[i],
                         after->lines[i]);
    cr_assert_eq(after->count, before->count, "%zu entries before, %zu after", before->count,
                 after->count);
}

/* A mixture: running, killed, redeployed, to be lost. */
static void deploy_mixture(const struct testbed *bed)
{
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        service_deploy_sleeper(bed, i % 2 == 0 ? "acme" : "beta", name);
    }
    service_kill(bed, "acme", "s4");
    service_kill(bed, "beta", "s5");
    service_deploy(bed, service_spec(bed, "acme", "s6", "sleeper", "again", NULL));
    char sleeper[4096], moved[4096];
    testbed_program(bed, "sleeper", sleeper);
    testbed_program(bed, "gone", moved);
    cr_assert_eq(link(sleeper, moved), 0);
    service_deploy(bed,
                   json_pack("{s:s, s:s, s:[s]}", "tenant", "beta", "name", "lost", "argv", moved));
    cr_assert_eq(unlink(moved), 0);
}

static json_t *dry_run(const struct testbed *bed)
{
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(bed, &result, "--dry-run", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *plan = result_json(&result);
    cr_assert(json_is_true(json_object_get(plan, "dry_run")));
    return plan;
}

/* The two have the same actions, in the same order. */
static void expect_same_actions(const json_t *plan, const json_t *report)
{
    json_t *left = json_object_get(plan, "actions"), *right = json_object_get(report, "actions");
    cr_assert_eq(json_array_size(left), json_array_size(right), "%zu predicted, %zu done",
                 json_array_size(left), json_array_size(right));
    static const char *const texts[] = { "action", "tenant", "service", "code" };
    for (size_t i = 0; i < json_array_size(left); i++) {
        json_t *predicted = json_array_get(left, i), *done = json_array_get(right, i);
        for (size_t k = 0; k < COUNT_OF(texts); k++)
            expect_text(done, texts[k], text_in(predicted, texts[k]));
        expect_number(done, "generation", number_in(predicted, "generation"));
    }
    cr_assert(json_equal(json_object_get(plan, "summary"), json_object_get(report, "summary")),
              "the summaries differ");
}

/* Looks and runs: files stay as they are, and what was predicted comes true. The owner of the plan
 * that is returned is the caller. */
static json_t *expect_prediction(struct testbed *bed)
{
    static struct picture before, after;
    picture_add(&before, bed->data, NULL);
    picture_add(&before, bed->run, NULL);
    json_t *plan = dry_run(bed);
    picture_add(&after, bed->data, NULL);
    picture_add(&after, bed->run, NULL);
    expect_same_picture(&before, &after);
    printf("%zu files and folders are the same before and after\n", before.count);
    picture_close(&before);
    picture_close(&after);

    testbed_set(bed, "SOLO_RECOVERY_ENABLED", "false");
    testbed_start(bed);
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(bed, &result, "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *report = result_json(&result);
    expect_text(report, "kind", "recovery_report");
    expect_same_actions(plan, report);
    expect_number(report, "recovered", number_in(json_object_get(plan, "summary"), "start"));
    json_decref(report);
    return plan;
}

static void nothing_is_written(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, flags);
    testbed_start(&bed);
    deploy_mixture(&bed);
    testbed_kill_everything(&bed);
    json_t *plan = expect_prediction(&bed);
    expect_text(json_object_get(plan, "log"), "live", "matches");
    expect_number(json_object_get(plan, "summary"), "start", 10);
    expect_number(json_object_get(plan, "summary"), "cannot_recover", 1);
    json_decref(plan);
}

Test(dry_run, with_all_daemons_down_not_one_byte_is_written_and_the_prediction_holds)
{
    nothing_is_written(0);
}

Test(dry_run, the_same_as_an_ordinary_user)
{
    nothing_is_written(TESTBED_AS_USER);
}

/* --- a projection that is damaged --- */

/* Flips a bit of a service's row in `live` in the file itself, and says whether it was found: its
 * key stands before its value, which begins with the name of the first field. */
static bool damage_live_row(const struct testbed *bed, const char *key)
{
    char path[4096], pattern[128];
    AUTO(buffer_close) struct buffer bytes = { .limit = 512 * 1024 * 1024 };
    cr_assert_eq(path_join(path, bed->data, "events/data.mdb"), STATUS_OK);
    cr_assert_eq(file_read(path, &bytes), STATUS_OK);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    /* LMDB leaves older pages behind: all of them, the one in use among them. */
    size_t size = (size_t)snprintf(pattern, sizeof pattern, "%s", key), count = 0;
    const uint8_t *at = bytes.data, *end = bytes.data + bytes.size;
    while ((at = memmem(at, (size_t)(end - at), pattern, size)) != NULL) {
        const uint8_t *value = at + size;
        at = value;
        if (end - value < 12 || (value[0] & 0xf0) != 0x80 || memcmp(value + 2, "generation", 10))
            continue;
        uint8_t changed = value[12] ^ 1;
        cr_assert_eq(pwrite(fd, &changed, 1, value + 12 - bytes.data), 1);
        count++;
    }
    close(fd);
    return count > 0;
}

static void damaged_live_is_predicted(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, flags);
    testbed_start(&bed);
    deploy_mixture(&bed);
    testbed_kill_everything(&bed);
    cr_assert(damage_live_row(&bed, "acme/s6"));
    testbed_recoveryd(&bed, &result, "--dry-run", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "live projection damaged: eventd will rebuild it");
    testbed_recoveryd(&bed, &result, "verify", NULL);
    expect_exit(&result, 86);
    json_t *plan = expect_prediction(&bed);
    expect_text(json_object_get(plan, "log"), "live", "damaged");
    expect_number(json_object_get(plan, "log"), "chain_from", 1);
    expect_number(json_object_get(plan, "summary"), "start", 10);
    json_decref(plan);
    cr_assert_geq(testbed_log_count(&bed, "folding the log anew"), 1);
    plan = dry_run(&bed);
    expect_text(json_object_get(plan, "log"), "live", "matches");
    json_decref(plan);
}

Test(dry_run, a_damaged_live_projection_is_folded_in_memory_and_the_prediction_holds)
{
    damaged_live_is_predicted(0);
}

Test(dry_run, the_same_with_a_damaged_live_projection_as_an_ordinary_user)
{
    damaged_live_is_predicted(TESTBED_AS_USER);
}

/* --- programs that are not where the host has them --- */

static void own_file(const struct testbed *bed, const char *service, const char *file, mode_t mode)
{
    char path[4096], below[256], program[4096];
    AUTO(buffer_close) struct buffer bytes = { .limit = 64 * 1024 * 1024 };
    testbed_program(bed, "sleeper", program);
    cr_assert_eq(file_read(program, &bytes), STATUS_OK);
    snprintf(below, sizeof below, "tenants/acme/%s/%s", service, file);
    cr_assert_eq(path_join(path, bed->data, below), STATUS_OK);
    cr_assert_eq(file_write(path, buffer_span(&bytes), mode), STATUS_OK);
}

static void deploy_own(const struct testbed *bed, const char *home, const char *service,
                       const char *file)
{
    char program[4096 + 64];
    snprintf(program, sizeof program, "%s/tenants/acme/%s/%s", home, service, file);
    own_file(bed, service, file, 0755);
    service_deploy(
        bed, json_pack("{s:s, s:s, s:[s]}", "tenant", "acme", "name", service, "argv", program));
}

static void own_programs_are_found(unsigned flags)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, flags);
    testbed_start(&bed);
    /* As root a service's folder has a name of its own in the service's namespace. */
    const char *home = bed.uid == 0 && geteuid() == 0 ? "/var/lib/solo" : bed.data;
    static const char *const names[] = { "there", "gone", "plain" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        service_deploy_sleeper(&bed, "acme", names[i]);
        deploy_own(&bed, home, names[i], "prog");
    }
    testbed_kill_everything(&bed);
    char gone[4096], plain[4096];
    path_join(gone, bed.data, "tenants/acme/gone/prog");
    path_join(plain, bed.data, "tenants/acme/plain/prog");
    cr_assert_eq(unlink(gone), 0);
    cr_assert_eq(chmod(plain, 0644), 0);

    json_t *plan = dry_run(&bed);
    expect_number(json_object_get(plan, "summary"), "start", 1);
    expect_number(json_object_get(plan, "summary"), "cannot_recover", 2);
    testbed_set(&bed, "SOLO_RECOVERY_ENABLED", "false");
    testbed_start(&bed);
    AUTO(result_close) struct result result = { 0 };
    testbed_recoveryd(&bed, &result, "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *report = result_json(&result);
    expect_same_actions(plan, report);
    expect_number(report, "recovered", 1);
    expect_number(report, "failed", 2);
    json_decref(plan);
    json_decref(report);
}

Test(dry_run, programs_in_a_services_own_folder_are_found_by_both)
{
    own_programs_are_found(0);
}

Test(dry_run, programs_in_a_services_own_folder_are_found_by_both_as_an_ordinary_user)
{
    own_programs_are_found(TESTBED_AS_USER);
}

Test(dry_run, with_daemons_up_only_the_reader_slot_changes)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    deploy_mixture(&bed);
    uint64_t last = log_settled_id(&bed);
    /* The daemons go on with work of their own, which is soon done. */
    bool is_same = false;
    for (int attempt = 1; attempt <= ATTEMPTS && !is_same; attempt++) {
        static struct picture before, after;
        picture_add(&before, bed.data, "lock.mdb");
        picture_add(&before, bed.run, "lock.mdb");
        json_decref(dry_run(&bed));
        picture_add(&after, bed.data, "lock.mdb");
        picture_add(&after, bed.run, "lock.mdb");
        is_same = is_same_picture(&before, &after);
        if (attempt == ATTEMPTS)
            expect_same_picture(&before, &after);
        picture_close(&before);
        picture_close(&after);
        if (!is_same)
            sleep_ms(PAUSE_MS);
    }
    cr_assert_eq(log_last_id(&bed), last);
}

Test(dry_run, of_a_folder_that_does_not_exist_creates_nothing)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_recoveryd(&bed, &result, "--dry-run", NULL);
    expect_exit(&result, 4);
    expect_contains(result_err(&result), "--data DIR");
    cr_assert_neq(access(bed.data, F_OK), 0, "a dry run made %s", bed.data);
    cr_assert_neq(access(bed.run, F_OK), 0, "a dry run made %s", bed.run);
    cr_assert_eq(mkdir(bed.data, 0700), 0);
    testbed_recoveryd(&bed, &result, "--dry-run", NULL);
    expect_exit(&result, 0); /* never started: nothing to do */
}

Test(dry_run, a_dry_run_for_people_has_a_line_per_service_and_a_summary)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    deploy_mixture(&bed);
    testbed_kill_everything(&bed);
    testbed_recoveryd(&bed, &result, "--dry-run", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "! beta/lost");
    expect_contains(result_out(&result), "+ acme/s0");
    expect_contains(result_out(&result), "Plan: 10 to start");
    testbed_recoveryd(&bed, &result, "--dry-run", "--detailed-exitcode", NULL);
    expect_exit(&result, 3);
}
