/* All that can be refused is found out before the first event is put; the file is written last.
 * Values go from their row into locked memory, and from there into the file: one at a time. */
#include "vaultd/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "vaultd/secrets.h"
#include "vaultd/vault_events.h"

enum {
    ITEM_BYTES_MAX = SECRET_VALUE_BYTES_MAX + MESSAGE_OVERHEAD_BYTES,
    TOGETHER_BYTES = 8 * 1024,
    NAMES_BYTES_MAX = SPEC_SECRETS_MAX * (NAME_BYTES_MAX + 1) + 1024,
};

/* One that will be in the file. */
struct item {
    const char *name;
    struct secret_version version;
};

/* --- what it is made of --- */

static enum status read_wanted(struct rpc_call *call, struct reader *reader, struct arena *arena,
                               struct secret_wanted *wanted)
{
    struct span object = { 0 };
    TRY(reader_any(reader, &object));
    enum status status =
        fields_decode(&record_secret_wanted, object, arena, wanted, &call->problem);
    if (status != STATUS_OK)
        problem_prefix(&call->problem, "secrets");
    return status;
}

/* The reason as a person reads it in the state of the service. */
static enum status refuse(struct rpc_call *call, const char *name, uint64_t version,
                          enum status status)
{
    struct problem problem = call->problem;
    char which[32] = "";
    if (version != 0)
        snprintf(which, sizeof which, " version %llu", (unsigned long long)version);
    problem_set(&call->problem, status, "secrets", "secret %s%s: %.900s", name, which,
                problem.message[0] == '\0' ? status_text(status) : problem.message);
    call->problem.retry_after_ms = problem.retry_after_ms;
    return status;
}

static enum status find_items(struct delivery *delivery, struct rpc_call *call,
                              const struct secret_deliver_request *request, struct arena *arena,
                              char name[NAME_BYTES_MAX + 1], struct item *items, size_t *count)
{
    struct reader reader = reader_of(request->secrets);
    uint32_t wanted_count;
    TRY(reader_array(&reader, &wanted_count));
    if (wanted_count > SPEC_SECRETS_MAX)
        return problem_set(&call->problem, STATUS_INVALID_ARGUMENT, "secrets",
                           "must be at most %d, are %u", SPEC_SECRETS_MAX, wanted_count);
    *count = 0;
    for (uint32_t i = 0; i < wanted_count; i++) {
        struct secret_wanted wanted = { 0 };
        struct item *item = &items[*count];
        TRY(read_wanted(call, &reader, arena, &wanted));
        enum status status = secrets_find(delivery->vault, call, request->tenant, wanted.name,
                                          wanted.version, &item->version);
        if (status == STATUS_NOT_FOUND && wanted.is_optional)
            continue;
        snprintf(name, NAME_BYTES_MAX + 1, "%s", wanted.name);
        if (status != STATUS_OK)
            return refuse(call, wanted.name, wanted.version, status);
        item->name = wanted.name;
        ++*count;
    }
    name[0] = '\0';
    return STATUS_OK;
}

/* --- the file --- */

static enum status failed(const char *what)
{
    int error = errno;
    return log_failure(status_from_errno(error), what, "reason", strerror(error));
}

/* Small ones go into the file together: each write is a system call of every start. */
static enum status flush(struct buffer *packed, int fd, size_t keep_below)
{
    if (packed->is_exhausted)
        return STATUS_RESOURCE_EXHAUSTED;
    if (packed->size < keep_below)
        return STATUS_OK;
    enum status status = fd_write_all(fd, buffer_span(packed));
    buffer_clear(packed);
    return status;
}

