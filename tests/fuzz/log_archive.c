/* Archives of events, their checkpoints and their states, made of any bytes: refused, or read into
 * what packs the same again. An archive's bytes are tried as they are and, because no fuzzer finds
 * a hash, with the digest of the file put right. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/api/records/log_archive.h"
#include "common/api/records/log_cut.h"
#include "common/api/records/log_state.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each refusal is logged; here that is all there is. */
static void be_quiet(void)
{
    static bool is_quiet;
    if (!is_quiet && getenv("SOLO_FUZZ_VERBOSE") == NULL)
        is_quiet = freopen("/dev/null", "w", stderr) != NULL;
}

static void check_archive(struct span bytes)
{
    AUTO(log_archive_close) struct log_archive archive = { .fd = -1 };
    AUTO(log_fold_close) struct log_fold fold = { 0 };
    struct log_checkpoint checkpoint = { 0 };
    int fd = memfd_create("archive", MFD_CLOEXEC);
    ensure(fd >= 0);
    ensure(write(fd, bytes.data, bytes.size) == (ssize_t)bytes.size);
    if (log_archive_open_fd(&archive, fd, "fuzz") != STATUS_OK)
        return;
    log_fold_open(&fold);
    fold.next = archive.first;
    fold.previous = archive.before;
    if (log_archive_verify(&archive, &fold) != STATUS_OK)
        return;
    ensure(fold.next == archive.last + 1);
    log_archive_describe(&archive, &checkpoint);
    ensure(log_archive_fits(&archive, &checkpoint) == STATUS_OK);
}

static void check_state(struct span bytes)
{
    AUTO(log_fold_close) struct log_fold fold = { 0 }, again = { 0 };
    AUTO(buffer_close) struct buffer packed = { .limit = LOG_STATE_BYTES_MAX };
    AUTO(buffer_close) struct buffer repacked = { .limit = LOG_STATE_BYTES_MAX };
    log_fold_open(&fold);
    if (log_state_unpack(bytes, &fold) != STATUS_OK)
        return;
    ensure(log_state_pack(&fold, &packed) == STATUS_OK);
    log_fold_open(&again);
    ensure(log_state_unpack(buffer_span(&packed), &again) == STATUS_OK);
    ensure(log_state_pack(&again, &repacked) == STATUS_OK);
    ensure(span_equal(buffer_span(&packed), buffer_span(&repacked)));
    uint64_t *ids;
    size_t count;
    ensure(log_state_kept(bytes, &ids, &count) == STATUS_OK);
    for (size_t i = 0; i < count; i++)
        ensure(log_state_keeps(ids, count, ids[i]));
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct log_checkpoint checkpoint;
    AUTO(buffer_close) struct buffer mended = { .limit = 1024 * 1024 };
    be_quiet();
    check_archive(span_of(data, size));
    check_state(span_of(data, size));
    if (log_checkpoint_read(span_of(data, size), "fuzz", &checkpoint) == STATUS_OK)
        ensure(checkpoint.first <= checkpoint.last);
    if (size < LOG_ARCHIVE_TAIL_BYTES || buffer_append(&mended, data, size) != STATUS_OK)
        return 0;
    struct hash digest = hash_of(span_of(data, size - HASH_BYTES));
    memcpy(mended.data + size - HASH_BYTES, digest.bytes, HASH_BYTES);
    check_archive(buffer_span(&mended));
    return 0;
}
