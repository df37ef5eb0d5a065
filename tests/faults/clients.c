/* Eight clients and a watcher. */
#include "tests/faults/clients.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/support/services.h"

enum { CALL_MS = 15000, RETRY_MS = 5, GIVE_UP_MS = 120000, REMEMBERED = 16 };

static void service_of(const struct client *client, unsigned index, char tenant[32], char name[32])
{
    if (index >= SERVICES_PER_CLIENT) {
        snprintf(tenant, 32, "c0");
        snprintf(name, 32, "shared%u", index - SERVICES_PER_CLIENT);
    } else {
        snprintf(tenant, 32, "c%u", (client->number + index) % CLIENT_TENANTS);
        snprintf(name, 32, "k%u-s%u", client->number, index);
    }
}

static bool is_final(enum status status)
{
    return status != STATUS_UNAVAILABLE && status != STATUS_UNKNOWN &&
           status != STATUS_DEADLINE_EXCEEDED && status != STATUS_RESOURCE_EXHAUSTED &&
           status != STATUS_CANCELLED;
}

/* Until there is an answer that means something; the same id each time. */
static enum status insist(struct client *client, bool is_append, const char *method,
                          const json_t *params, json_t **reply, struct problem *problem,
                          unsigned *attempts)
{
    struct caller *caller = is_append ? &client->eventd : &client->deployd;
    uint64_t begin = clock_boottime_ns(), took_ms;
    for (*attempts = 1;; ++*attempts) {
        char path[4096];
        enum status status = STATUS_OK;
        *problem = (struct problem){ 0 };
        if (caller->fd <= 0) {
            caller_close(caller);
            status = caller_open(caller, testbed_socket(client->clients->bed,
                                                        is_append ? "eventd" : "deployd", path));
            if (status != STATUS_OK)
                status = STATUS_UNAVAILABLE;
        }
        if (status == STATUS_OK)
            status = caller_call(caller, method, params, CALL_MS, reply, problem);
        took_ms = (clock_boottime_ns() - begin) / 1000000;
        if (is_final(status)) {
            if (took_ms > client->longest_ms)
                client->longest_ms = took_ms;
            return status;
        }
        client->retries++;
        if (took_ms > GIVE_UP_MS) {
            testbed_show_log(client->clients->bed);
            test_fail("client %u: %s got no answer in %d s, the last was %s %s", client->number,
                      method, GIVE_UP_MS / 1000, status_name(status), problem->message);
        }
        sleep_ms(RETRY_MS);
    }
}

static json_t *params_of(const struct client *client, const struct ledger_entry *entry)
{
    char tenant[NAME_BYTES_MAX + 1] = "", name[NAME_BYTES_MAX + 1] = "";
    if (entry->kind == LEDGER_APPEND)
        return json_pack("{s:s, s:s, s:s, s:{s:s}}", "type", "app.ledger", "tenant", "c0",
                         "request_id", entry->request_id, "payload", "token", entry->token);
    if (service_key_split(entry->key, tenant, name) != STATUS_OK)
        test_fail("bad key %s", entry->key);
    if (entry->kind == LEDGER_KILL)
        return json_pack("{s:s, s:s, s:s}", "tenant", tenant, "name", name, "request_id",
                         entry->request_id);
    return json_pack(
        "{s:o, s:s}", "spec",
        service_spec(client->clients->bed, tenant, name, "sleeper", entry->key, entry->token, NULL),
        "request_id", entry->request_id);
}

static const char *method_of(enum ledger_kind kind)
{
    static const char *const methods[] = { "service.deploy", "service.kill", "event.append" };
    return methods[kind];
}

/* One request to its end. Returns whether it was acknowledged. */
static bool carry_out(struct client *client, size_t index)
{
    struct ledger *ledger = client->clients->ledger;
    struct ledger_entry entry = ledger_get(ledger, index);
    json_t *params = params_of(client, &entry), *reply = NULL;
    struct problem problem;
    unsigned attempts;
    enum status status = insist(client, entry.kind == LEDGER_APPEND, method_of(entry.kind), params,
                                &reply, &problem, &attempts);
    uint64_t event_id = number_in(reply, "event_id");
    if (status == STATUS_OK && event_id == 0)
        test_fail("%s was acknowledged without a number", method_of(entry.kind));
    if (entry.event_id != 0 && event_id != entry.event_id)
        test_fail("P2: a repeat of %s %s gave %s %lu (%s), first it was %lu", entry.request_id,
                  method_of(entry.kind), status_name(status), (unsigned long)event_id,
                  problem.message, (unsigned long)entry.event_id);
    bool is_shared = strstr(entry.key, "/shared") != NULL;
    if (status != STATUS_OK && !(entry.kind == LEDGER_KILL && status == STATUS_NOT_FOUND) &&
        !is_shared)
        test_fail("client %u: %s %s (%s, %u attempts): %s %s: %s", client->number,
                  method_of(entry.kind), entry.key, entry.request_id, attempts, status_name(status),
                  problem.field, problem.message);
    client->refusals += status != STATUS_OK;
    ledger_answered(ledger, index, event_id, status != STATUS_OK, attempts);
    json_decref(params);
    json_decref(reply);
    return status == STATUS_OK;
}

