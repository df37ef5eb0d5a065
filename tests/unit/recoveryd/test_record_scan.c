/* What is found in a file that somebody else could write into, too: by an event's payload. */
#include "recoveryd/record_scan.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

enum { TRUE_EPOCH = 3, FORGED_EPOCH = 1000, FILE_BYTES_MAX = 1 << 20 };

static struct buffer bytes = { .limit = FILE_BYTES_MAX };
static struct record_scan scan = RECORD_SCAN_INIT;

static void set_up(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
}

static void tear_down(void)
{
    record_scan_close(&scan);
    buffer_close(&bytes);
    scratch_remove();
}

TestSuite(record_scan, .init = set_up, .fini = tear_down);

/* Behind `previous`, which becomes its hash. */
static void write_event(struct buffer *to, uint64_t id, uint64_t epoch, const char *log,
                        struct span payload, struct hash *previous)
{
    AUTO(buffer_close) struct buffer record = { .limit = EVENT_RECORD_BYTES_MAX };
    struct event event = {
        .epoch = epoch,
        .id = id,
        .previous_hash = *previous,
        .type = "app.note",
        .tenant = "acme",
        .subject = "",
        .source = "",
        .payload = payload,
    };
    memcpy(event.log_id, log, sizeof event.log_id);
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    buffer_append(to, record.data, record.size);
    *previous = event.hash;
}

/* Events `first` to `last`; hashes[i] is that of event i, hashes[0] is zero. */
static void write_story(struct buffer *to, uint64_t first, uint64_t last, uint64_t epoch,
                        const char *log, struct hash *hashes)
{
    for (uint64_t id = first; id <= last; id++) {
        hashes[id] = hashes[id - 1];
        write_event(to, id, epoch, log, (struct span){ 0 }, &hashes[id]);
    }
}

static void scan_as(const char *name)
{
    const char *path = scratch_path(name);
    cr_assert_eq(file_write(path, buffer_span(&bytes), 0600), STATUS_OK);
    cr_assert_eq(record_scan_file(&scan, path), STATUS_OK);
}

static void scan_bytes(void)
{
    scan_as("data.mdb");
    cr_assert_eq(record_scan_link(&scan), STATUS_OK);
}

static const char ours[] = "the true log's id", others[] = "some other log id";

Test(record_scan, what_lies_within_an_event_is_none)
{
    AUTO(buffer_close) struct buffer forged = { .limit = FILE_BYTES_MAX };
    AUTO(buffer_close) struct buffer payload = { .limit = FILE_BYTES_MAX };
    struct hash hashes[21] = { 0 }, forged_hashes[21] = { 0 };
    write_story(&forged, 1, 20, FORGED_EPOCH, ours, forged_hashes);
    write_map(&payload, 1);
    write_str(&payload, "x");
    write_bin(&payload, buffer_span(&forged));
    write_story(&bytes, 1, 3, TRUE_EPOCH, ours, hashes);
    write_event(&bytes, 4, TRUE_EPOCH, ours, buffer_span(&payload), &hashes[3]);
    scan_bytes();
    cr_expect_eq(scan.count, 4);
    cr_assert_eq(scan.chain_count, 4);
    cr_expect_eq(scan.records[scan.chain[0]].epoch, TRUE_EPOCH);
}

/* The event that it lay in is damaged, and it is longer, of a later epoch, and of more records. */
static void scan_beside_a_forged_one(uint64_t last, uint64_t forged_from, const char *forged_log)
{
    struct hash hashes[21] = { 0 }, forged_hashes[51] = { 0 };
    write_story(&bytes, 1, last, TRUE_EPOCH, ours, hashes);
    memcpy(forged_hashes, hashes, forged_from * sizeof *hashes);
    write_story(&bytes, forged_from, 50, FORGED_EPOCH, forged_log, forged_hashes);
    if (scan.witness.id != 0)
        scan.witness.hash = hashes[scan.witness.id];
    scan_bytes();
}

