/* What no honest client sends, at every socket: refused or cut off, without memory and without harm
 * to others. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/wire/writer.h"
#include "tests/support/expect.h"
#include "tests/support/process.h"

TestSuite(hostile_frames, .timeout = 240);

enum { DOORS = 6, REPEATS = 60, MEMORY_KIB_MAX = 8 * 1024, PATIENCE_MS = 60000 };

/* A daemon as its enemies see it. */
struct door {
    const char *name;
    char path[4096];
    pid_t pid;
};

static size_t doors_of(struct testbed *bed, struct door doors[DOORS])
{
    static const char *const names[] = { "eventd", "tokend", "vaultd", "deployd", "solod" };
    size_t count = 0;
    for (; count < COUNT_OF(names); count++) {
        doors[count].name = names[count];
        testbed_socket(bed, names[count], doors[count].path);
        doors[count].pid =
            strcmp(names[count], "solod") == 0 ? bed->solod : testbed_daemon(bed, names[count]);
        cr_assert_neq(doors[count].pid, 0, "%s does not run", names[count]);
    }
    service_deploy_sleeper(bed, "acme", "api");
    doors[count].name = "tenantd";
    snprintf(doors[count].path, sizeof doors[count].path, "%s/internal/tenants/acme.sock",
             bed->run);
    doors[count].pid = testbed_supervisor(bed, "acme");
    cr_assert_neq(doors[count].pid, 0, "acme has no supervisor");
    return count + 1;
}

static void expect_healthy(const struct door *door)
{
    struct caller caller;
    cr_assert_eq(caller_open(&caller, door->path), STATUS_OK, "%s is not reachable", door->name);
    json_t *reply = NULL;
    struct problem problem = { 0 };
    enum status status = caller_call(&caller, "daemon.health", NULL, PATIENCE_MS, &reply, &problem);
    cr_assert_eq(status, STATUS_OK, "%s: %s", door->name, problem.message);
    expect_text(reply, "state", "ready");
    json_decref(reply);
    caller_close(&caller);
    cr_assert(process_is_alive(door->pid), "%s has died", door->name);
}

/* The 155 bytes of docs/protocol.md: arrays within arrays that announce 2^26 elements each. */
static void pack_bomb(struct buffer *frame)
{
    for (int i = 0; i < 31; i++)
        buffer_append(frame, "\xdd\x04\x00\x00\x00", 5);
}

static void pack_deep(struct buffer *frame)
{
    buffer_append(frame, "\x94\x00\x01\xa1x", 5);
    for (int i = 0; i < 5000; i++)
        buffer_append(frame, "\x91", 1);
    buffer_append(frame, "\xc0", 1);
}