/* The same id with another body, after its first was acknowledged: always a conflict. */
static void expect_conflict(struct client *client, size_t index)
{
    struct ledger_entry entry = ledger_get(client->clients->ledger, index);
    snprintf(entry.token, sizeof entry.token, "another");
    if (entry.kind == LEDGER_KILL || entry.event_id == 0)
        return;
    json_t *params = params_of(client, &entry), *reply = NULL;
    struct problem problem;
    unsigned attempts;
    enum status status = insist(client, entry.kind == LEDGER_APPEND, method_of(entry.kind), params,
                                &reply, &problem, &attempts);
    if (status != STATUS_ABORTED)
        test_fail("P2: %s with another body was answered %s, not aborted", entry.request_id,
                  status_name(status));
    json_decref(params);
    json_decref(reply);
}

static size_t begin_operation(struct client *client, enum ledger_kind kind, unsigned service)
{
    struct ledger_entry entry = { .kind = kind };
    struct uuid uuid = uuid_draw();
    char tenant[32], name[32];
    uuid_text(entry.request_id, &uuid);
    snprintf(entry.token, sizeof entry.token, "k%u-%lu", client->number,
             (unsigned long)client->operations);
    if (kind != LEDGER_APPEND) {
        service_of(client, service, tenant, name);
        service_key(entry.key, tenant, name);
    }
    return ledger_asked(client->clients->ledger, &entry);
}

static void operate(struct client *client, size_t remembered[REMEMBERED])
{
    uint64_t draw = random_below(&client->random, 100);
    client->operations++;
    if (draw < 12 && client->operations > REMEMBERED) {
        /* Repeating an older request of ours must not undo what came after it. */
        carry_out(client, remembered[random_below(&client->random, REMEMBERED)]);
        client->repeats++;
        return;
    }
    if (draw < 15 && client->operations > REMEMBERED) {
        expect_conflict(client, remembered[random_below(&client->random, REMEMBERED)]);
        return;
    }
    enum ledger_kind kind = draw < 50 ? LEDGER_DEPLOY : draw < 68 ? LEDGER_KILL : LEDGER_APPEND;
    unsigned service =
        (unsigned)random_below(&client->random, SERVICES_PER_CLIENT + SHARED_SERVICES);
    size_t index = begin_operation(client, kind, service);
    bool is_done = carry_out(client, index);
    if (is_done)
        remembered[client->operations % REMEMBERED] = index;
    if (kind == LEDGER_APPEND || service >= SERVICES_PER_CLIENT)
        return;
    struct belief *belief = &client->beliefs[service];
    struct ledger_entry entry = ledger_get(client->clients->ledger, index);
    if (kind == LEDGER_KILL && !is_done && belief->is_wanted)
        test_fail("%s is wanted, but its kill found nothing", belief->key);
    if (kind == LEDGER_KILL && is_done && !belief->is_wanted)
        test_fail("%s is not wanted, but its kill found something", belief->key);
    belief->is_wanted = kind == LEDGER_DEPLOY;
    memcpy(belief->token, entry.token, sizeof belief->token);
}

static bool may_go_on(struct clients *clients)
{
    pthread_mutex_lock(&clients->mutex);
    if (clients->is_paused && !clients->is_ending) {
        clients->resting++;
        pthread_cond_broadcast(&clients->changed);
        while (clients->is_paused && !clients->is_ending)
            pthread_cond_wait(&clients->changed, &clients->mutex);
        clients->resting--;
    }
    bool goes_on = !clients->is_ending;
    pthread_mutex_unlock(&clients->mutex);
    return goes_on;
}

static void *client_main(void *context)
{
    struct client *client = context;
    size_t remembered[REMEMBERED] = { 0 };
    /* Something to repeat from the beginning on. */
    for (size_t i = 0; i < REMEMBERED; i++) {
        client->operations++;
        remembered[client->operations % REMEMBERED] = begin_operation(client, LEDGER_APPEND, 0);
        carry_out(client, remembered[client->operations % REMEMBERED]);
    }
    while (may_go_on(client->clients))
        operate(client, remembered);
    caller_close(&client->eventd);
    caller_close(&client->deployd);
    return NULL;
}