Test(record_scan, the_story_that_is_witnessed_is_taken)
{
    scan.witness.id = 20;
    scan_beside_a_forged_one(20, 1, ours);
    cr_assert_eq(scan.chain_count, 20);
    cr_expect_eq(scan.records[scan.chain[0]].epoch, TRUE_EPOCH);
    cr_expect_not(record_scan_is_contradicted(&scan));
}

Test(record_scan, a_story_that_leaves_the_witnessed_one_is_not)
{
    scan.witness.id = 20;
    scan_beside_a_forged_one(20, 11, ours);
    cr_assert_eq(scan.chain_count, 20);
    cr_expect_eq(scan.records[scan.chain[10]].epoch, TRUE_EPOCH);
}

Test(record_scan, the_log_of_the_witness_is_taken_though_another_has_more)
{
    scan.witness.id = 20;
    scan_beside_a_forged_one(20, 1, others);
    cr_assert_eq(scan.chain_count, 20);
    cr_expect_eq(memcmp(scan.log_id, ours, sizeof scan.log_id), 0);
}

/* The witness names an event that nothing is left of. */
Test(record_scan, a_story_that_ends_is_taken_before_one_that_is_contradicted)
{
    struct hash hashes[21] = { 0 }, forged_hashes[51] = { 0 }, lost[21] = { 0 };
    write_story(&bytes, 1, 15, TRUE_EPOCH, ours, hashes);
    write_story(&bytes, 1, 50, FORGED_EPOCH, ours, forged_hashes);
    scan.witness = (struct log_anchor){ .id = 20, .hash = lost[0] };
    scan_bytes();
    cr_expect_eq(scan.chain_count, 15);
    cr_expect_not(record_scan_is_contradicted(&scan));
}

Test(record_scan, a_chain_that_is_contradicted_says_so)
{
    struct hash forged_hashes[51] = { 0 };
    write_story(&bytes, 1, 50, FORGED_EPOCH, ours, forged_hashes);
    scan.witness = (struct log_anchor){ .id = 20 };
    scan_bytes();
    cr_expect(record_scan_is_contradicted(&scan));
}

/* An archive of a branch that was given up has true records, of many starts. */
Test(record_scan, the_logs_own_file_is_believed_before_others)
{
    struct hash hashes[21] = { 0 }, given_up[51] = { 0 };
    write_story(&bytes, 1, 20, TRUE_EPOCH, ours, hashes);
    scan_as("data.mdb");
    scan.has_own = true;
    buffer_clear(&bytes);
    memcpy(given_up, hashes, 11 * sizeof *hashes);
    write_story(&bytes, 11, 50, FORGED_EPOCH, ours, given_up);
    scan_as("archive");
    cr_assert_eq(record_scan_link(&scan), STATUS_OK);
    cr_assert_eq(scan.chain_count, 20);
    cr_expect_not(record_scan_is_foreign(&scan, 1));
}

/* They have the numbers of what is lost, and are of another branch. */
Test(record_scan, what_is_of_another_branch_does_not_stand_for_what_is_lost)
{
    AUTO(buffer_close) struct buffer lost = { .limit = FILE_BYTES_MAX };
    struct hash hashes[21] = { 0 }, given_up[31] = { 0 };
    write_story(&bytes, 1, 10, TRUE_EPOCH, ours, hashes);
    write_story(&lost, 11, 14, TRUE_EPOCH, ours, hashes);
    write_story(&bytes, 15, 20, TRUE_EPOCH, ours, hashes);
    scan_as("data.mdb");
    scan.has_own = true;
    buffer_clear(&bytes);
    memcpy(given_up, hashes, 6 * sizeof *hashes);
    write_story(&bytes, 6, 30, FORGED_EPOCH, ours, given_up);
    scan_as("archive");
    scan.witness = (struct log_anchor){ .id = 20, .hash = hashes[20] };
    cr_assert_eq(record_scan_link(&scan), STATUS_OK);
    cr_assert_eq(scan.chain_count, 10);
    cr_expect_eq(scan.last_id, 20);
    for (size_t i = 0; i < scan.count; i++)
        cr_expect(scan.records[i].id <= 10 || scan.records[i].id >= 15);
}

