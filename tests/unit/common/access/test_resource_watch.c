/* What a daemon says of what it may run out of. */
#include "common/access/resource_watch.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/wire/reader.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

TestSuite(resource_watch, .init = scratch_make, .fini = scratch_remove);

struct told {
    enum status answer;
    unsigned count;
    char daemon[32], resource[32];
    uint64_t used, allowed;
};

static enum status tell(void *context, const struct buffer *payload)
{
    struct told *told = context;
    struct span map = buffer_span(payload);
    told->count++;
    map_text(map, "daemon", told->daemon, sizeof told->daemon);
    map_text(map, "resource", told->resource, sizeof told->resource);
    told->used = map_u64(map, "used", 0);
    told->allowed = map_u64(map, "allowed", 0);
    return told->answer;
}

static bool judge(struct resource_watch *watch, enum resource resource, uint64_t used,
                  uint64_t allowed)
{
    struct resource_use uses[RESOURCES] = { { 0 } };
    uses[resource] = (struct resource_use){ used, allowed };
    return resource_watch_judge(watch, uses);
}

Test(resource_watch, each_resource_is_told_once_when_90_percent_are_used_and_again_after_75)
{
    for (enum resource resource = 0; resource < RESOURCES; resource++) {
        struct told told = { 0 };
        struct resource_watch watch = { .daemon = "eventd", .tell = tell, .context = &told };
        cr_expect(judge(&watch, resource, 89, 100));
        cr_expect_eq(told.count, 0);
        cr_expect_str_eq(watch.reason, "");
        cr_expect(judge(&watch, resource, 90, 100));
        cr_expect_eq(told.count, 1);
        cr_expect_str_eq(told.daemon, "eventd");
        cr_expect_eq(told.used, 90);
        cr_expect_eq(told.allowed, 100);
        cr_expect_not_null(strstr(watch.reason, "90 % are used (90 of 100)"), "%s", watch.reason);
        judge(&watch, resource, 99, 100);
        judge(&watch, resource, 76, 100);
        judge(&watch, resource, 95, 100);
        cr_expect_eq(told.count, 1, "it never was low");
        cr_expect_neq(watch.high, 0);
        judge(&watch, resource, 74, 100);
        cr_expect_eq(watch.high, 0);
        cr_expect_str_eq(watch.reason, "");
        judge(&watch, resource, 91, 100);
        cr_expect_eq(told.count, 2);
    }
}

Test(resource_watch, what_could_not_be_told_is_told_later_and_shown_meanwhile)
{
    struct told told = { .answer = STATUS_UNAVAILABLE };
    struct resource_watch watch = { .daemon = "tokend", .tell = tell, .context = &told };
    cr_expect_not(judge(&watch, RESOURCE_readers, 126, 126));
    cr_expect_neq(watch.reason[0], '\0');
    told.answer = STATUS_OK;
    cr_expect(judge(&watch, RESOURCE_readers, 100, 126), "between the marks it is still due");
    cr_expect_eq(told.count, 2);
    cr_expect(judge(&watch, RESOURCE_readers, 126, 126));
    cr_expect_eq(told.count, 2);
}

Test(resource_watch, what_was_taken_but_not_recorded_is_told_again)
{
    struct told told = { 0 };
    struct resource_watch watch = { .daemon = "deployd", .tell = tell, .context = &told };
    struct resource_use uses[RESOURCES] = { { 0 } };
    uses[RESOURCE_map] = uses[RESOURCE_processes] = (struct resource_use){ 95, 100 };
    resource_watch_judge(&watch, uses);
    cr_assert_eq(told.count, 2);
    resource_watch_lost(&watch);
    cr_expect(resource_watch_judge(&watch, uses));
    cr_expect_eq(told.count, 3);
    cr_expect_str_eq(told.resource, "processes", "the other one is recorded");
    told.answer = STATUS_UNAVAILABLE;
    resource_watch_lost(&watch);
    cr_expect_not(resource_watch_judge(&watch, uses));
}

Test(resource_watch, of_a_large_disk_the_last_forty_gibibytes_count)
{
    const uint64_t gib = 1ull << 30, all = 10000 * gib;
    struct told told = { 0 };
    struct resource_watch watch = { .daemon = "eventd", .tell = tell, .context = &told };
    judge(&watch, RESOURCE_disk, all - 5 * gib, all);
    cr_expect_eq(told.count, 0, "5 GiB are left");
    judge(&watch, RESOURCE_disk, all - 4 * gib, all);
    cr_expect_eq(told.count, 1);
    cr_expect_eq(told.allowed, all, "what is told is the disk itself");
    judge(&watch, RESOURCE_disk, all - 9 * gib, all);
    cr_expect_neq(watch.high, 0);
    judge(&watch, RESOURCE_disk, all - 11 * gib, all);
    cr_expect_eq(watch.high, 0);
}

