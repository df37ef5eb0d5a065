/* What is kept, for how long, and that nothing damaged comes out. */
#include "tenantd/build_cache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/spec/build.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/scratch.h"

static struct scratch scratch;
static struct folder folder;
static struct build_cache cache;

static void open_cache(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_open(&scratch);
    folder = (struct folder){ .fd = scratch.fd, .top = -1 };
    build_cache_open(&cache, &folder, "acme", 1 << 20);
}

static void close_cache(void)
{
    scratch_close(&scratch);
}

TestSuite(build_cache, .init = open_cache, .fini = close_cache);

static struct hash key_of(int number)
{
    return hash_of(span_of(&number, sizeof number));
}

static void put(int number, size_t size)
{
    struct hash key = key_of(number);
    AUTO(fd_close) int fd = openat(scratch.fd, "artefact", O_RDWR | O_CREAT | O_TRUNC, 0600);
    uint8_t *bytes = malloc(size);
    memset(bytes, number, size);
    cr_assert_eq(fd_write_all(fd, span_of(bytes, size)), STATUS_OK);
    free(bytes);
    cr_assert_eq(build_cache_put(&cache, &key, fd, size), STATUS_OK);
    cr_assert_eq(unlinkat(scratch.fd, "artefact", 0), 0);
}

static enum status take(int number, int *pin)
{
    struct hash key = key_of(number);
    return build_cache_take(&cache, &key, -1, pin);
}

static char *file_of(int number, char name[HASH_TEXT_BYTES])
{
    struct hash key = key_of(number);
    return build_key_text(&key, name);
}

/* So that ages differ, whatever the clock of the file system. */
static void age(int number, int seconds_ago)
{
    char name[HASH_TEXT_BYTES];
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= seconds_ago;
    times[1] = times[0];
    cr_assert_eq(utimensat(scratch.fd, file_of(number, name), times, 0), 0);
}

Test(build_cache, gives_back_what_was_put_in)
{
    struct hash key = key_of(7);
    put(7, 300 * 1000);
    AUTO(fd_close) int out = openat(scratch.fd, "out", O_RDWR | O_CREAT, 0600);
    cr_assert_eq(build_cache_take(&cache, &key, out, NULL), STATUS_OK);
    struct stat file;
    uint8_t last;
    fstat(out, &file);
    cr_assert_eq(file.st_size, 300 * 1000);
    cr_assert_eq(pread(out, &last, 1, file.st_size - 1), 1);
    cr_assert_eq(last, 7);
    cr_assert_eq(take(8, NULL), STATUS_NOT_FOUND);
}

Test(build_cache, never_serves_what_was_changed_or_cut_off)
{
    static const off_t places[] = { 0, 5000, 9999, 10000, 10031 };
    char name[HASH_TEXT_BYTES];
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        uint8_t byte;
        put(1, 10000);
        AUTO(fd_close) int fd = openat(scratch.fd, file_of(1, name), O_RDWR);
        cr_assert_eq(pread(fd, &byte, 1, places[i]), 1);
        byte ^= 4;
        cr_assert_eq(pwrite(fd, &byte, 1, places[i]), 1);
        cr_assert_eq(take(1, NULL), STATUS_NOT_FOUND, "byte %ld", (long)places[i]);
        cr_assert_eq(faccessat(scratch.fd, name, F_OK, 0), -1, "it is removed");
    }
    put(1, 10000);
    AUTO(fd_close) int fd = openat(scratch.fd, file_of(1, name), O_RDWR);
    cr_assert_eq(ftruncate(fd, 9000), 0);
    cr_assert_eq(take(1, NULL), STATUS_NOT_FOUND);
    put(1, 10000);
    cr_assert_eq(take(1, NULL), STATUS_OK);
}

Test(build_cache, one_under_anothers_name_is_damage)
{
    char first[HASH_TEXT_BYTES], second[HASH_TEXT_BYTES];
    put(1, 100);
    cr_assert_eq(renameat(scratch.fd, file_of(1, first), scratch.fd, file_of(2, second)), 0);
    cr_assert_eq(take(2, NULL), STATUS_NOT_FOUND);
}

Test(build_cache, what_was_unused_for_longest_goes_first)
{
    cache.bytes_max = 3 * 1032;
    put(1, 1000), age(1, 30);
    put(2, 1000), age(2, 20);
    put(3, 1000), age(3, 10);
    cr_assert_eq(take(1, NULL), STATUS_OK, "and is the newest now");
    put(4, 1000);
    cr_assert_eq(take(1, NULL), STATUS_OK);
    cr_assert_eq(take(2, NULL), STATUS_NOT_FOUND);
    cr_assert_eq(take(3, NULL), STATUS_OK);
    cr_assert_eq(take(4, NULL), STATUS_OK);
}

Test(build_cache, what_somebody_uses_stays)
{
    int pin = -1;
    cache.bytes_max = 2 * 1032;
    put(1, 1000);
    cr_assert_eq(take(1, &pin), STATUS_OK);
    age(1, 30);
    put(2, 1000), age(2, 20);
    put(3, 1000);
    cr_assert_eq(take(1, NULL), STATUS_OK);
    cr_assert_eq(take(2, NULL), STATUS_NOT_FOUND);
    fd_close(&pin);
    age(1, 30);
    put(4, 1000);
    cr_assert_eq(take(1, NULL), STATUS_NOT_FOUND);
}

Test(build_cache, an_earlier_supervisors_unfinished_files_are_removed)
{
    static const char *const names[] = { ".new-3-acme", ".new-3-acme2", ".new-0-a" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        close(openat(scratch.fd, names[i], O_WRONLY | O_CREAT, 0600));
    build_cache_open(&cache, &folder, "acme", 1 << 20);
    cr_assert_eq(faccessat(scratch.fd, names[0], F_OK, 0), -1);
    cr_assert_eq(faccessat(scratch.fd, names[1], F_OK, 0), 0, "another tenant's");
    cr_assert_eq(faccessat(scratch.fd, names[2], F_OK, 0), 0, "another tenant's");
}