/* Nothing beside the log tells how far it went: another file may. */
Test(record_scan, what_a_backup_has_behind_the_end_is_known_of_where_no_witness_is)
{
    AUTO(buffer_close) struct buffer lost = { .limit = FILE_BYTES_MAX };
    struct hash hashes[21] = { 0 };
    write_story(&bytes, 1, 10, TRUE_EPOCH, ours, hashes);
    scan_as("data.mdb");
    scan.has_own = true;
    buffer_clear(&bytes);
    write_story(&lost, 11, 12, TRUE_EPOCH, ours, hashes);
    write_story(&bytes, 13, 20, TRUE_EPOCH, ours, hashes);
    scan_as("backup");
    cr_assert_eq(record_scan_link(&scan), STATUS_OK);
    cr_expect_eq(scan.chain_count, 10);
    cr_expect_eq(scan.last_id, 20);
}

/* An event that nobody was told of, in a page that is not used any more. */
Test(record_scan, a_remnant_of_the_own_file_is_no_story)
{
    AUTO(buffer_close) struct buffer damaged = { .limit = FILE_BYTES_MAX };
    struct hash hashes[31] = { 0 }, remnant[31] = { 0 };
    write_story(&bytes, 1, 10, TRUE_EPOCH, ours, hashes);
    memcpy(remnant, hashes, 11 * sizeof *hashes);
    write_story(&bytes, 11, 11, TRUE_EPOCH - 1, ours, remnant);
    write_story(&damaged, 11, 12, TRUE_EPOCH, ours, hashes);
    write_story(&bytes, 13, 20, TRUE_EPOCH, ours, hashes);
    scan_as("data.mdb");
    scan.has_own = true;
    scan.files[0].has_records = true;
    buffer_clear(&bytes);
    memset(hashes, 0, sizeof hashes);
    write_story(&bytes, 1, 20, TRUE_EPOCH, ours, hashes);
    scan_as("backup");
    cr_assert_eq(record_scan_link(&scan), STATUS_OK);
    cr_expect_eq(scan.chain_count, 20);
}

Test(record_scan, a_file_of_another_log_has_no_say)
{
    struct hash hashes[21] = { 0 }, other[51] = { 0 };
    write_story(&bytes, 1, 20, TRUE_EPOCH, ours, hashes);
    scan_as("data.mdb");
    scan.has_own = true;
    buffer_clear(&bytes);
    write_story(&bytes, 1, 50, TRUE_EPOCH, others, other);
    scan_as("backup");
    cr_assert_eq(record_scan_link(&scan), STATUS_OK);
    cr_expect_eq(scan.chain_count, 20);
    cr_expect_not(record_scan_is_foreign(&scan, 0));
    cr_expect(record_scan_is_foreign(&scan, 1));
}

/* Before it is read as a whole: there may be very many, all of them long. */
Test(record_scan, what_follows_a_later_event_is_none)
{
    AUTO(buffer_close) struct buffer record = { .limit = EVENT_RECORD_BYTES_MAX };
    struct event event = {
        .epoch = 1,
        .id = 1,
        .previous_of_type = 1,
        .type = "app.note",
        .tenant = "",
        .subject = "",
        .source = "",
    };
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    buffer_append(&bytes, record.data, record.size);
    scan_bytes();
    cr_expect_eq(scan.count, 0);
}

/* As before: what a later start appended in the place of what was never acknowledged. */
Test(record_scan, without_a_witness_the_story_that_was_told_last_is_taken)
{
    scan_beside_a_forged_one(20, 11, ours);
    cr_assert_eq(scan.chain_count, 50);
    cr_expect_not(record_scan_is_contradicted(&scan));
}