static void pack_not_msgpack(struct buffer *frame)
{
    buffer_append_text(frame, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

static void pack_reserved_byte(struct buffer *frame)
{
    buffer_append(frame, "\x94\x00\x01\xc1\x90", 5);
}

static void pack_ext(struct buffer *frame)
{
    buffer_append(frame, "\x94\x00\x01\xd4\x01\x00\x90", 7);
}

static void pack_oversize(struct buffer *frame)
{
    write_array(frame, 4);
    write_u64(frame, 0);
    write_u64(frame, 1);
    write_str(frame, "daemon.health");
    write_array(frame, 1);
    write_map(frame, 1);
    write_str(frame, "x");
    buffer_append(frame, "\xc6\x7f\xff\xff\xff", 5); /* two gigabytes of bytes, says it */
    for (int i = 0; i < 300; i++)
        buffer_append(frame, "................................................................",
                      64);
}

static void pack_long_method(struct buffer *frame)
{
    write_array(frame, 4);
    write_u64(frame, 0);
    write_u64(frame, 1);
    char name[2000];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    write_str(frame, name);
    write_array(frame, 1);
    write_map(frame, 0);
}

static void pack_answer(struct buffer *frame)
{
    buffer_append(frame, "\x94\x01\x01\xc0\xc0", 5);
}

static void pack_three_elements(struct buffer *frame)
{
    buffer_append(frame, "\x93\x00\x01\xa1x", 5);
}

static void pack_negative_msgid(struct buffer *frame)
{
    buffer_append(frame, "\x94\x00\xff\xadsystem.status\x91\x80", 19);
}

static void pack_nothing_but_numbers(struct buffer *frame)
{
    for (int i = 0; i < 3000; i++)
        buffer_append(frame, "\x01", 1);
}

static const struct {
    const char *what;
    void (*pack)(struct buffer *frame);
} hostile[] = {
    { "155 bytes that announce 2^26 elements", pack_bomb },
    { "5,000 levels", pack_deep },
    { "HTTP", pack_not_msgpack },
    { "a reserved byte", pack_reserved_byte },
    { "an ext type", pack_ext },
    { "two gigabytes announced", pack_oversize },
    { "a method of 2,000 letters", pack_long_method },
    { "an answer nobody asked for", pack_answer },
    { "three elements", pack_three_elements },
    { "a negative message id", pack_negative_msgid },
    { "3,000 numbers", pack_nothing_but_numbers },
};

/* Sends and waits until the daemon has said no, or has closed. */
static void expect_refusal(const struct door *door, size_t i)
{
    AUTO(buffer_close) struct buffer frame = { .limit = 1 << 20 };
    hostile[i].pack(&frame);
    struct caller caller;
    cr_assert_eq(caller_open(&caller, door->path), STATUS_OK, "%s, before %s", door->name,
                 hostile[i].what);
    caller_send(&caller, buffer_span(&frame));
    bool is_closed = false;
    json_t *answer = caller_receive(&caller, PATIENCE_MS, &is_closed);
    cr_assert(answer != NULL || is_closed, "%s says nothing to %s", door->name, hostile[i].what);
    if (answer != NULL) {
        json_t *error = json_array_get(answer, 2);
        cr_assert(json_is_object(error), "%s accepted %s", door->name, hostile[i].what);
        cr_assert_gt(strlen(text_in(error, "message")), 0);
        json_decref(answer);
    }
    caller_close(&caller);
}

/* A connection that was cut off is closed a moment later. */
static void await_descriptors(const struct door *door, long most)
{
    for (int left_ms = PATIENCE_MS; process_descriptors(door->pid) > most; left_ms -= 20) {
        cr_assert_gt(left_ms, 0, "%s keeps descriptors", door->name);
        sleep_ms(20);
    }
}

Test(hostile_frames, are_refused_by_every_daemon_without_memory)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    struct door doors[DOORS];
    size_t count = doors_of(&bed, doors);
    size_t refused = 0;
    for (size_t d = 0; d < count; d++) {
        /* what is taken once and kept is not growth */
        for (size_t i = 0; i < COUNT_OF(hostile); i++)
            expect_refusal(&doors[d], i);
        expect_healthy(&doors[d]);
        long before = process_number(doors[d].pid, "status", "VmRSS");
        long size_before = process_number(doors[d].pid, "status", "VmSize");
        long fds_before = process_descriptors(doors[d].pid);
        for (int repeat = 0; repeat < REPEATS; repeat++)
            for (size_t i = 0; i < COUNT_OF(hostile); i++, refused++)
                expect_refusal(&doors[d], i);
        expect_healthy(&doors[d]);
        long after = process_number(doors[d].pid, "status", "VmRSS");
        long size_after = process_number(doors[d].pid, "status", "VmSize");
        cr_assert_lt(after - before, MEMORY_KIB_MAX, "%s grew by %ld KiB", doors[d].name,
                     after - before);
        cr_assert_lt(size_after - size_before, 64 * 1024, "%s reserved %ld KiB", doors[d].name,
                     size_after - size_before);
        await_descriptors(&doors[d], fds_before + 2);
    }
    cr_assert_eq(service_pid(&bed, "acme", "api"), service_pid(&bed, "acme", "api"));
    printf("%zu hostile frames refused by %zu daemons\n", refused, count);
}

Test(hostile_frames, one_byte_at_a_time_is_a_frame_like_any_other)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    struct door doors[DOORS];
    size_t count = doors_of(&bed, doors);
    for (size_t d = 0; d < count; d++) {
        AUTO(buffer_close) struct buffer frame = { .limit = 4096 };
        caller_pack(&frame, 9, "daemon.health", NULL);
        struct caller caller;
        cr_assert_eq(caller_open(&caller, doors[d].path), STATUS_OK);
        for (size_t i = 0; i < frame.size; i++) {
            cr_assert(caller_send(&caller, span_of(frame.data + i, 1)));
            sleep_ms(1);
        }
        json_t *answer = caller_receive(&caller, PATIENCE_MS, NULL);
        cr_assert_not_null(answer);
        cr_assert_eq(json_integer_value(json_array_get(answer, 1)), 9);
        cr_assert(json_is_null(json_array_get(answer, 2)));
        json_decref(answer);
        caller_close(&caller);
    }
}

