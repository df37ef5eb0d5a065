/* One epoll loop, N connections. The clock is looked at once per turn. */
#include "bench/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/machine.h"
#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/unix_socket.h"
#include "tests/support/command.h"

enum { EVENTS_PER_TURN = 512, LOAD_BYTES_MAX = 16 * 1024 * 1024 };

struct connection {
    int fd;
    bool is_full; /* the socket took less than there was: EPOLLOUT tells when it goes on */
    struct buffer in, out;
};

struct run {
    const struct load *load;
    struct connection *connections;
    int epoll;
    uint64_t sent, answered;
};

/* Each read of a server wakes whoever waits for room, so nobody does that without need. */
static void connection_watch(struct run *run, struct connection *connection, int operation)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = connection };
    if (connection->is_full)
        event.events |= EPOLLOUT;
    if (epoll_ctl(run->epoll, operation, connection->fd, &event) != 0)
        test_fail("epoll_ctl: %s", strerror(errno));
}

static void connection_flush(struct run *run, struct connection *connection)
{
    bool is_full = false;
    while (connection->out.size > 0 && !is_full) {
        ssize_t size =
            send(connection->fd, connection->out.data, connection->out.size, MSG_NOSIGNAL);
        if (size < 0 && errno != EAGAIN && errno != EINTR)
            test_fail("send: %s", strerror(errno));
        if (size < 0)
            is_full = errno == EAGAIN;
        else
            buffer_consume(&connection->out, (size_t)size);
    }
    if (is_full != connection->is_full) {
        connection->is_full = is_full;
        connection_watch(run, connection, EPOLL_CTL_MOD);
    }
}

static void connection_fill(struct run *run, struct connection *connection, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        run->load->protocol->pack(&connection->out, ++run->sent);
    connection_flush(run, connection);
}

static void connection_read(struct run *run, struct connection *connection, bool goes_on)
{
    uint8_t *room = buffer_reserve(&connection->in, 65536);
    ssize_t size = room == NULL ? 0 : recv(connection->fd, room, 65536, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0)
        test_fail("%s has closed a connection", run->load->protocol->name);
    connection->in.size += (size_t)size;
    unsigned answers = 0;
    size_t used = 0;
    for (size_t taken; used < connection->in.size; used += taken, answers++) {
        taken = run->load->protocol->take(
            span_of(connection->in.data + used, connection->in.size - used));
        if (taken == 0)
            break;
    }
    buffer_consume(&connection->in, used);
    run->answered += answers;
    if (goes_on)
        connection_fill(run, connection, answers);
}

static void turn(struct run *run, bool goes_on)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int count = epoll_wait(run->epoll, events, EVENTS_PER_TURN, 10000);
    if (count == 0)
        test_fail("%s has not answered for 10 seconds", run->load->protocol->name);
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            connection_flush(run, connection);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            connection_read(run, connection, goes_on);
    }
}

static void run_open(struct run *run)
{
    unsigned count = run->load->connections;
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    run->connections = calloc(count, sizeof *run->connections);
    if (run->epoll < 0 || run->connections == NULL)
        test_fail("no memory for %u connections", count);
    for (unsigned i = 0; i < count; i++) {
        struct connection *connection = &run->connections[i];
        connection->in.limit = connection->out.limit = LOAD_BYTES_MAX;
        if (unix_socket_connect(run->load->path, &connection->fd) != STATUS_OK)
            test_fail("cannot connect to %s", run->load->path);
        connection_watch(run, connection, EPOLL_CTL_ADD);
    }
}

double load_run(const struct load *load, uint64_t *answers)
{
    struct run run = { .load = load };
    run_open(&run);
    double begin = machine_now(), now = begin;
    for (unsigned i = 0; i < load->connections; i++)
        connection_fill(&run, &run.connections[i], load->outstanding);
    while (now - begin < load->seconds) {
        turn(&run, true);
        now = machine_now();
    }
    double rate = (double)run.answered / (now - begin);
    /* What is on its way is waited for, so that the server's state is known. */
    while (run.answered < run.sent)
        turn(&run, false);
    *answers = run.answered;
    for (unsigned i = 0; i < load->connections; i++) {
        fd_close(&run.connections[i].fd);
        buffer_close(&run.connections[i].in);
        buffer_close(&run.connections[i].out);
    }
    free(run.connections);
    close(run.epoll);
    return rate;
}
