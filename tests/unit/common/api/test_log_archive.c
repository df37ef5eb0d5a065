/* The file of archived events and its checkpoint: what was written is read, what was altered
 * anywhere is refused. */
#include "common/api/records/log_archive.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/records/log_cut.h"
#include "common/api/records/log_state.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

enum { EVENTS = 6 };
static const uint8_t log_id[16] = "0123456789abcde";
static struct log_fold fold; /* behind what was written */
static struct buffer file = { .limit = 1024 * 1024 };

static void deploy_payload(struct buffer *payload)
{
    struct hash hash = hash_of(span_of_text("spec"));
    write_map(payload, 2);
    write_str(payload, "spec");
    write_map(payload, 0);
    write_str(payload, "spec_hash");
    write_bin(payload, span_of(hash.bytes, HASH_BYTES));
}

static void tenant_payload(struct buffer *payload)
{
    write_map(payload, 1);
    write_str(payload, "index");
    write_u64(payload, 0);
}

/* A tenant, two services of which one is killed again, a note. */
static const struct {
    const char *type, *subject;
    void (*pack)(struct buffer *payload);
} story[EVENTS] = {
    { "system_started", "system", NULL },
    { "tenant_created", "tenant/acme", tenant_payload },
    { "service_deployed", "service/acme/api", deploy_payload },
    { "service_deployed", "service/acme/gone", deploy_payload },
    { "service_killed", "service/acme/gone", NULL },
    { "app.note", "notes", NULL },
};

static void add_event(struct log_archive_writer *writer, size_t at)
{
    AUTO(buffer_close) struct buffer record = { .limit = EVENT_RECORD_BYTES_MAX };
    AUTO(buffer_close) struct buffer payload = { .limit = 1024 };
    struct event event = {
        .epoch = 1,
        .id = fold.next,
        .wall_ns = 1000 + fold.next,
        .previous_hash = fold.previous,
        .type = story[at].type,
        .tenant = "acme",
        .subject = story[at].subject,
        .source = "",
    };
    memcpy(event.log_id, log_id, sizeof event.log_id);
    if (story[at].pack != NULL)
        story[at].pack(&payload);
    event.payload = buffer_span(&payload);
    cr_assert_eq(event_encode(&event, &record), STATUS_OK);
    cr_assert_eq(log_fold_take(&fold, &event), STATUS_OK);
    cr_assert_eq(log_archive_add(writer, buffer_span(&record)), STATUS_OK);
}

static void write_file(int fd)
{
    AUTO(log_archive_writer_close) struct log_archive_writer writer = { 0 };
    cr_assert_eq(log_archive_begin(&writer, fd, log_id, fold.next, &fold.previous), STATUS_OK);
    for (size_t i = 0; i < EVENTS; i++)
        add_event(&writer, i);
    cr_assert_eq(log_archive_end(&writer, 1000 + fold.next - 1, &fold), STATUS_OK);
}

static int memory_file(void)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

static void set_up(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_make();
    log_fold_open(&fold);
    AUTO(fd_close) int fd = memory_file();
    write_file(fd);
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *room = buffer_reserve(&file, (size_t)size);
    cr_assert_eq(pread(fd, room, (size_t)size, 0), size);
    file.size = (size_t)size;
}

static void tear_down(void)
{
    log_fold_close(&fold);
    buffer_close(&file);
    scratch_remove();
}

TestSuite(log_archive, .init = set_up, .fini = tear_down, .timeout = 60);

/* The file as it is in `file` now. */
static enum status verify(struct log_checkpoint *checkpoint)
{
    AUTO(log_archive_close) struct log_archive archive = { .fd = -1 };
    AUTO(log_fold_close) struct log_fold anew = { 0 };
    int fd = memory_file();
    cr_assert_eq(fd_write_all(fd, buffer_span(&file)), STATUS_OK);
    log_fold_open(&anew);
    TRY(log_archive_open_fd(&archive, fd, "memory"));
    TRY(log_archive_verify(&archive, &anew));
    cr_assert_eq(anew.next, EVENTS + 1);
    log_archive_describe(&archive, checkpoint);
    return log_archive_fits(&archive, checkpoint);
}

Test(log_archive, what_was_written_is_read)
{
    struct log_checkpoint checkpoint = { 0 };
    cr_assert_eq(verify(&checkpoint), STATUS_OK);
    cr_assert_eq(checkpoint.first, 1);
    cr_assert_eq(checkpoint.last, EVENTS);
    cr_assert_eq(checkpoint.wall_ns, 1000 + EVENTS);
    cr_assert_eq(checkpoint.bytes, file.size);
    cr_assert(hash_equal(&checkpoint.hash, &fold.previous));
}

