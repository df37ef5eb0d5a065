/* `recoveryd log` on damaged files: what is whole is printed in order, the rest is named. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/limits.h"
#include "tests/support/expect.h"

TestSuite(log, .timeout = 300);

enum { EVENTS_MAX = 2000, PAGE = 4096, NOTES = 400, BIG_NOTES = 6, BIG_BYTES = 30000 };

struct log_file {
    struct testbed bed;
    char path[4096];
    struct buffer whole;
    uint64_t last;
};

static void append_note(const struct testbed *bed, size_t size)
{
    char *text = malloc(size + 1);
    memset(text, 'n', size);
    text[size] = '\0';
    json_decref(
        testbed_ask(bed, "eventd", "event.append",
                    json_pack("{s:s, s:{s:s}}", "type", "app.note", "payload", "text", text)));
    free(text);
}

/* A log of many pages, some of them of one large record, and nobody who holds it. */
static void log_file_open(struct log_file *file, unsigned flags)
{
    *file = (struct log_file){ .whole = { .limit = 512 * 1024 * 1024 } };
    testbed_open(&file->bed, flags);
    testbed_start(&file->bed);
    for (int i = 0; i < NOTES; i++)
        append_note(&file->bed, i % (NOTES / BIG_NOTES) == 7 ? BIG_BYTES : 150);
    file->last = log_settled_id(&file->bed);
    testbed_kill_everything(&file->bed);
    cr_assert_eq(path_join(file->path, file->bed.data, "events/data.mdb"), STATUS_OK);
    cr_assert_eq(file_read(file->path, &file->whole), STATUS_OK);
    cr_assert_lt(file->last, EVENTS_MAX);
}

static void log_file_close(struct log_file *file)
{
    testbed_close(&file->bed);
    buffer_close(&file->whole);
}

static void write_at(const struct log_file *file, const void *bytes, size_t size, size_t at)
{
    AUTO(fd_close) int fd = open(file->path, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, bytes, size, (off_t)at), (ssize_t)size);
}

/* Puts the file back as it was. */
static void mend(const struct log_file *file)
{
    cr_assert_eq(truncate(file->path, (off_t)file->whole.size), 0);
    write_at(file, file->whole.data, file->whole.size, 0);
}