static enum status pack_item(struct delivery *delivery, const char *tenant, const struct item *item,
                             struct buffer *value, struct buffer *packed)
{
    const struct version_place place = { tenant, item->name, item->version.version };
    buffer_clear(value);
    uint8_t *room = buffer_reserve(value, (size_t)item->version.bytes + 1);
    if (room == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    TRY(secret_value(delivery->vault, &delivery->vault->store.txn, &place, &item->version, room));
    value->size = item->version.bytes;
    const struct secret_delivered delivered = {
        .name = item->name,
        .version = item->version.version,
        .value = buffer_span(value),
    };
    fields_encode(&record_secret_delivered, &delivered, packed);
    return STATUS_OK;
}

static void pack_head(const struct secret_deliver_request *request, size_t count,
                      struct buffer *packed)
{
    const struct secret_delivery head = {
        .tenant = request->tenant,
        .service = request->service,
        .generation = request->generation,
        .count = count,
    };
    fields_encode(&record_secret_delivery, &head, packed);
}

static enum status refuse_item(struct rpc_call *call, const char *name, enum status status)
{
    if (status == STATUS_DATA_LOSS)
        secret_refuse_damaged(&call->problem, "name", name);
    else
        problem_set(&call->problem, status, "", "too many values are under way");
    return refuse(call, name, 0, status);
}

static enum status write_items(struct delivery *delivery, struct rpc_call *call,
                               const struct secret_deliver_request *request,
                               const struct item *items, size_t count, int fd,
                               char name[NAME_BYTES_MAX + 1])
{
    struct memory *memory = &delivery->vault->pool.memory;
    AUTO(buffer_close) struct buffer value = { .limit = ITEM_BYTES_MAX, .memory = memory };
    AUTO(buffer_close)
    struct buffer packed = { .limit = TOGETHER_BYTES + ITEM_BYTES_MAX, .memory = memory };
    pack_head(request, count, &packed);
    for (size_t i = 0; i < count; i++) {
        enum status status = pack_item(delivery, request->tenant, &items[i], &value, &packed);
        if (status == STATUS_OK)
            status = flush(&packed, fd, TOGETHER_BYTES);
        if (status == STATUS_OK)
            continue;
        snprintf(name, NAME_BYTES_MAX + 1, "%s", items[i].name);
        return refuse_item(call, items[i].name, status);
    }
    return flush(&packed, fd, 0);
}

static enum status write_file(struct delivery *delivery, struct rpc_call *call,
                              const struct secret_deliver_request *request,
                              const struct item *items, size_t count, int fd,
                              char name[NAME_BYTES_MAX + 1])
{
    struct keyring *keyring = &delivery->vault->keyring;
    keyring_hold(keyring);
    enum status status = write_items(delivery, call, request, items, count, fd, name);
    keyring_release(keyring);
    TRY(status);
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    return fcntl(fd, F_ADD_SEALS, seals) < 0 ? failed("seal a memfd") : STATUS_OK;
}

enum status delivery_make(struct delivery *delivery, struct rpc_call *call,
                          const struct secret_deliver_request *request,
                          char name[NAME_BYTES_MAX + 1], uint64_t *count)
{
    struct vault *vault = delivery->vault;
    AUTO(arena_close) struct arena names = { .limit = NAMES_BYTES_MAX };
    struct item items[SPEC_SECRETS_MAX];
    size_t found = 0;
    TRY(vault_ready(vault, &call->problem));
    TRY(find_items(delivery, call, request, &names, name, items, &found));
    TRY(vault_check_room_for(vault, found + 1, &call->problem));
    AUTO(fd_close) int fd = memfd_create("solo-secrets", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return failed("make a memfd");
    TRY(write_file(delivery, call, request, items, found, fd, name));
    *count = found;
    if (request->check_only)
        return STATUS_OK;
    for (size_t i = 0; i < found; i++) {
        enum status status =
            secret_event_delivered(&vault->store, request->tenant, items[i].name,
                                   items[i].version.version, request->service, request->generation);
        if (status != STATUS_OK) {
            vault_store_spoil(&vault->store, status);
            return status;
        }
    }
    vault->accessed += found;
    rpc_call_give(call, fd);
    fd = -1;
    return STATUS_OK;
}

/* --- who waits for a change --- */

/* Counts what can end a refusal: a value was put, the vault was opened. */
static uint64_t change_of(const struct delivery *delivery)
{
    return delivery->begun + delivery->vault->stored + delivery->vault->openings;
}

static struct rpc_call *take(struct rpc_call **place)
{
    struct rpc_call *call = *place;
    call->on_gone = NULL;
    *place = NULL;
    return call;
}

/* A put that is counted here may not be committed yet: who asks again because of it is answered in
 * the same transaction, or a later one. */
static void before_sleep(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    (void)loop, (void)events;
    struct delivery *delivery = watcher->data;
    const struct secret_await_reply reply = { .change = change_of(delivery) };
    if (reply.change == delivery->told)
        return;
    delivery->told = reply.change;
    for (size_t i = 0; i < VAULT_AWAITS_MAX; i++)
        if (delivery->awaits[i] != NULL)
            rpc_call_reply(take(&delivery->awaits[i]), &reply);
}

static void on_gone(struct rpc_call *call)
{
    rpc_call_drop(take(call->user));
}

enum status delivery_await(struct delivery *delivery, struct rpc_call *call, uint64_t change,
                           uint64_t *present)
{
    struct rpc_call **place = delivery->awaits, **end = place + VAULT_AWAITS_MAX;
    *present = change_of(delivery);
    if (change != *present)
        return STATUS_OK;
    while (place < end && *place != NULL)
        place++;
    if (place == end)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "",
                           "%d callers wait already, which is the most", VAULT_AWAITS_MAX);
    rpc_call_defer(call);
    call->user = place;
    call->on_gone = on_gone;
    *place = call;
    return STATUS_OK;
}

void delivery_open(struct delivery *delivery, struct vault *vault, struct ev_loop *loop)
{
    delivery->vault = vault;
    delivery->loop = loop;
    delivery->begun = clock_wall_ns();
    delivery->told = change_of(delivery);
    ev_prepare_init(&delivery->before_sleep, before_sleep);
    delivery->before_sleep.data = delivery;
    ev_prepare_start(loop, &delivery->before_sleep);
}

void delivery_close(struct delivery *delivery)
{
    if (delivery->loop == NULL)
        return;
    const struct problem ends = { .code = STATUS_UNAVAILABLE,
                                  .message = "vaultd is being stopped" };
    ev_prepare_stop(delivery->loop, &delivery->before_sleep);
    delivery->loop = NULL;
    for (size_t i = 0; i < VAULT_AWAITS_MAX; i++)
        if (delivery->awaits[i] != NULL)
            rpc_call_fail(take(&delivery->awaits[i]), STATUS_UNAVAILABLE, &ends);
}
