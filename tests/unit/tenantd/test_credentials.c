/* What was delivered becomes files and variables of one start; anything else is refused, and leaves
 * nothing. */
#include "tenantd/credentials.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tests/support/criterion.h"
#include "tests/unit/tenantd/scratch.h"

static struct scratch scratch;
static struct site site;
static struct launch *launch;
static struct credentials credentials;

/* As a spec names them: in the order of names. */
static void set_up(void)
{
    static const struct spec_secret secrets[] = {
        { .name = "api-key", .is_env = true },
        { .name = "cert", .is_optional = true },
        { .name = "db" },
    };
    AUTO(arena_close) struct arena arena = { .limit = 16 * 1024 * 1024 };
    const struct spec_files files = { "/code", NULL };
    const struct spec spec = { .name = "api",
                               .argv = { (const char *const[]){ "p" }, 1 },
                               .secrets = secrets,
                               .secret_count = COUNT_OF(secrets) };
    log_setup("test", LOG_LEVEL_ERROR);
    scratch_open(&scratch);
    site = SITE_NONE;
    strcpy(site.tenant, "acme");
    strcpy(site.code_seen, scratch.path);
    site.code_fd = scratch.fd;
    credentials = (struct credentials){ 0 };
    cr_assert_eq(launch_make(&spec, &files, &arena, &launch), STATUS_OK);
    cr_assert_eq(credentials_open(&site), STATUS_OK);
    site.keeps_credentials_in_memory = true; /* whatever these tests lie on */
}

static void tear_down(void)
{
    credentials_close(&credentials);
    fd_close(&site.credentials_fd);
    launch_free(launch);
    scratch_close(&scratch);
}

TestSuite(credentials, .init = set_up, .fini = tear_down);

struct value {
    const char *name, *text;
};

static int delivery(const char *service, uint64_t count, const struct value *values,
                    size_t value_count, bool is_sealed)
{
    AUTO(buffer_close) struct buffer packed = { .limit = 1 << 20 };
    const struct secret_delivery head = {
        .tenant = "acme", .service = service, .generation = 7, .count = count
    };
    fields_encode(&record_secret_delivery, &head, &packed);
    for (size_t i = 0; i < value_count; i++) {
        const struct secret_delivered secret = { .name = values[i].name,
                                                 .version = i + 1,
                                                 .value = span_of_text(values[i].text) };
        fields_encode(&record_secret_delivered, &secret, &packed);
    }
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(fd_write_all(fd, buffer_span(&packed)), STATUS_OK);
    if (is_sealed)
        cr_assert_eq(
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL), 0);
    return fd;
}

static enum status put(int fd, struct problem *problem)
{
    enum status status = credentials_put(&site, "api", 7, launch, fd, &credentials, problem);
    if (fd >= 0)
        close(fd);
    return status;
}

static void expect_nothing_left(void)
{
    cr_expect_neq(faccessat(site.credentials_fd, "api", F_OK, AT_SYMLINK_NOFOLLOW), 0);
    cr_expect_eq(credentials.environment_count, 0);
    cr_expect_null(credentials.environment.data);
}

static const struct value all[] = { { "api-key", "one" }, { "cert", "two" }, { "db", "three" } };

Test(credentials, are_files_and_variables_of_one_start)
{
    struct problem problem = { 0 };
    struct stat stat;
    cr_assert_eq(put(delivery("api", 3, all, 3, true), &problem), STATUS_OK, "%s", problem.message);
    AUTO(scratch_free) char *cert = scratch_read(&scratch, "+credentials/api/cert");
    AUTO(scratch_free) char *db = scratch_read(&scratch, "+credentials/api/db");
    cr_expect_str_eq(cert, "two");
    cr_expect_str_eq(db, "three");
    cr_expect_neq(faccessat(site.credentials_fd, "api/api-key", F_OK, 0), 0);
    cr_assert_eq(fstatat(site.credentials_fd, "api/db", &stat, 0), 0);
    cr_expect_eq(stat.st_mode & 07777, 0400);
    cr_assert_eq(fstatat(site.credentials_fd, "api", &stat, 0), 0);
    cr_expect_eq(stat.st_mode & 07777, 0500);
    cr_expect_eq(credentials.environment_count, 1);
    cr_expect_str_eq((const char *)credentials.environment.data, "API_KEY=one");
    credentials_forget(&credentials);
    cr_expect_null(credentials.environment.data);

    /* the next start: an optional one is gone by then, and so is its file */
    const struct value fewer[] = { { "api-key", "one" }, { "db", "four" } };
    cr_assert_eq(put(delivery("api", 2, fewer, 2, true), &problem), STATUS_OK, "%s",
                 problem.message);
    AUTO(scratch_free) char *again = scratch_read(&scratch, "+credentials/api/db");
    cr_expect_str_eq(again, "four");
    cr_expect_neq(faccessat(site.credentials_fd, "api/cert", F_OK, 0), 0);
    credentials_forget(&credentials);
    credentials_remove(&site, "api");
    credentials_remove(&site, "api"); /* when there are none */
    expect_nothing_left();
}

