/* `live` damaged in the pages of LMDB, not in its rows: nothing that it says can be trusted, the
 * log says it all again. Where LMDB itself cannot walk the table any more the store is damaged, and
 * both the dry run and eventd say so. The same of `heads`, which no open reads. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/base/file.h"
#include "tests/support/expect.h"

TestSuite(live_pages, .timeout = 120);

enum {
    PAGE_BYTES = 4096,
    SERVICES = 6,
    /* In LMDB 0.9's page header, all of two bytes, little-endian as everything it writes here. */
    AT_FLAGS = 10,
    AT_LOWER = 12,
    AT_POINTERS = 16,
    AT_KEY = 8, /* in a node */
    FLAG_LEAF = 0x02,
};

static unsigned get_u16(const uint8_t *at)
{
    return at[0] | (unsigned)at[1] << 8;
}

static void put_u16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

/* Where in this leaf the value of a key is; 0: it is no leaf, or has no such key. */
static size_t value_in_leaf(const uint8_t *page, const char *key)
{
    size_t size = strlen(key), lower = get_u16(page + AT_LOWER);
    if ((get_u16(page + AT_FLAGS) & FLAG_LEAF) == 0 || lower < AT_POINTERS || lower > PAGE_BYTES)
        return 0;
    for (size_t at = AT_POINTERS; at + 2 <= lower; at += 2) {
        size_t node = get_u16(page + at);
        if (node + AT_KEY + size + 12 <= PAGE_BYTES && get_u16(page + node + 6) == size &&
            memcmp(page + node + AT_KEY, key, size) == 0)
            return node + AT_KEY + size;
    }
    return 0;
}

/* A leaf of `live`: one of its nodes has a service's key, and a live_row behind it. */
static bool is_leaf_of_live(const uint8_t *page)
{
    size_t value = value_in_leaf(page, "acme/s3");
    return value != 0 && (page[value] & 0xf0) == 0x80 &&
           memcmp(page + value + 2, "generation", 10) == 0;
}

static const char head_of_deploys[] = "yservice_deployed";

static bool is_leaf_of_heads(const uint8_t *page)
{
    return value_in_leaf(page, head_of_deploys) != 0;
}

/* LMDB leaves older pages behind: all of them, the one in use among them. */
static void damage(const struct testbed *bed, bool (*is_one)(const uint8_t *page),
                   void (*change)(uint8_t *page))
{
    char path[4096];
    size_t count = 0;
    AUTO(buffer_close) struct buffer bytes = { .limit = 512 * 1024 * 1024 };
    cr_assert_eq(path_join(path, bed->data, "events/data.mdb"), STATUS_OK);
    cr_assert_eq(file_read(path, &bytes), STATUS_OK);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    for (size_t at = 0; at + PAGE_BYTES <= bytes.size; at += PAGE_BYTES) {
        uint8_t *page = bytes.data + at;
        if (!is_one(page))
            continue;
        change(page);
        cr_assert_eq(pwrite(fd, page, PAGE_BYTES, (off_t)at), PAGE_BYTES);
        count++;
    }
    close(fd);
    cr_assert_gt(count, 0, "no such page was found");
}

static void lose_the_last_row(uint8_t *page)
{
    put_u16(page + AT_LOWER, get_u16(page + AT_LOWER) - 2);
}

static void lose_all_rows(uint8_t *page)
{
    put_u16(page + AT_LOWER, AT_POINTERS);
}

static void see_one_row_twice(uint8_t *page)
{
    memcpy(page + AT_POINTERS + 2, page + AT_POINTERS, 2);
}

static void put_rows_out_of_order(uint8_t *page)
{
    uint8_t first[2];
    memcpy(first, page + AT_POINTERS, 2);
    memcpy(page + AT_POINTERS, page + AT_POINTERS + 2, 2);
    memcpy(page + AT_POINTERS + 2, first, 2);
}

static void be_no_page(uint8_t *page)
{
    put_u16(page + AT_FLAGS, 0);
}

/* A value of more bytes than the file has behind it, whatever lies there. */
static void end_in_the_middle_of_nowhere(uint8_t *page)
{
    put_u16(page + get_u16(page + AT_POINTERS) + 2, 0x7fff);
}

static void open_damaged(struct testbed *bed, bool (*is_one)(const uint8_t *page),
                         void (*change)(uint8_t *page))
{
    testbed_open(bed, 0);
    testbed_start(bed);
    for (int i = 0; i < SERVICES; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        service_deploy_sleeper(bed, "acme", name);
    }
    if (is_one == is_leaf_of_heads)
        cr_assert_eq(testbed_stop(bed), 0); /* heads are written late, and at a clean end */
    testbed_kill_everything(bed);
    damage(bed, is_one, change);
}