void clients_start(struct clients *clients, const struct testbed *bed, struct ledger *ledger,
                   uint64_t seed)
{
    *clients = (struct clients){ .bed = bed, .ledger = ledger };
    pthread_mutex_init(&clients->mutex, NULL);
    pthread_cond_init(&clients->changed, NULL);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &clients->clients[i];
        client->clients = clients;
        client->number = i;
        client->random.state = seed + i + 1;
        client->eventd = client->deployd = CALLER_NONE;
        for (unsigned s = 0; s < SERVICES_PER_CLIENT; s++) {
            char tenant[32], name[32];
            service_of(client, s, tenant, name);
            service_key(client->beliefs[s].key, tenant, name);
        }
        if (pthread_create(&client->thread, NULL, client_main, client) != 0)
            test_fail("cannot start a thread");
    }
}

void clients_pause(struct clients *clients)
{
    pthread_mutex_lock(&clients->mutex);
    clients->is_paused = true;
    while (clients->resting < CLIENTS)
        pthread_cond_wait(&clients->changed, &clients->mutex);
    pthread_mutex_unlock(&clients->mutex);
}

void clients_resume(struct clients *clients)
{
    pthread_mutex_lock(&clients->mutex);
    clients->is_paused = false;
    pthread_cond_broadcast(&clients->changed);
    pthread_mutex_unlock(&clients->mutex);
}

void clients_end(struct clients *clients)
{
    pthread_mutex_lock(&clients->mutex);
    clients->is_ending = true;
    pthread_cond_broadcast(&clients->changed);
    pthread_mutex_unlock(&clients->mutex);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(clients->clients[i].thread, NULL);
}

/* --- the watcher --- */

static void watcher_take(struct watcher *watcher, const json_t *message)
{
    const json_t *batch = json_array_get(json_array_get(message, 2), 1);
    size_t i;
    json_t *event;
    pthread_mutex_lock(&watcher->mutex);
    json_array_foreach(json_object_get(batch, "events"), i, event)
    {
        uint64_t id = number_in(event, "id");
        if (id != watcher->seen + 1 && watcher->complaint[0] == '\0')
            snprintf(watcher->complaint, sizeof watcher->complaint,
                     "a watch got event %lu after %lu", (unsigned long)id,
                     (unsigned long)watcher->seen);
        watcher->seen = id;
    }
    pthread_mutex_unlock(&watcher->mutex);
}

static bool watcher_is_ending(struct watcher *watcher)
{
    pthread_mutex_lock(&watcher->mutex);
    bool is_ending = watcher->is_ending;
    pthread_mutex_unlock(&watcher->mutex);
    return is_ending;
}

/* One connection's life. */
static void watcher_watch(struct watcher *watcher, struct caller *caller)
{
    AUTO(buffer_close) struct buffer frame = { .limit = 4096 };
    json_t *params = json_pack("{s:I}", "after", (json_int_t)watcher->seen);
    caller_pack(&frame, 1, "event.watch", params);
    json_decref(params);
    if (!caller_send(caller, buffer_span(&frame)))
        return;
    while (!watcher_is_ending(watcher)) {
        bool is_closed;
        json_t *message = caller_receive(caller, 200, &is_closed);
        bool is_batch = json_integer_value(json_array_get(message, 0)) == 2;
        if (message != NULL && is_batch)
            watcher_take(watcher, message);
        json_decref(message);
        if (is_closed || (message != NULL && !is_batch))
            return;
    }
}

static void *watcher_main(void *context)
{
    struct watcher *watcher = context;
    while (!watcher_is_ending(watcher)) {
        struct caller caller;
        char path[4096];
        if (caller_open(&caller, testbed_socket(watcher->bed, "eventd", path)) == STATUS_OK)
            watcher_watch(watcher, &caller);
        caller_close(&caller);
        watcher->reconnects++;
        sleep_ms(RETRY_MS);
    }
    return NULL;
}

void watcher_start(struct watcher *watcher, const struct testbed *bed)
{
    *watcher = (struct watcher){ .bed = bed };
    pthread_mutex_init(&watcher->mutex, NULL);
    if (pthread_create(&watcher->thread, NULL, watcher_main, watcher) != 0)
        test_fail("cannot start a thread");
}

uint64_t watcher_seen(struct watcher *watcher, char complaint[256])
{
    pthread_mutex_lock(&watcher->mutex);
    uint64_t seen = watcher->seen;
    memcpy(complaint, watcher->complaint, sizeof watcher->complaint);
    pthread_mutex_unlock(&watcher->mutex);
    return seen;
}

void watcher_end(struct watcher *watcher)
{
    pthread_mutex_lock(&watcher->mutex);
    watcher->is_ending = true;
    pthread_mutex_unlock(&watcher->mutex);
    pthread_join(watcher->thread, NULL);
}