static uint64_t u64_at(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* The next place from `from` on where a record of this number lies; 0 for any. LMDB leaves older
 * copies in pages that it has freed: damage to all of them is damage to the one that counts. */
static size_t find_record(const struct log_file *file, uint64_t id, size_t from)
{
    const uint8_t *data = file->whole.data, *end = data + file->whole.size, *at = data + from;
    while ((at = memmem(at, (size_t)(end - at), "SoloEvt1", 8)) != NULL) {
        if (end - at > 120 && (id == 0 || u64_at(at + 40) == id))
            return (size_t)(at - data);
        at += 8;
    }
    return SIZE_MAX;
}

/* What `recoveryd log` did: which events it printed, which it named as damaged. */
struct seen {
    struct result result;
    bool is_printed[EVENTS_MAX], is_damaged[EVENTS_MAX];
    size_t printed, damaged;
};

static void seen_close(struct seen *seen)
{
    result_close(&seen->result);
}

static void note_printed(struct seen *seen)
{
    uint64_t before = 0;
    for (const char *line = result_out(&seen->result); *line != '\0';
         line = strchr(line, '\n') + 1) {
        json_error_t error;
        json_t *event = json_loads(line, JSON_DISABLE_EOF_CHECK, &error);
        cr_assert_not_null(event, "%s in %.100s", error.text, line);
        uint64_t id = number_in(event, "id");
        json_decref(event);
        cr_assert_gt(id, before, "event %lu after %lu", (unsigned long)id, (unsigned long)before);
        cr_assert_lt(id, EVENTS_MAX);
        seen->is_printed[before = id] = true;
        seen->printed++;
    }
}

static void note_damaged(struct seen *seen)
{
    for (const char *line = result_err(&seen->result); line != NULL && *line != '\0';
         line = strchr(line, '\n') == NULL ? NULL : strchr(line, '\n') + 1) {
        unsigned long first = 0, last = 0;
        int reason = 0;
        if (sscanf(line, "recoveryd: event %lu: %n", &first, &reason) == 1 && reason > 0)
            last = first;
        else if (sscanf(line, "recoveryd: events %lu to %lu: %n", &first, &last, &reason) != 2 ||
                 reason == 0)
            continue;
        cr_assert_neq(line[reason], '\n', "no reason: %s", line);
        for (; first <= last; first++) {
            cr_assert_lt(first, EVENTS_MAX);
            cr_assert_not(seen->is_damaged[first], "event %lu is named twice", first);
            seen->is_damaged[first] = true;
            seen->damaged++;
        }
    }
}

static void look(const struct log_file *file, struct seen *seen)
{
    *seen = (struct seen){ 0 };
    testbed_recoveryd(&file->bed, &seen->result, "log", "-o", "jsonl", NULL);
    note_printed(seen);
    note_damaged(seen);
}

/* Each event is printed or named. */
static void expect_all_told(const struct log_file *file, const struct seen *seen)
{
    for (uint64_t id = 1; id <= file->last; id++)
        cr_assert_neq(seen->is_printed[id], seen->is_damaged[id], "event %lu: %s\n%s",
                      (unsigned long)id, seen->is_printed[id] ? "printed and named" : "not told",
                      result_err(&seen->result));
}

static void a_flipped_byte_costs_one_event(unsigned flags)
{
    struct log_file file;
    AUTO(seen_close) struct seen seen = { 0 };
    log_file_open(&file, flags);
    uint64_t id = file.last - 3;
    for (size_t at = 0; (at = find_record(&file, id, at)) != SIZE_MAX; at += 8)
        write_at(&file, "x", 1, at + 125);
    look(&file, &seen);
    expect_exit(&seen.result, 86);
    cr_assert_eq(seen.printed, file.last - 1);
    cr_assert(seen.is_damaged[id]);
    expect_contains(result_err(&seen.result), "its hash does not match");
    expect_contains(result_err(&seen.result), "1 event is damaged");
    expect_all_told(&file, &seen);
    /* the last five that are whole */
    testbed_recoveryd(&file.bed, &seen.result, "log", "-n", "5", NULL);
    expect_exit(&seen.result, 86);
    size_t lines = 0;
    for (const char *c = result_out(&seen.result); *c != '\0'; c++)
        lines += *c == '\n';
    cr_assert_eq(lines, 5);
    mend(&file);
    seen_close(&seen);
    look(&file, &seen);
    expect_exit(&seen.result, 0);
    cr_assert_eq(seen.printed, file.last);
    cr_assert_str_empty(result_err(&seen.result));
    log_file_close(&file);
}

Test(log, a_flipped_byte_in_a_recent_record_costs_that_event_only)
{
    a_flipped_byte_costs_one_event(0);
}

Test(log, the_same_as_an_ordinary_user)
{
    a_flipped_byte_costs_one_event(TESTBED_AS_USER);
}

/* Beside a writer no child probes the file first: the page ends recoveryd itself. */
static void expect_verification_to_tell(const struct log_file *file)
{
    AUTO(result_close) struct result result = { 0 };
    AUTO(file_lock_release) struct file_lock lease = FILE_LOCK_NONE;
    char path[4096];
    cr_assert_eq(path_join(path, file->bed.data, "events.lock"), STATUS_OK);
    cr_assert_eq(file_lock_take(&lease, path, 0), STATUS_OK);
    testbed_recoveryd(&file->bed, &result, "verify", "-o", "json", NULL);
    expect_exit(&result, 86);
    json_t *report = result_json(&result);
    const json_t *findings = json_object_get(report, "inconsistencies");
    cr_assert_eq(json_array_size(findings), 1);
    expect_text(json_array_get(findings, 0), "code", "log_damaged");
    json_decref(report);
    testbed_recoveryd(&file->bed, &result, "verify", "--full", NULL);
    expect_exit(&result, 86);
    expect_contains(result_out(&result), "recoveryd salvage");
}

Test(log, a_zeroed_page_costs_the_events_on_it_only)
{
    static const uint8_t zeros[PAGE];
    struct log_file file;
    AUTO(seen_close) struct seen seen = { 0 };
    log_file_open(&file, 0);
    uint64_t id = file.last / 2;
    while (u64_at(file.whole.data + find_record(&file, id, 0) + 8) >> 32 > PAGE / 4) /* length */
        id++; /* a record that shares its page with others */
    for (size_t at = 0; (at = find_record(&file, id, at)) != SIZE_MAX; at += 8)
        write_at(&file, zeros, PAGE, at / PAGE * PAGE);
    look(&file, &seen);
    expect_exit(&seen.result, 86);
    expect_all_told(&file, &seen);
    cr_assert(seen.is_damaged[id]);
    cr_assert_gt(seen.damaged, 1);
    cr_assert_lt(seen.damaged, 60, "%zu events on a page or two", seen.damaged);
    cr_assert_gt(seen.printed, file.last / 2);
    printf("%zu printed, %zu named\n%s", seen.printed, seen.damaged, result_err(&seen.result));
    expect_verification_to_tell(&file);
    mend(&file);
    log_file_close(&file);
}

Test(log, of_a_file_that_was_cut_off_what_is_left_is_printed)
{
    struct log_file file;
    size_t partial = 0, end = 0;
    log_file_open(&file, 0);
    for (size_t at = 0; (at = find_record(&file, 0, at)) != SIZE_MAX; at += 8)
        end = at;
    for (size_t cut = end; cut > 2 * PAGE; cut -= end / 24) {
        AUTO(seen_close) struct seen seen = { 0 };
        cr_assert_eq(truncate(file.path, (off_t)cut), 0);
        look(&file, &seen);
        /* What was cut may have been pages that LMDB had freed. */
        bool is_lost = seen.printed < file.last;
        cr_assert_eq(seen.result.exit_code, is_lost ? 86 : 0,
                     "cut at %zu: exit code %d, %zu printed", cut, seen.result.exit_code,
                     seen.printed);
        cr_assert_eq(result_err(&seen.result)[0] != '\0', is_lost);
        if (seen.printed > 0)
            expect_all_told(&file, &seen);
        partial += seen.printed > 0 && is_lost;
        mend(&file);
    }
    printf("%zu cuts left something to print\n", partial);
    cr_assert_gt(partial, 0);
    log_file_close(&file);
}

/* Whatever lies in a page, the command ends with a message and a code. */
Test(log, random_noise_in_pages_is_told)
{
    struct log_file file;
    uint8_t noise[PAGE];
    /* The same each time, but in the long run. */
    unsigned seed = getenv("SOLO_SEED") != NULL   ? (unsigned)strtoul(getenv("SOLO_SEED"), NULL, 10)
                    : getenv("SOLO_LONG") != NULL ? (unsigned)time(NULL)
                                                  : 1;
    log_file_open(&file, 0);
    printf("seed %u\n", seed);
    size_t at = find_record(&file, 0, 0), end = at;
    for (; (at = find_record(&file, 0, at)) != SIZE_MAX; at += 8)
        end = at;
    for (int round = 0; round < 25; round++) {
        AUTO(seen_close) struct seen seen = { 0 };
        for (int i = 0; i < 3; i++) {
            for (size_t k = 0; k < PAGE; k++)
                noise[k] = (uint8_t)rand_r(&seed);
            /* A header that LMDB believes leads it further astray. */
            size_t page = 2 + (size_t)rand_r(&seed) % (end / PAGE - 2);
            if (rand_r(&seed) % 2 == 0)
                memcpy(noise, file.whole.data + page * PAGE, 16);
            write_at(&file, noise, PAGE, page * PAGE);
        }
        look(&file, &seen);
        cr_assert(seen.result.exit_code == 86 || seen.result.exit_code == 0, "exit code %d:\n%s",
                  seen.result.exit_code, result_err(&seen.result));
        if (seen.printed > 0 && strstr(result_err(&seen.result), "were not read") == NULL)
            expect_all_told(&file, &seen);
        mend(&file);
    }
    log_file_close(&file);
}

Test(log, a_store_that_cannot_be_opened_is_said_to_be_damaged)
{
    static const uint8_t zeros[2 * PAGE];
    struct log_file file;
    AUTO(seen_close) struct seen seen = { 0 };
    log_file_open(&file, 0);
    write_at(&file, zeros, sizeof zeros, 0);
    look(&file, &seen);
    expect_exit(&seen.result, 86);
    cr_assert_eq(seen.printed, 0);
    expect_contains(result_err(&seen.result), "meta");
    cr_assert_eq(truncate(file.path, 100), 0);
    seen_close(&seen);
    look(&file, &seen);
    expect_exit(&seen.result, 86);
    expect_contains(result_err(&seen.result), "shorter than");
    mend(&file);
    testbed_recoveryd(&file.bed, &seen.result, "--log-reader", "log", NULL);
    expect_exit(&seen.result, 64);
    log_file_close(&file);
}
