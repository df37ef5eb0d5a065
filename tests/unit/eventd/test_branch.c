/* A log that has lost its end, or was exchanged, is known by its anchors: nothing is begun by it
 * until an operator keeps it. */
#include "eventd/branch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_fixture.h"

TestSuite(branch, .init = fixture_open, .fini = fixture_close);

static void append_app(int count)
{
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.x", "", "", (struct span){ 0 });
    for (int i = 0; i < count; i++)
        must_append(&call, &request);
}

static char *path_of(const char *name, char path[4096])
{
    cr_assert_eq(path_join(path, fixture_data_dir(), name), STATUS_OK);
    return path;
}

static void copy(const char *from, const char *to)
{
    char a[4096], b[4096];
    AUTO(buffer_close) struct buffer bytes = { .limit = 64 << 20 };
    cr_assert_eq(file_read(path_of(from, a), &bytes), STATUS_OK);
    cr_assert_eq(file_write(path_of(to, b), buffer_span(&bytes), 0640), STATUS_OK);
}

static void keep_copy(void)
{
    copy("events/data.mdb", "copy");
}

static void put_copy_back(void)
{
    event_store_close(&store);
    copy("copy", "events/data.mdb");
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
}

static struct log_anchor anchor_now(void)
{
    uint8_t bytes[LOG_ANCHOR_BYTES];
    struct log_anchor anchor;
    struct span packed = branch_anchor(&store.branch, store.last_id, &store.last_hash, bytes);
    cr_assert(log_anchor_unpack(packed, &anchor));
    return anchor;
}

static void compare(const char *witness, const struct log_anchor *anchor)
{
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(branch_compare(&store.branch, &store.txn, witness, anchor, store.last_id),
                 STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
}

static void keep_log(void)
{
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(event_store_keep(&store), STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
}

static enum status try_deploy(void)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    struct event_append_request request =
        request_of("service_deployed", "acme", "service/acme/api", payload_deploy("x"));
    return append_one(&call, &request, &outcome);
}

static enum status try_kill(void)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    struct event_append_request request =
        request_of("service_killed", "acme", "service/acme/api", (struct span){ 0 });
    return append_one(&call, &request, &outcome);
}

Test(branch, a_log_that_goes_on_after_restarts_is_not_forked)
{
    struct log_anchor anchor;
    for (int i = 0; i < 3; i++) {
        append_app(2);
        anchor = anchor_now();
        fixture_reopen();
        cr_expect_not(store.branch.now.is_forked);
        compare("tokend", &anchor);
        cr_expect_not(store.branch.now.is_forked);
    }
    cr_expect_eq(try_deploy(), STATUS_OK);
}

Test(branch, an_older_copy_is_forked_until_it_is_kept)
{
    append_app(5);
    keep_copy();
    append_app(3);
    struct log_anchor lost = anchor_now();
    put_copy_back();
    cr_assert(store.branch.now.is_forked);
    cr_expect_str_eq(store.branch.now.witness, LOG_ANCHOR_FILE);
    cr_expect_eq(store.branch.now.anchor.id, 8);
    cr_expect_eq(try_deploy(), STATUS_FAILED_PRECONDITION);
    cr_expect_eq(try_kill(), STATUS_OK, "what ends is not refused");
    append_app(10); /* past what was lost: the numbers are there, the events are not */
    fixture_reopen();
    cr_assert(store.branch.now.is_forked, "a restart changes nothing");
    keep_log();
    cr_expect_not(store.branch.now.is_forked);
    cr_expect_eq(try_deploy(), STATUS_OK);
    compare("vaultd", &lost);
    cr_expect_not(store.branch.now.is_forked, "that branch was given up");
    fixture_reopen();
    cr_expect_not(store.branch.now.is_forked);

    /* And once more, on the new branch. */
    struct log_anchor known = anchor_now();
    put_copy_back();
    cr_expect(store.branch.now.is_forked);
    cr_expect(memcmp(known.branch, store.branch.now.anchor.branch, 16) == 0);
}

static uint64_t append_about(const char *subject)
{
    struct rpc_call call = call_of_operator();
    struct event_append_request request = request_of("app.x", "acme", subject, (struct span){ 0 });
    return must_append(&call, &request);
}

static uint64_t head_of(const char *subject)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    uint64_t id;
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(event_log_head(&txn, HEAD_OF_SUBJECT, subject, &id), STATUS_OK);
    return id;
}