/* Every byte, and every end. */
Test(log_archive, what_was_altered_is_refused)
{
    struct log_checkpoint checkpoint = { 0 };
    size_t whole = file.size;
    log_setup("test", LOG_LEVEL_ERROR);
    cr_assert_not_null(freopen("/dev/null", "w", stderr));
    for (size_t i = 0; i < whole; i++) {
        file.data[i] ^= 0x10;
        cr_assert_neq(verify(&checkpoint), STATUS_OK, "byte %zu", i);
        file.data[i] ^= 0x10;
    }
    for (file.size = 0; file.size < whole; file.size += 37)
        cr_assert_neq(verify(&checkpoint), STATUS_OK, "cut at %zu", file.size);
    file.size = whole;
    cr_assert_eq(verify(&checkpoint), STATUS_OK);
}

/* As who prints what is left of one: behind damage, and to the end of the file at the most. */
static size_t read_what_is_whole(void)
{
    AUTO(log_archive_close) struct log_archive archive = { .fd = -1 };
    struct span record;
    size_t count = 0;
    int fd = memory_file();
    cr_assert_eq(fd_write_all(fd, buffer_span(&file)), STATUS_OK);
    if (log_archive_open_fd(&archive, fd, "memory") != STATUS_OK)
        return 0;
    for (enum status status = STATUS_OK; status != STATUS_NOT_FOUND;) {
        status = log_archive_next(&archive, &record);
        count += status == STATUS_OK;
        if (status == STATUS_DATA_LOSS)
            status = log_archive_pass(&archive);
        cr_assert(status == STATUS_OK || status == STATUS_NOT_FOUND);
    }
    return count;
}

Test(log_archive, what_is_whole_behind_damage_is_read)
{
    log_setup("test", LOG_LEVEL_ERROR);
    cr_assert_not_null(freopen("/dev/null", "w", stderr));
    size_t records_end = file.size - LOG_ARCHIVE_TAIL_BYTES;
    for (size_t i = LOG_ARCHIVE_HEAD_BYTES; i < file.size; i++) {
        file.data[i] ^= 0x10;
        size_t count = read_what_is_whole();
        cr_assert(i >= records_end || count >= EVENTS - 1, "byte %zu: %zu", i, count);
        cr_assert_leq(count, EVENTS, "byte %zu", i);
        file.data[i] ^= 0x10;
    }
    cr_assert_eq(read_what_is_whole(), EVENTS);
}

Test(log_archive, one_record_left_out_is_refused)
{
    /* With a digest that fits: what an attacker without the key would make. */
    struct log_checkpoint checkpoint = { 0 };
    uint32_t length;
    memcpy(&length, file.data + LOG_ARCHIVE_HEAD_BYTES + 12, sizeof length);
    memmove(file.data + LOG_ARCHIVE_HEAD_BYTES, file.data + LOG_ARCHIVE_HEAD_BYTES + length,
            file.size - LOG_ARCHIVE_HEAD_BYTES - length);
    file.size -= length;
    uint8_t *tail = file.data + file.size - LOG_ARCHIVE_TAIL_BYTES;
    uint64_t records;
    memcpy(&records, tail + 16, sizeof records);
    records -= length;
    memcpy(tail + 16, &records, sizeof records);
    struct hash digest = hash_of(span_of(file.data, file.size - HASH_BYTES));
    memcpy(file.data + file.size - HASH_BYTES, digest.bytes, HASH_BYTES);
    cr_assert_eq(verify(&checkpoint), STATUS_DATA_LOSS);
}

Test(log_archive, names_are_read_as_they_are_written)
{
    static const char *const others[] = {
        "events-1-2.archive", "events-.archive", "x",
        "events-00000000000000000005-00000000000000000002.archive",
        "events-00000000000000000001-00000000000000000002.archive.new"
    };
    char name[LOG_ARCHIVE_NAME_BYTES];
    uint64_t first, last;
    log_archive_name(name, 7, UINT64_MAX, LOG_ARCHIVE_SUFFIX);
    cr_assert(log_archive_name_parse(name, LOG_ARCHIVE_SUFFIX, &first, &last));
    cr_assert_eq(first, 7);
    cr_assert_eq(last, UINT64_MAX);
    cr_assert_not(log_archive_name_parse(name, LOG_CHECKPOINT_SUFFIX, &first, &last));
    for (size_t i = 0; i < COUNT_OF(others); i++)
        cr_assert_not(log_archive_name_parse(others[i], LOG_ARCHIVE_SUFFIX, &first, &last), "%s",
                      others[i]);
}

/* --- the state --- */

