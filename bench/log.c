/* A log of a million events: scanning it, checking its whole chain, and a plan over it with a
 * thousand live services. Beside them: reading the same bytes from the page cache, hashing the same
 * bytes.
 *
 *     bench_log [EVENTS [SERVICES]]       1000000 and 1000 by default */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/fill.h"
#include "bench/machine.h"
#include "common/api/records/event_log.h"
#include "common/base/file.h"

enum { ROUNDS = 5, READ_BYTES = 1 << 20 };

/* Every record looked at through the map, in order, without its hash. */
static double scan_seconds(struct db *db, uint64_t wanted, uint64_t *bytes)
{
    struct db_txn txn = { 0 };
    struct table_cursor cursor;
    struct span key, value;
    uint64_t count = 0, sum = 0;
    *bytes = 0;
    double begin = machine_now();
    if (db_begin_read(db, &txn) != STATUS_OK ||
        table_cursor_open(&txn, EVENTS_EVENTS, &cursor) != STATUS_OK)
        test_fail("cannot read the store");
    enum status status = table_cursor_seek(&cursor, (struct span){ NULL, 0 }, &key, &value);
    for (; status == STATUS_OK; status = table_cursor_next(&cursor, &key, &value)) {
        uint64_t id;
        memcpy(&id, value.data + 40, sizeof id);
        if (id != ++count || memcmp(value.data, EVENT_MAGIC, 8) != 0)
            test_fail("event %lu stands at place %lu", (unsigned long)id, (unsigned long)count);
        *bytes += value.size;
        sum += value.data[value.size - 1];
    }
    table_cursor_close(&cursor);
    db_end(&txn);
    double took = machine_now() - begin;
    if (count < wanted || sum == 0)
        test_fail("%lu events", (unsigned long)count);
    return took;
}

static double verify_seconds(struct db *db)
{
    struct db_txn txn = { 0 };
    uint64_t checked = 0;
    double begin = machine_now();
    if (db_begin_read(db, &txn) != STATUS_OK ||
        event_log_verify(&txn, 1, UINT64_MAX, &checked) != STATUS_OK)
        test_fail("the chain does not verify");
    db_end(&txn);
    return machine_now() - begin;
}

/* The machine: the file from the page cache, and BLAKE2b over as many bytes in records of that
 * size. */
static double read_seconds(const char *path)
{
    static char block[READ_BYTES];
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    double begin = machine_now();
    while (read(fd, block, sizeof block) > 0)
        ;
    return machine_now() - begin;
}

static double hash_seconds(uint64_t bytes, uint64_t events)
{
    static uint8_t record[1 << 16];
    size_t size = (size_t)(bytes / events);
    uint8_t last = 0;
    double begin = machine_now();
    for (uint64_t i = 0; i < events; i++) {
        record[0] = last;
        last = hash_of(span_of(record, size)).bytes[0];
    }
    return machine_now() - begin;
}

static double dry_run_seconds(const struct testbed *bed, size_t services)
{
    AUTO(result_close) struct result result = { 0 };
    double begin = machine_now();
    testbed_recoveryd(bed, &result, "--dry-run", "-o", "json", NULL);
    double took = machine_now() - begin;
    json_t *plan = result_json(&result);
    const json_t *summary = json_object_get(plan, "summary");
    if (number_in(summary, "keep") + number_in(summary, "start") != services)
        test_fail("a dry run sees %lu services", (unsigned long)number_in(summary, "keep"));
    json_decref(plan);
    return took;
}

int main(int argc, char **argv)
{
    size_t events = argc > 1 ? (size_t)atol(argv[1]) : 1000000;
    size_t services = argc > 2 ? (size_t)atol(argv[2]) : 1000;
    struct testbed bed;
    struct figures scan = { 0 }, verify = { 0 }, reading = { 0 }, hashing = { 0 }, up = { 0 },
                   down = { 0 };
    char dir[4096], path[4096];
    testbed_open(&bed, 0);
    testbed_set(&bed, "SOLO_SHUTDOWN_TIMEOUT_MS", "60000");
    testbed_start(&bed);
    fill_services(&bed, services, services < 50 ? services : 50, 0);
    double took = fill_events(&bed, events);
    figure_print_plain("batch append, 1000 events a request", (double)events / took, "/s", 0, 0);

    static struct db db;
    uint64_t bytes;
    snprintf(dir, sizeof dir, "%s/events", bed.data);
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    if (db_open_reader(&db, &events_schema, dir) != STATUS_OK)
        test_fail("cannot open %s", dir);
    for (int i = 0; i < ROUNDS; i++) {
        figures_add(&scan, scan_seconds(&db, events, &bytes));
        figures_add(&reading, read_seconds(path));
        figures_add(&verify, verify_seconds(&db));
        figures_add(&hashing, hash_seconds(bytes, events));
        figures_add(&up, 1000 * dry_run_seconds(&bed, services));
    }
    db_close(&db);
    struct stat info;
    if (stat(path, &info) != 0)
        test_fail("cannot stat %s", path);
    testbed_kill_everything(&bed);
    for (int i = 0; i < ROUNDS; i++)
        figures_add(&down, 1000 * dry_run_seconds(&bed, services));

    double millions = (double)events / 1e6;
    printf("%-46s %12.3f s        file read %.3f s   wanted <= %.2f   %s\n", "scan of all events",
           figures_median(&scan), figures_median(&reading), 0.3 * millions,
           figures_median(&scan) <= 0.3 * millions ? "ok" : "MISSED");
    printf("%-46s %12.3f s        hashing   %.3f s   wanted <= %.2f   %s\n",
           "verification of the whole chain", figures_median(&verify), figures_median(&hashing),
           1.5 * millions, figures_median(&verify) <= 1.5 * millions ? "ok" : "MISSED");
    figure_print_plain("bytes on disk per event, batches",
                       (double)info.st_blocks * 512 / (double)events, "B", 0, 0);
    figure_print_plain("recoveryd --dry-run, daemons up", figures_median(&up), "ms", 50, 1);
    figure_print_plain("recoveryd --dry-run, daemons down", figures_median(&down), "ms", 50, 1);
    testbed_discard(&bed);
    return 0;
}