Test(hostile_frames, a_truncated_frame_and_a_silent_client_are_cut_off_in_time)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    struct door doors[DOORS];
    size_t count = doors_of(&bed, doors);
    struct caller callers[DOORS];
    struct pollfd waits[DOORS];
    uint64_t begin = clock_boottime_ns();
    for (size_t d = 0; d < count; d++) {
        cr_assert_eq(caller_open(&callers[d], doors[d].path), STATUS_OK);
        cr_assert(caller_send(&callers[d], span_of("\x94\x00\x01\xad"
                                                   "daem",
                                                   8)));
        waits[d] = (struct pollfd){ .fd = callers[d].fd, .events = POLLIN };
    }
    for (size_t d = 0; d < count; d++)
        expect_healthy(&doors[d]);
    for (size_t open = count; open > 0;) {
        uint64_t took_ms = (clock_boottime_ns() - begin) / 1000000;
        cr_assert_lt(took_ms, FRAME_COMPLETE_MS_MAX + PATIENCE_MS, "%zu daemons still wait", open);
        if (poll(waits, count, 1000) <= 0)
            continue;
        for (size_t d = 0; d < count; d++) {
            char byte[512];
            if (waits[d].fd < 0 || waits[d].revents == 0)
                continue;
            if (recv(waits[d].fd, byte, sizeof byte, 0) > 0)
                continue; /* its error, before it closes */
            cr_assert_geq(took_ms, FRAME_COMPLETE_MS_MAX / 2, "%s has no patience", doors[d].name);
            waits[d].fd = -1;
            open--;
        }
    }
    for (size_t d = 0; d < count; d++) {
        expect_healthy(&doors[d]);
        caller_close(&callers[d]);
    }
}

Test(hostile_frames, a_client_that_does_not_read_costs_a_bounded_buffer)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    struct door doors[DOORS];
    size_t count = doors_of(&bed, doors);
    for (size_t d = 0; d < count; d++) {
        long before = process_number(doors[d].pid, "status", "VmRSS");
        struct caller caller;
        cr_assert_eq(caller_open(&caller, doors[d].path), STATUS_OK);
        AUTO(buffer_close) struct buffer frame = { .limit = 1 << 20 };
        for (int i = 0; i < 100; i++)
            caller_pack(&frame, (uint64_t)i, "daemon.describe", NULL);
        /* until the daemon stops reading or hangs up; never reading an answer */
        uint64_t end = clock_boottime_ns() + 3000000000u;
        size_t sent = 0;
        while (clock_boottime_ns() < end && sent < 64u << 20) {
            ssize_t size = send(caller.fd, frame.data, frame.size, MSG_NOSIGNAL);
            if (size > 0)
                sent += (size_t)size;
            else if (errno != EAGAIN)
                break;
            else
                sleep_ms(1);
            /* requests are cut at arbitrary places on purpose: only the first matter */
        }
        expect_healthy(&doors[d]);
        long after = process_number(doors[d].pid, "status", "VmRSS");
        cr_assert_lt(after - before, 3 * UNREAD_BYTES_MAX / 1024, "%s keeps %ld KiB for one client",
                     doors[d].name, after - before);
        caller_close(&caller);
    }
}

