/* The order before each sleep: commit, queue the answers, tell the owner, send, close. Answers that
 * appear while this runs are left to the next turn, which the idle watcher makes follow at once: a
 * stream to a fast reader cannot keep others waiting.
 *
 * The clients of the last two batches are expected to ask again: a commit waits for as many
 * clients, for a small part of its own duration at most. Without that a few early ones would fill a
 * commit of their own and keep the rest waiting behind it. A batch that grows too big is committed
 * early; a connection may close while its answers wait for the commit.
 *
 * A batch for which the store has no room has changed nothing: its requests are run again, in a
 * transaction of their own. What makes the store grow is refused then, so that a kill or a
 * revocation has the store's reserve, whatever it arrived with. */
#include "common/rpc/turn.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/rpc/connection.h"
#include "common/rpc/message.h"
#include "common/rpc/request.h"

enum {
    BATCH_BYTES_KEPT = 4096,
    RETRY_AFTER_COMMIT_MS = 1000,
    COLLECT_PART = 8, /* of the last commit's duration */
    COLLECT_NS_MAX = 2 * 1000 * 1000,
};

static void wake(struct rpc_server *server)
{
    if (!ev_is_active(&server->wake))
        ev_idle_start(server->loop, &server->wake);
}

void turn_attend(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;
    if (!connection->is_attended) {
        connection->is_attended = true;
        connection->next_attended = server->attention;
        server->attention = connection;
    }
    wake(server);
}

size_t turn_calls(const struct rpc_server *server)
{
    return server->deferred.taken + server->batch.count;
}

void turn_answer_file(struct rpc_connection *connection, size_t bytes, int file)
{
    if (file >= 0 && output_attach(&connection->output, bytes, file) != STATUS_OK)
        connection_doom(connection, "its unread descriptors are too many");
    turn_attend(connection);
}

static void answer_committed(struct held_answer *held, const struct buffer *bytes)
{
    buffer_append(&held->connection->output.buffer, bytes->data + held->start, held->size);
    turn_answer_file(held->connection, held->size, held->file);
    held->file = -1;
}

static void answer_not_committed(struct held_answer *held, enum status status)
{
    struct problem problem = { 0 };
    if (status == STATUS_RESOURCE_EXHAUSTED) {
        problem_set(&problem, status, "", "there is no space to store this; nothing was changed");
        problem.retry_after_ms = RETRY_AFTER_COMMIT_MS;
    } else if (status == STATUS_DATA_LOSS) {
        problem_set(&problem, status, "",
                    "the store is damaged where this would have been written; nothing was changed: "
                    "`soloctl status` says what helps");
    } else {
        problem_set(&problem, STATUS_UNKNOWN, "",
                    "the store failed while this was written; ask again with the same request_id");
    }
    message_write_error(&held->connection->output.buffer, held->msgid, &problem);
}

static void commit(struct rpc_server *server);

static void run_again(struct rpc_server *server)
{
    struct batch *batch = &server->batch;
    struct held_answer *answers = batch->answers;
    struct buffer params = batch->params;
    size_t count = batch->count;
    batch->answers = NULL;
    batch->count = batch->capacity = batch->request_bytes = 0;
    batch->params = (struct buffer){ .limit = params.limit, .memory = params.memory };
    buffer_clear(&batch->bytes);
    batch->is_repeat = true;
    for (size_t i = 0; i < count; i++) {
        struct held_answer *held = &answers[i];
        fd_close(&held->file);
        if (held->connection == NULL)
            continue;
        held->connection->call_count--;
        turn_attend(held->connection);
        if (held->route == NULL) {
            answer_not_committed(held, STATUS_RESOURCE_EXHAUSTED);
            continue;
        }
        const struct message message = {
            .msgid = held->msgid,
            .method = span_of_text(held->route->method->name),
            .params = span_of(params.data + held->params_start, held->params_size),
        };
        int file = -1;
        request_run(held->connection, &message, held->params_size, &file);
    }
    commit(server);
    batch->is_repeat = false;
    buffer_close(&params);
    free(answers);
}