static void write_below(const char *folder, const char *file, const char *content)
{
    char path[4200];
    cr_assert_eq(directory_make(scratch_path(folder), 0700), STATUS_OK);
    snprintf(path, sizeof path, "%s/%s", scratch_path(folder), file);
    cr_assert_eq(file_write(path, span_of_text(content), 0600), STATUS_OK);
}

static struct resource_use processes(const struct resource_watch *watch)
{
    struct resource_use uses[RESOURCES];
    resource_watch_read(watch, uses);
    return uses[RESOURCE_processes];
}

Test(resource_watch, of_the_bounds_of_processes_the_nearest_counts)
{
    char root[4096];
    snprintf(root, sizeof root, "%s", scratch_path("."));
    struct resource_watch watch = { .counts_processes = true, .root = root };
    cr_expect_eq(processes(&watch).allowed, 0, "nothing is known");
    write_below("proc", "loadavg", "0.10 0.20 0.30 2/345 6789\n");
    write_below("proc/sys/kernel", "pid_max", "32768\n");
    write_below("proc/sys/kernel", "threads-max", "1000\n");
    cr_expect_eq(processes(&watch).used, 345);
    cr_expect_eq(processes(&watch).allowed, 1000);
    write_below("proc/self", "cgroup", "4:pids:/v1\n0::/system.slice/deployd.service\n");
    write_below("sys/fs/cgroup/pids/v1", "pids.max", "max\n");
    write_below("sys/fs/cgroup/pids/v1", "pids.current", "77\n");
    cr_expect_eq(processes(&watch).allowed, 1000, "max is none");
    write_below("sys/fs/cgroup/system.slice", "pids.max", "50\n");
    write_below("sys/fs/cgroup/system.slice", "pids.current", "40\n");
    cr_expect_eq(processes(&watch).used, 40, "of a cgroup above it");
    cr_expect_eq(processes(&watch).allowed, 50);
    write_below("sys/fs/cgroup/pids/v1", "pids.max", "80\n");
    cr_expect_eq(processes(&watch).used, 77);
    cr_expect_eq(processes(&watch).allowed, 80);
}

Test(resource_watch, a_stores_map_and_readers_its_disk_and_descriptors_are_read)
{
    AUTO(db_close) struct db db = { .lease = FILE_LOCK_NONE };
    MDB_txn *readers[20];
    struct resource_use uses[RESOURCES];
    struct rlimit limit;
    cr_assert_eq(db_open_writer(&db, &tokens_schema, scratch_path("tokens")), STATUS_OK);
    struct resource_watch watch = { .store = &db, .folder = db.dir, .unless_with = "/proc" };
    resource_watch_read(&watch, uses);
    uint64_t before = uses[RESOURCE_readers].used, open = uses[RESOURCE_descriptors].used;
    for (size_t i = 0; i < COUNT_OF(readers); i++)
        cr_assert_eq(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &readers[i]), 0);
    AUTO(fd_close) int more = dup(0);
    resource_watch_read(&watch, uses);
    cr_expect_eq(uses[RESOURCE_readers].used, before + COUNT_OF(readers));
    cr_expect_eq(uses[RESOURCE_readers].allowed, 126);
    cr_expect_gt(uses[RESOURCE_map].used, 0);
    cr_expect_eq(uses[RESOURCE_map].allowed, tokens_schema.map_bytes);
    cr_expect_eq(uses[RESOURCE_descriptors].used, open + 1);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_expect_eq(uses[RESOURCE_descriptors].allowed, limit.rlim_cur);
    cr_expect_gt(uses[RESOURCE_disk].used, 0);
    cr_expect_gt(uses[RESOURCE_disk].allowed, uses[RESOURCE_disk].used);
    cr_expect_eq(uses[RESOURCE_processes].allowed, 0, "it is not asked to");
    watch.unless_with = scratch_path(".");
    resource_watch_read(&watch, uses);
    cr_expect_eq(uses[RESOURCE_disk].allowed, 0, "another one tells");
    for (size_t i = 0; i < COUNT_OF(readers); i++)
        mdb_txn_abort(readers[i]);
}
