/* Descriptors that go with requests and answers: each arrives with its own message, and none is
 * left open. */
#include <dirent.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/rpc/passed.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/rpc/fixture.h"

static struct rpc_client *client_at(struct fixture *fixture)
{
    struct rpc_client *client = NULL;
    const struct rpc_client_options options = { .path = fixture->path };
    cr_assert_eq(rpc_client_open(&client, fixture->loop, &options), STATUS_OK);
    return client;
}

static int open_count(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static int file_with(uint64_t number)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    cr_assert_eq(write(fd, &number, sizeof number), (ssize_t)sizeof number);
    return fd;
}

static uint64_t number_in(int fd)
{
    uint64_t number = 0;
    cr_assert_eq(pread(fd, &number, sizeof number, 0), (ssize_t)sizeof number);
    return number;
}

struct asked {
    struct rpc_client *client;
    unsigned count, files, wrong;
    enum status status;
    bool leaves;
};

static void on_reply(void *context, enum status status, const struct problem *problem,
                     const void *reply)
{
    struct asked *asked = context;
    (void)problem;
    asked->count++;
    asked->status = status;
    if (asked->leaves)
        return;
    AUTO(fd_close) int fd = rpc_client_take_file(asked->client);
    cr_expect_eq(rpc_client_take_file(asked->client), -1, "it is there once");
    if (fd < 0)
        return;
    asked->files++;
    asked->wrong += number_in(fd) + 1 != ((const struct echo_reply *)reply)->number;
}

static void ask(struct asked *asked, const struct method *method, const char *text, uint64_t number,
                bool has_file)
{
    const struct echo_request request = { .text = text, .number = number };
    const struct rpc_call_options options = {
        .on_reply = on_reply,
        .context = asked,
        .file = has_file ? file_with(number) : -1,
        .has_file = has_file,
    };
    cr_assert_eq(rpc_client_call(asked->client, method, &request, &options, NULL), STATUS_OK);
}

Test(passed, each_comes_with_its_own_message)
{
    enum { CALLS = 200 };
    FIXTURE(NULL);
    AUTO(rpc_client_close) struct rpc_client *client = client_at(fixture);
    struct asked asked = { .client = client };
    ask(&asked, &method_read, "first", 1, false);
    RUN_UNTIL(fixture, asked.count == 1);
    int before = open_count();
    unsigned with = 0;
    for (uint64_t i = 0; i < CALLS; i++) {
        bool has_file = i % 3 != 1;
        with += has_file;
        ask(&asked, i % 3 == 1 ? &method_read : &method_pass, "pass", i, has_file);
    }
    RUN_UNTIL(fixture, asked.count == CALLS + 1);
    cr_expect_eq(asked.files, with);
    cr_expect_eq(asked.wrong, 0);
    cr_expect_eq(open_count(), before);
}

Test(passed, what_nobody_takes_is_closed)
{
    FIXTURE(NULL);
    AUTO(rpc_client_close) struct rpc_client *client = client_at(fixture);
    struct asked asked = { .client = client };
    ask(&asked, &method_read, "first", 1, false);
    RUN_UNTIL(fixture, asked.count == 1);
    int before = open_count();
    ask(&asked, &method_pass, "refuse", 2, true); /* the answer is a refusal */
    RUN_UNTIL(fixture, asked.count == 2);
    cr_expect_eq(asked.status, STATUS_FAILED_PRECONDITION);
    ask(&asked, &method_pass, "keep", 3, true);  /* the handler does not take it */
    ask(&asked, &method_read, "other", 4, true); /* nor does this one */
    RUN_UNTIL(fixture, asked.count == 4);
    cr_expect_eq(asked.files, 0);
    asked.leaves = true; /* nor the caller */
    ask(&asked, &method_pass, "pass", 5, true);
    ask(&asked, &method_read, "after", 6, false);
    RUN_UNTIL(fixture, asked.count == 6);
    fixture->commit_status = STATUS_IO; /* held for a commit that fails */
    ask(&asked, &method_pass, "pass", 7, true);
    RUN_UNTIL(fixture, asked.count == 7);
    cr_expect_eq(asked.status, STATUS_UNKNOWN);
    cr_expect_eq(open_count(), before);
}

Test(passed, a_call_that_is_given_up_does_not_lend_its_descriptor_to_the_next)
{
    FIXTURE(NULL);
    AUTO(rpc_client_close) struct rpc_client *client = client_at(fixture);
    struct asked asked = { .client = client };
    const struct echo_request request = { .text = "pass", .number = 70 };
    const struct rpc_call_options options = {
        .on_reply = on_reply, .context = &asked, .file = file_with(70), .has_file = true
    };
    uint64_t handle;
    cr_assert_eq(rpc_client_call(client, &method_pass, &request, &options, &handle), STATUS_OK);
    RUN_UNTIL(fixture, fixture->handled == 1 || asked.count == 1);
    rpc_client_cancel(client, handle);
    unsigned before = asked.count;
    ask(&asked, &method_pass, "pass", 71, true);
    ask(&asked, &method_read, "none", 72, false);
    RUN_UNTIL(fixture, asked.count == before + 2);
    cr_expect_eq(asked.wrong, 0);
}

Test(passed, too_many_at_once_end_the_stream)
{
    int pair[2], before = open_count();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    int files[PASSED_MAX + 1];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof files)];
    } control = { .header = { CMSG_LEN(sizeof files), SOL_SOCKET, SCM_RIGHTS } };
    for (size_t i = 0; i < COUNT_OF(files); i++)
        files[i] = pair[1];
    memcpy(CMSG_DATA(&control.header), files, sizeof files);
    struct iovec vector = { "x", 1 };
    const struct msghdr message = { .msg_iov = &vector,
                                    .msg_iovlen = 1,
                                    .msg_control = &control,
                                    .msg_controllen = sizeof control };
    struct passed passed = { 0 };
    char room[8];
    cr_assert_eq(sendmsg(pair[0], &message, 0), 1);
    cr_expect_eq(passed_receive(&passed, pair[1], room, sizeof room), -1);
    passed_close(&passed);
    close(pair[0]);
    close(pair[1]);
    cr_expect_eq(open_count(), before);
}