Test(credentials, are_not_written_to_a_disk)
{
    struct problem problem = { 0 };
    site.keeps_credentials_in_memory = false;
    cr_expect_eq(put(delivery("api", 3, all, 3, true), &problem), STATUS_FAILED_PRECONDITION);
    cr_expect(strstr(problem.message, "tmpfs") != NULL, "%s", problem.message);
    expect_nothing_left();
}

Test(credentials, what_is_not_for_this_start_is_refused_and_leaves_nothing)
{
    const struct value missing[] = { { "api-key", "one" }, { "cert", "two" } };
    const struct value foreign[] = { { "api-key", "one" }, { "db", "2" }, { "other", "3" } };
    const struct value upward[] = { { "../x", "one" }, { "cert", "2" }, { "db", "3" } };
    const struct {
        const char *what;
        int fd;
        const char *says;
    } refused[] = {
        { "no descriptor", -1, "sealed" },
        { "one that may change", delivery("api", 3, all, 3, false), "sealed" },
        { "another service's", delivery("web", 3, all, 3, true), "another start" },
        { "too many", delivery("api", SPEC_SECRETS_MAX + 1, all, 3, true), "another start" },
        { "cut", delivery("api", 3, all, 2, true), "ends early" },
        { "without a needed one", delivery("api", 2, missing, 2, true), "another spec" },
        { "with one it does not name", delivery("api", 3, foreign, 3, true), "another spec" },
        { "a path for a name", delivery("api", 3, upward, 3, true), "" },
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct problem problem = { 0 };
        cr_expect_eq(put(refused[i].fd, &problem), STATUS_FAILED_PRECONDITION, "%s",
                     refused[i].what);
        cr_expect_not_null(strstr(problem.message, refused[i].says), "%s: %s", refused[i].what,
                           problem.message);
        expect_nothing_left();
    }
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL),
                 0);
    struct problem problem = { 0 };
    cr_expect_eq(put(fd, &problem), STATUS_FAILED_PRECONDITION, "empty");
    expect_nothing_left();
}

/* A variable ends where its value has a NUL: the rest would be lost. */
Test(credentials, a_value_with_a_nul_is_no_variable)
{
    AUTO(buffer_close) struct buffer packed = { .limit = 4096 };
    struct problem problem = { 0 };
    const struct secret_delivery head = {
        .tenant = "acme", .service = "api", .generation = 7, .count = 2
    };
    const struct secret_delivered key = { .name = "api-key",
                                          .version = 1,
                                          .value = span_of("a\0b", 3) };
    const struct secret_delivered db = { .name = "db", .version = 1, .value = span_of("a\0b", 3) };
    fields_encode(&record_secret_delivery, &head, &packed);
    fields_encode(&record_secret_delivered, &key, &packed);
    fields_encode(&record_secret_delivered, &db, &packed);
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(fd_write_all(fd, buffer_span(&packed)), STATUS_OK);
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL),
                 0);
    cr_expect_eq(put(fd, &problem), STATUS_FAILED_PRECONDITION);
    cr_expect_not_null(strstr(problem.message, "api-key has a NUL"), "%s", problem.message);
    expect_nothing_left();
}

/* A link in the place of the folder is not followed. */
Test(credentials, a_link_is_not_followed)
{
    struct problem problem = { 0 };
    cr_assert_eq(mkdirat(scratch.fd, "elsewhere", 0700), 0);
    cr_assert_eq(symlinkat("../elsewhere", site.credentials_fd, "api"), 0);
    cr_expect_neq(put(delivery("api", 3, all, 3, true), &problem), STATUS_OK);
    cr_expect_neq(faccessat(scratch.fd, "elsewhere/db", F_OK, 0), 0);
}