static void expect_folded(void (*change)(uint8_t *page))
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    open_damaged(&bed, is_leaf_of_live, change);
    testbed_recoveryd(&bed, &result, "--dry-run", "-o", "json", NULL);
    expect_exit(&result, 0);
    json_t *plan = result_json(&result);
    expect_text(json_object_get(plan, "log"), "live", "damaged");
    expect_number(json_object_get(plan, "summary"), "start", SERVICES);
    json_decref(plan);
    testbed_start(&bed);
    cr_assert_geq(testbed_log_count(&bed, "folding the log anew"), 1);
    for (int i = 0; i < SERVICES; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        service_await(&bed, "acme", name, "running", 10000);
    }
    testbed_recoveryd(&bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 0);
}

Test(live_pages, a_row_that_is_lost_is_folded_anew)
{
    expect_folded(lose_the_last_row);
}

Test(live_pages, a_table_that_looks_empty_is_folded_anew_and_not_nothing_wanted)
{
    expect_folded(lose_all_rows);
}

Test(live_pages, a_row_that_is_there_twice_is_folded_anew)
{
    expect_folded(see_one_row_twice);
}

Test(live_pages, rows_out_of_order_are_folded_anew)
{
    expect_folded(put_rows_out_of_order);
}

static void expect_damaged(void (*change)(uint8_t *page))
{
    AUTO(testbed_discard) struct testbed bed = { 0 }; /* the probe breaks down on it, loudly */
    AUTO(result_close) struct result result = { 0 };
    struct problem problem = { 0 };
    open_damaged(&bed, is_leaf_of_live, change);
    testbed_recoveryd(&bed, &result, "--dry-run", NULL);
    expect_exit(&result, 86);
    testbed_launch(&bed, NULL);
    cr_assert(testbed_wait_ready(&bed, 30000));
    enum status status = testbed_call(&bed, "eventd", "event.query", json_object(), NULL, &problem);
    expect_refused(status, STATUS_DATA_LOSS, &problem, NULL);
    status = service_try_deploy(&bed, service_spec(&bed, "acme", "new", "sleeper", NULL), NULL,
                                &problem);
    expect_refused(status, STATUS_DATA_LOSS, &problem, NULL);
    testbed_soloctl(&bed, &result, "status", "--check", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result), "!          eventd: its store is damaged: ");
    expect_contains(result_out(&result), "eventd damaged");
    testbed_soloctl(&bed, &result, "wait", "--ready", "--timeout", "10s", NULL);
    expect_exit(&result, 3);
    expect_contains(result_out(&result), "Solo is degraded: eventd: its store is damaged");
}

Test(live_pages, a_page_of_no_kind_is_a_damaged_store_for_dry_run_and_eventd)
{
    expect_damaged(be_no_page);
}

Test(live_pages, a_page_that_leads_out_of_the_file_is_one_too)
{
    expect_damaged(end_in_the_middle_of_nowhere);
}

/* --- heads --- */

static void expect_damaged_in_places(const struct testbed *bed)
{
    for (int waited = 0;; waited += 100) {
        AUTO(result_close) struct result result = { 0 };
        cr_assert_lt(waited, 30000);
        testbed_soloctl(bed, &result, "status", "--check", NULL);
        if (strstr(result_out(&result), "!          eventd: its store is damaged in places") !=
            NULL)
            return;
        sleep_ms(100);
    }
}

static void change_the_head(uint8_t *page)
{
    page[value_in_leaf(page, head_of_deploys)] ^= 1;
}

Test(live_pages, a_head_that_is_damaged_is_made_anew_and_told)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    open_damaged(&bed, is_leaf_of_heads, change_the_head);
    testbed_start(&bed);
    service_await(&bed, "acme", "s0", "running", 30000);
    service_deploy_sleeper(&bed, "acme", "new");
    service_kill(&bed, "acme", "s0");
    testbed_soloctl(&bed, &result, "get", "events", "--type", "log_opened", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "heads did not match their digest");
    testbed_recoveryd(&bed, &result, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&result, 0);
    json_t *events = events_after(&bed, 0);
    cr_assert_eq(events_count(events, "service_deployed", NULL, NULL), SERVICES + 1);
    json_decref(events);
}

Test(live_pages, a_page_of_heads_that_is_lost_costs_no_event)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    AUTO(result_close) struct result result = { 0 };
    struct problem problem = { 0 };
    open_damaged(&bed, is_leaf_of_heads, be_no_page);
    testbed_launch(&bed, NULL);
    expect_damaged_in_places(&bed);
    enum status status = service_try_deploy(
        &bed, service_spec(&bed, "acme", "new", "sleeper", NULL), NULL, &problem);
    expect_refused(status, STATUS_DATA_LOSS, &problem, NULL);
    testbed_kill_everything(&bed);
    testbed_recoveryd(&bed, &result, "salvage", NULL);
    expect_exit(&result, 0);
    expect_contains(result_out(&result), "Nothing is lost");
    testbed_start(&bed);
    for (int i = 0; i < SERVICES; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        service_await(&bed, "acme", name, "running", 30000);
    }
    service_deploy_sleeper(&bed, "acme", "new");
    testbed_recoveryd(&bed, &result, "verify", "--full", "--detailed-exitcode", NULL);
    expect_exit(&result, 0);
}