Test(hostile_frames, more_connections_than_there_are_slots_leave_the_rest_working)
{
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    struct door doors[DOORS];
    doors_of(&bed, doors);
    static int fds[CONNECTIONS_MAX + 200];
    for (size_t d = 0; d < 2; d++) {
        size_t open = 0;
        for (size_t i = 0; i < COUNT_OF(fds); i++) {
            struct caller caller;
            fds[i] = -1;
            if (caller_open(&caller, doors[d].path) == STATUS_OK) {
                fds[i] = caller.fd;
                open++;
            }
        }
        cr_assert(process_is_alive(doors[d].pid), "%s died of %zu connections", doors[d].name,
                  open);
        for (size_t i = 0; i < COUNT_OF(fds); i++)
            fd_close(&fds[i]);
        for (int i = 0; i < 200; i++) {
            struct caller caller;
            enum status status = caller_open(&caller, doors[d].path);
            if (status == STATUS_OK)
                status = caller_call(&caller, "daemon.health", NULL, 5000, NULL, NULL);
            caller_close(&caller);
            if (status == STATUS_OK)
                break;
            cr_assert_lt(i, 199, "%s does not recover: %s", doors[d].name, status_name(status));
            sleep_ms(10);
        }
    }
    service_deploy_sleeper(&bed, "acme", "after");
}

/* Of a user who is neither the operator nor Solo itself; others do not notice. */
Test(hostile_frames, the_connections_of_one_foreign_user_are_bounded)
{
    if (geteuid() != 0)
        cr_skip_test("skipped: only root can connect as another user");
    enum { FOREIGN_UID = 65534 };
    AUTO(testbed_close) struct testbed bed = { 0 };
    testbed_open(&bed, 0);
    testbed_start(&bed);
    static struct caller callers[CONNECTIONS_PER_UID_MAX + 8];
    struct caller caller;
    char path[4096];
    testbed_socket(&bed, "deployd", path);
    for (size_t i = 0; i < COUNT_OF(callers); i++) {
        struct problem problem = { 0 };
        cr_assert_eq(seteuid(FOREIGN_UID), 0); /* the kernel notes who connects when he does */
        cr_assert_eq(caller_open(&callers[i], path), STATUS_OK);
        cr_assert_eq(seteuid(0), 0);
        enum status status =
            caller_call(&callers[i], "daemon.health", NULL, PATIENCE_MS, NULL, &problem);
        cr_assert_eq(status == STATUS_OK, i < CONNECTIONS_PER_UID_MAX, "connection %zu: %s %s", i,
                     status_name(status), problem.message);
    }
    cr_assert_eq(caller_open(&caller, path), STATUS_OK);
    cr_assert_eq(caller_call(&caller, "daemon.health", NULL, PATIENCE_MS, NULL, NULL), STATUS_OK,
                 "the operator is refused for what others do");
    caller_close(&caller);

    /* One that goes makes room for one that comes. */
    caller_close(&callers[0]);
    enum status status = STATUS_UNAVAILABLE;
    for (int i = 0; i < 500 && status != STATUS_OK; i++) {
        cr_assert_eq(seteuid(FOREIGN_UID), 0);
        cr_assert_eq(caller_open(&caller, path), STATUS_OK);
        cr_assert_eq(seteuid(0), 0);
        status = caller_call(&caller, "daemon.health", NULL, 10000, NULL, NULL);
        caller_close(&caller);
        sleep_ms(status == STATUS_OK ? 0 : 10);
    }
    cr_assert_eq(status, STATUS_OK);
    for (size_t i = 1; i < COUNT_OF(callers); i++)
        caller_close(&callers[i]);
}