static void commit(struct rpc_server *server)
{
    struct batch *batch = &server->batch;
    if (!batch->is_open)
        return;
    uint64_t began_ns = clock_boottime_ns();
    enum status status = server->service->commit(server->service->context);
    fault_point("rpc_committed");
    batch->commit_ns = clock_boottime_ns() - began_ns;
    batch->is_open = false;
    batch->expected = batch->clients + batch->clients_before - batch->returned;
    batch->clients_before = batch->clients;
    batch->clients = batch->returned = 0;
    batch->number++;
    server->stats.commits++;
    if (status == STATUS_RESOURCE_EXHAUSTED && batch->count > 0 && !batch->is_repeat) {
        run_again(server);
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct held_answer *held = &batch->answers[i];
        if (held->connection != NULL && status == STATUS_OK)
            answer_committed(held, &batch->bytes);
        else if (held->connection != NULL)
            answer_not_committed(held, status);
        fd_close(&held->file);
        if (held->connection == NULL)
            continue;
        held->connection->call_count--;
        turn_attend(held->connection);
    }
    batch->count = 0;
    batch->request_bytes = 0;
    buffer_clear(&batch->bytes);
    buffer_shrink(&batch->bytes, BATCH_BYTES_KEPT);
    buffer_clear(&batch->params);
    buffer_shrink(&batch->params, BATCH_BYTES_KEPT);
    if (status == STATUS_OK && server->service->committed != NULL)
        server->service->committed(server->service->context);
}

void turn_make_room(struct rpc_server *server)
{
    const struct batch *batch = &server->batch;
    if (batch->count >= BATCH_ANSWERS_MAX ||
        batch->bytes.size >= server->limits.batch_answer_bytes_max ||
        batch->request_bytes >= BATCH_REQUEST_BYTES_MAX)
        commit(server);
}

enum status turn_begin(struct rpc_server *server, size_t request_bytes)
{
    struct batch *batch = &server->batch;
    if (!batch->is_open) {
        ensure(server->service->begin != NULL);
        TRY(server->service->begin(server->service->context));
        batch->is_open = true;
        batch->looked_clients = 0;
        batch->looked_ns = clock_boottime_ns();
        batch->waited_ns = 0;
    }
    batch->request_bytes += request_bytes;
    wake(server);
    return STATUS_OK;
}

struct buffer *turn_hold_begin(struct rpc_server *server)
{
    struct batch *batch = &server->batch;
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity == 0 ? 64 : 2 * batch->capacity;
        batch->answers = realloc(batch->answers, capacity * sizeof *batch->answers);
        ensure(batch->answers != NULL);
        batch->capacity = capacity;
    }
    return &batch->bytes;
}

void turn_hold_end(struct rpc_connection *connection, uint64_t msgid, size_t start, int file)
{
    struct batch *batch = &connection->server->batch;
    batch->answers[batch->count++] = (struct held_answer){
        .connection = connection,
        .msgid = msgid,
        .start = start,
        .size = batch->bytes.size - start,
        .file = file,
    };
    connection->call_count++;
    if (connection->batch_number == batch->number)
        return;
    batch->clients++;
    batch->returned += connection->batch_number + 1 == batch->number;
    connection->batch_number = batch->number;
}

bool turn_holds(const struct rpc_connection *connection, uint64_t msgid, size_t before)
{
    const struct batch *batch = &connection->server->batch;
    return batch->count == before + 1 && batch->answers[before].connection == connection &&
           batch->answers[before].msgid == msgid;
}

void turn_hold_request(struct rpc_server *server, const struct rpc_route *route, struct span params)
{
    struct batch *batch = &server->batch;
    struct held_answer *held = &batch->answers[batch->count - 1];
    held->params_start = batch->params.size;
    held->params_size = params.size;
    if (buffer_append(&batch->params, params.data, params.size) == STATUS_OK)
        held->route = route;
    batch->params.is_exhausted = false;
}

void turn_forget(struct rpc_connection *connection)
{
    struct batch *batch = &connection->server->batch;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->answers[i].connection == connection)
            batch->answers[i].connection = NULL;
}