Test(branch, what_was_seen_of_lost_events_is_not_taken_for_later_ones)
{
    append_app(3);
    keep_copy();
    uint64_t lost = append_about("thing/lost");
    cr_assert_eq(head_of("thing/lost"), lost);
    put_copy_back();
    cr_assert_eq(append_about("thing/new"), lost, "the number is given again");
    cr_assert_eq(head_of("thing/new"), lost);
    cr_assert_eq(head_of("thing/lost"), 0);
}

Test(branch, another_store_knows_what_the_file_does_not)
{
    char path[4096];
    append_app(5);
    keep_copy();
    append_app(3);
    struct log_anchor known = anchor_now();
    event_store_close(&store);
    cr_assert_eq(unlink(path_of(LOG_ANCHOR_FILE, path)), 0);
    copy("copy", "events/data.mdb");
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    cr_assert_not(store.branch.now.is_forked);
    append_app(4);
    compare("tokend", &known);
    cr_assert(store.branch.now.is_forked);
    cr_expect_str_eq(store.branch.now.witness, "tokend");
    uint8_t bytes[LOG_ANCHOR_BYTES];
    cr_expect_eq(branch_anchor(&store.branch, store.last_id, &store.last_hash, bytes).size, 0,
                 "whoever knows better keeps what it has");
}

Test(branch, a_new_log_in_the_place_of_one_that_was_removed_is_forked)
{
    char path[4096];
    append_app(2);
    event_store_close(&store);
    cr_assert_eq(directory_remove(path_of("events", path)), STATUS_OK);
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    cr_expect(store.branch.now.is_forked);
}

/* The kernel wrote the newer place half, or not at all: what is left names what is there. */
Test(branch, a_file_that_cannot_be_read_keeps_nobody_down)
{
    char path[4096];
    append_app(3);
    event_store_close(&store);
    cr_assert_eq(unlink(path_of(LOG_ANCHOR_FILE, path)), 0);
    cr_assert_eq(symlink("/nowhere", path), 0); /* ELOOP: it is not followed */
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    cr_assert_not(store.branch.now.is_forked);
    append_app(1);
}

Test(branch, a_torn_or_older_file_contradicts_nothing)
{
    char path[4096];
    append_app(1);
    copy(LOG_ANCHOR_FILE, "anchor.copy");
    append_app(4);
    struct log_anchor newest;
    uint64_t sequence;
    cr_assert_eq(log_anchor_file_read(path_of(LOG_ANCHOR_FILE, path), &newest, &sequence),
                 STATUS_OK);
    cr_expect_eq(newest.id, 5);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    off_t place = (off_t)(sequence % LOG_ANCHOR_PLACES) * LOG_ANCHOR_PLACE_BYTES;
    cr_assert_eq(pwrite(fd, "torn", 4, place + 60), 4);
    close(fd);
    cr_assert_eq(log_anchor_file_read(path, &newest, &sequence), STATUS_OK);
    cr_expect_eq(newest.id, 4);
    fixture_reopen();
    cr_expect_not(store.branch.now.is_forked);
    event_store_close(&store);
    copy("anchor.copy", LOG_ANCHOR_FILE);
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    cr_expect_not(store.branch.now.is_forked);
    event_store_close(&store);
    cr_assert_eq(truncate(path, 0), 0);
    cr_assert_eq(event_store_open(&store, fixture_data_dir()), STATUS_OK);
    cr_expect_not(store.branch.now.is_forked);
}

static enum status report(uint64_t number, const char *incarnation)
{
    struct rpc_call call = call_of_daemon("deployd");
    struct append_outcome outcome;
    struct event_append_request request =
        request_of("service_stopped", "acme", "service/acme/api", payload_generation(1));
    request.source = "tenantd/acme";
    request.incarnation = span_of(incarnation, 16);
    request.source_number = number;
    return append_one(&call, &request, &outcome);
}

/* A supervisor counts on; what it said in between is lost. */
Test(branch, sources_number_on_over_what_was_lost)
{
    cr_assert_eq(report(1, "incarnation-one."), STATUS_OK);
    keep_copy();
    cr_assert_eq(report(2, "incarnation-one."), STATUS_OK);
    cr_assert_eq(report(3, "incarnation-one."), STATUS_OK);
    cr_expect_eq(report(5, "incarnation-one."), STATUS_FAILED_PRECONDITION);
    put_copy_back();
    cr_expect_eq(report(4, "incarnation-one."), STATUS_OK);
    cr_expect_eq(report(6, "incarnation-one."), STATUS_FAILED_PRECONDITION, "once");
    cr_expect_eq(report(5, "incarnation-one."), STATUS_OK);
    cr_expect_eq(report(9, "incarnation-two."), STATUS_OK, "it began in what was lost");
}