Test(log_archive, a_state_is_what_the_events_come_to)
{
    AUTO(buffer_close) struct buffer state = { .limit = LOG_STATE_BYTES_MAX };
    AUTO(buffer_close) struct buffer again = { .limit = LOG_STATE_BYTES_MAX };
    AUTO(log_fold_close) struct log_fold read = { 0 };
    uint64_t *kept;
    size_t count;
    cr_assert_eq(log_state_pack(&fold, &state), STATUS_OK);
    log_fold_open(&read);
    cr_assert_eq(log_state_unpack(buffer_span(&state), &read), STATUS_OK);
    cr_assert_eq(HASH_COUNT(read.services), 1);
    struct folded *api = log_fold_find(&read, "acme/api");
    cr_assert_not_null(api);
    cr_assert_eq(api->row.generation, 3);
    cr_assert_eq(api->newest, 3);
    cr_assert_eq(HASH_COUNT(read.tenants), 1);
    cr_assert_eq(read.newest[EVENT_service_killed], 5);
    cr_assert_eq(log_state_pack(&read, &again), STATUS_OK);
    cr_assert(span_equal(buffer_span(&state), buffer_span(&again)));
    cr_assert_eq(log_state_kept(buffer_span(&state), &kept, &count), STATUS_OK);
    for (uint64_t id = 1; id <= 5; id++)
        cr_assert(log_state_keeps(kept, count, id), "%lu", (unsigned long)id);
    cr_assert_not(log_state_keeps(kept, count, 6), "a note is needed by nobody");
    cr_assert_eq(count, 5);
    free(kept);
    cr_assert_not_null(freopen("/dev/null", "w", stderr));
    for (size_t i = 1; i < state.size; i++) {
        AUTO(log_fold_close) struct log_fold cut = { 0 };
        log_fold_open(&cut);
        (void)log_state_unpack(span_of(state.data, i), &cut); /* refused or not, it ends */
    }
}

/* --- checkpoints --- */

static void sign(struct log_checkpoint *checkpoint, struct buffer *text)
{
    uint8_t public_key[LOG_PUBLIC_BYTES], secret[LOG_SECRET_BYTES];
    cr_assert_eq(log_key_open(scratch_path(""), public_key, secret), STATUS_OK);
    cr_assert_eq(log_checkpoint_sign(checkpoint, public_key, secret, text), STATUS_OK);
}

Test(log_archive, a_checkpoint_is_read_as_it_was_signed)
{
    AUTO(buffer_close) struct buffer text = { .limit = LOG_CHECKPOINT_BYTES_MAX };
    struct log_checkpoint checkpoint = { .signed_ns = 5 }, read;
    cr_assert_eq(verify(&checkpoint), STATUS_OK);
    sign(&checkpoint, &text);
    cr_assert_eq(log_checkpoint_read(buffer_span(&text), "test", &read), STATUS_OK);
    cr_assert_arr_eq(&checkpoint, &read, sizeof read);
    cr_assert_not_null(freopen("/dev/null", "w", stderr));
    for (size_t i = 0; i < text.size; i++) {
        text.data[i] ^= 1;
        cr_assert_eq(log_checkpoint_read(buffer_span(&text), "test", &read), STATUS_DATA_LOSS,
                     "byte %zu", i);
        text.data[i] ^= 1;
    }
    for (size_t size = 0; size < text.size; size++)
        cr_assert_eq(log_checkpoint_read(span_of(text.data, size), "test", &read), STATUS_DATA_LOSS,
                     "cut at %zu", size);
}

Test(log_archive, a_key_is_made_once_and_kept_from_others)
{
    uint8_t first[LOG_PUBLIC_BYTES], second[LOG_PUBLIC_BYTES], public_key[LOG_PUBLIC_BYTES];
    uint8_t secret[LOG_SECRET_BYTES];
    char path[4096];
    struct stat stat_of;
    snprintf(path, sizeof path, "%s", scratch_path(LOG_KEY_FILE));
    cr_assert_eq(log_key_read_public(scratch_path(""), public_key), STATUS_NOT_FOUND);
    cr_assert_eq(log_key_open(scratch_path(""), first, secret), STATUS_OK);
    cr_assert_eq(stat(path, &stat_of), 0);
    cr_assert_eq(stat_of.st_mode & 07777, 0400);
    cr_assert_eq(log_key_open(scratch_path(""), second, secret), STATUS_OK);
    cr_assert_arr_eq(first, second, sizeof first);
    cr_assert_eq(log_key_read_public(scratch_path(""), public_key), STATUS_OK);
    cr_assert_arr_eq(first, public_key, sizeof first);
    cr_assert_eq(chmod(path, 0440), 0);
    cr_assert_eq(log_key_open(scratch_path(""), second, secret), STATUS_FAILED_PRECONDITION);
}