static void serve_attention(struct rpc_server *server)
{
    struct rpc_connection *list = server->attention;
    server->attention = NULL;
    while (list != NULL) {
        struct rpc_connection *connection = list;
        list = connection->next_attended;
        connection->next_attended = NULL;
        connection->is_attended = false;
        connection_flush(connection);
        if (connection->is_doomed)
            connection_close(connection);
    }
}

/* Whether another look at the descriptors may add clients to this batch. Only looks that brought
 * none are counted as waiting: what came has to be worked on in any case. One client alone waits
 * for nothing. */
static bool batch_may_grow(struct batch *batch)
{
    if (!batch->is_open || batch->clients >= batch->expected)
        return false;
    uint64_t now_ns = clock_boottime_ns();
    bool has_grown = batch->clients > batch->looked_clients;
    if (!has_grown) {
        batch->waited_ns += now_ns - batch->looked_ns;
        if (batch->waited_ns > COLLECT_NS_MAX || batch->waited_ns > batch->commit_ns / COLLECT_PART)
            return false;
        sched_yield();
    }
    batch->looked_clients = batch->clients;
    batch->looked_ns = now_ns;
    return true;
}

static void before_sleep(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    (void)events;
    struct rpc_server *server = watcher->data;
    if (!batch_may_grow(&server->batch))
        commit(server);
    serve_attention(server);
    if (server->attention == NULL && server->resumed == NULL && !server->batch.is_open)
        ev_idle_stop(loop, &server->wake);
}

/* Not the loop's clock, which is the wall's: a step of that must not end every connection. */
static void look_at_clock(struct rpc_server *server)
{
    server->now_s = clock_boottime_s();
}

static void after_sleep(struct ev_loop *loop, struct ev_check *watcher, int events)
{
    (void)loop;
    (void)events;
    look_at_clock(watcher->data);
}

static void on_wake(struct ev_loop *loop, struct ev_idle *watcher, int events)
{
    (void)loop;
    (void)events;
    struct rpc_server *server = watcher->data;
    struct rpc_connection *list = server->resumed;
    server->resumed = NULL;
    while (list != NULL) {
        struct rpc_connection *connection = list;
        list = connection->next_resumed;
        connection->next_resumed = NULL;
        connection->is_resumed = false;
        if (!server->is_stopped)
            connection_process(connection);
        turn_attend(connection);
    }
}

void turn_open(struct rpc_server *server)
{
    server->batch.number = 2;
    server->batch.bytes.limit = 2 * (size_t)BATCH_ANSWER_BYTES_MAX;
    server->batch.bytes.memory = server->service->memory;
    server->batch.params.limit = BATCH_REQUEST_BYTES_MAX;
    server->batch.params.memory = server->service->memory;
    look_at_clock(server);
    ev_check_init(&server->after_sleep, after_sleep);
    ev_set_priority(&server->after_sleep, EV_MAXPRI);
    server->after_sleep.data = server;
    ev_check_start(server->loop, &server->after_sleep);
    /* After every other prepare watcher, so that what those queue is still sent in this turn. */
    ev_prepare_init(&server->before_sleep, before_sleep);
    ev_set_priority(&server->before_sleep, EV_MINPRI);
    server->before_sleep.data = server;
    ev_prepare_start(server->loop, &server->before_sleep);
    ev_idle_init(&server->wake, on_wake);
    ev_set_priority(&server->wake, EV_MAXPRI);
    server->wake.data = server;
}

void turn_close(struct rpc_server *server)
{
    if (server->batch.is_open && server->service->abort != NULL)
        server->service->abort(server->service->context);
    ev_check_stop(server->loop, &server->after_sleep);
    ev_prepare_stop(server->loop, &server->before_sleep);
    ev_idle_stop(server->loop, &server->wake);
    buffer_close(&server->batch.bytes);
    buffer_close(&server->batch.params);
    for (size_t i = 0; i < server->batch.count; i++)
        fd_close(&server->batch.answers[i].file);
    free(server->batch.answers);
    server->batch = (struct batch){ 0 };
}
