#include "deployd/deliveries.h"

#include <string.h>
#include <utlist.h>

#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/spec/spec.h"
#include "common/wire/writer.h"
#include "deployd/supervisors.h"

enum {
    DELIVER_MS_MAX = 5 * 1000, /* for vaultd, and for a supervisor */
    SILENT_MS_MAX = 1000,      /* for a vaultd that did not answer the last question */
    AGAIN_MS = 5 * 1000,       /* after what no change of the vault will end */
    AGAIN_MS_MAX = 300 * 1000, /* after a supervisor has refused what was given: each try is told */
    SPEC_ARENA_BYTES = 16 * 1024 * 1024,
};

static const char VAULTD_IS_SILENT[] = "vaultd does not answer";

static void await_change(struct deployd *deployd);

/* ---- lists ---- */

static struct service **list_of(struct deployd *deployd, enum delivery_state state)
{
    struct deliveries *deliveries = &deployd->deliveries;
    return state == DELIVERY_QUEUED     ? &deliveries->queued
           : state == DELIVERY_WITHHELD ? &deliveries->withheld
                                        : NULL;
}

static void move(struct deployd *deployd, struct service *service, enum delivery_state state)
{
    struct service **from = list_of(deployd, service->delivery), **to = list_of(deployd, state);
    if (from != NULL)
        DL_DELETE2(*from, service, previous_delivery, next_delivery);
    service->delivery = state;
    if (to != NULL)
        DL_APPEND2(*to, service, previous_delivery, next_delivery);
}

static void go_on(struct deployd *deployd)
{
    /* The turn comes round although nothing happens on a socket; once, however many answers came:
     * each is a commit of the registry. */
    ev_idle_start(deployd->loop, &deployd->go_on);
}

static bool is_in_flight(const struct service *service)
{
    return service->delivery == DELIVERY_ASKED || service->delivery == DELIVERY_HANDED;
}

static bool is_wanted(const struct service *service)
{
    const struct supervisor *supervisor = &service->tenant->supervisor;
    return service->is_held && service->state == SERVICE_waiting_for_secret &&
           service->secret_request != 0 && supervisor->state == SUPERVISOR_READY &&
           !supervisor->is_silent && !supervisor->is_ending;
}

void deliveries_look(struct deployd *deployd, struct service *service)
{
    if (is_in_flight(service))
        return; /* its end looks */
    if (!is_wanted(service)) {
        if (service->delivery != DELIVERY_NONE)
            move(deployd, service, DELIVERY_NONE);
    } else if (service->delivery_request != service->secret_request &&
               service->delivery != DELIVERY_QUEUED) {
        move(deployd, service, DELIVERY_QUEUED);
        await_change(deployd);
        go_on(deployd);
    }
}

void deliveries_cut(struct deployd *deployd, struct tenant *tenant)
{
    for (struct service *service = tenant->services; service != NULL; service = service->next) {
        service->delivery_request = 0;
        if (service->delivery == DELIVERY_HANDED)
            deployd->deliveries.running--;
        if (service->delivery != DELIVERY_ASKED && service->delivery != DELIVERY_NONE)
            move(deployd, service, DELIVERY_NONE);
    }
}

static void try_all_again(struct deployd *deployd)
{
    struct deliveries *deliveries = &deployd->deliveries;
    for (struct service *service = deliveries->withheld; service != NULL;
         service = service->next_delivery)
        service->delivery = DELIVERY_QUEUED;
    DL_CONCAT2(deliveries->queued, deliveries->withheld, previous_delivery, next_delivery);
    deliveries->withheld = NULL;
    go_on(deployd);
}

/* ---- one delivery ---- */

static void ended(struct deployd *deployd, struct service *service, enum delivery_state state)
{
    ensure(is_in_flight(service));
    deployd->deliveries.running--;
    move(deployd, service, state);
    catalog_touch(&deployd->catalog, service); /* it may be released now */
    deliveries_look(deployd, service);
    go_on(deployd);
}

static void try_in(struct deployd *deployd, uint64_t delay_ms)
{
    struct ev_timer *again = &deployd->deliveries.again;
    if (ev_is_active(again) && ev_timer_remaining(deployd->loop, again) * 1e3 <= (double)delay_ms)
        return;
    ev_timer_stop(deployd->loop, again);
    ev_timer_set(again, (double)delay_ms / 1e3, 0);
    ev_timer_start(deployd->loop, again);
}

static void try_later(struct deployd *deployd)
{
    try_in(deployd, AGAIN_MS);
}

/* What was given stands in the log each time: so it is tried less and less often. */
static void try_refused_later(struct deployd *deployd)
{
    uint64_t *refused_ms = &deployd->deliveries.refused_ms;
    *refused_ms = *refused_ms == 0                  ? AGAIN_MS
                  : *refused_ms >= AGAIN_MS_MAX / 2 ? AGAIN_MS_MAX
                                                    : *refused_ms * 2;
    try_in(deployd, *refused_ms);
}

static void on_withheld(void *context, enum status status, const struct problem *problem,
                        const void *reply)
{
    (void)problem, (void)reply;
    struct service *service = context;
    struct deployd *deployd = service->tenant->supervisor.owner;
    bool has_changed = service->delivery_change != deployd->deliveries.changes;
    if (status == STATUS_ABORTED)
        ended(deployd, service, DELIVERY_NONE); /* it does not wait for that any more */
    else
        ended(deployd, service, has_changed ? DELIVERY_QUEUED : DELIVERY_WITHHELD);
}

static void withhold(struct deployd *deployd, struct service *service, const char *why)
{
    char reason[REASON_BYTES_MAX + 1];
    snprintf(reason, sizeof reason, "%s", why);
    text_cut(reason);
    const struct supervisor_withhold_request request = {
        .name = service_name(service),
        .request = service->delivery_request,
        .reason = reason,
    };
    if (service->delivery == DELIVERY_ASKED)
        move(deployd, service, DELIVERY_HANDED);
    if (supervisor_call(&service->tenant->supervisor, &method_supervisor_withhold, &request,
                        DELIVER_MS_MAX, on_withheld, service) != STATUS_OK) {
        try_later(deployd);
        ended(deployd, service, DELIVERY_WITHHELD);
    }
}

static void on_delivered(void *context, enum status status, const struct problem *problem,
                         const void *reply)
{
    (void)reply;
    struct service *service = context;
    struct deployd *deployd = service->tenant->supervisor.owner;
    if (status == STATUS_OK || status == STATUS_ABORTED) {
        deployd->deliveries.refused_ms = 0;
        ended(deployd, service, DELIVERY_NONE);
        return;
    }
    log_warning("secrets could not be delivered", "service", service->key, "reason",
                problem == NULL ? status_text(status) : problem->message);
    if (status != STATUS_FAILED_PRECONDITION)
        try_refused_later(deployd);
    ended(deployd, service, DELIVERY_WITHHELD);
}

static void hand_over(struct deployd *deployd, struct service *service, int file)
{
    const struct supervisor_deliver_request request = {
        .name = service_name(service),
        .request = service->delivery_request,
    };
    move(deployd, service, DELIVERY_HANDED);
    if (supervisor_pass(&service->tenant->supervisor, &method_supervisor_deliver, &request,
                        DELIVER_MS_MAX, file, on_delivered, service) != STATUS_OK) {
        try_later(deployd);
        ended(deployd, service, DELIVERY_WITHHELD);
    }
}

/* While vaultd does not answer one asks at a time, and is answered soon: the others would keep a
 * recovery from what needs no secrets. They ask again when it does. */
static void note_answer(struct deployd *deployd, enum status status)
{
    struct deliveries *deliveries = &deployd->deliveries;
    bool was_silent = deliveries->is_silent;
    deliveries->is_silent = status == STATUS_DEADLINE_EXCEEDED; /* a refusal is an answer */
    if (was_silent && !deliveries->is_silent)
        try_all_again(deployd);
}

static uint64_t patience_ms(const struct deliveries *deliveries)
{
    return deliveries->is_silent ? SILENT_MS_MAX : DELIVER_MS_MAX;
}

/* What is refused until the vault changes; anything else may pass by itself. */
static bool waits_for_change(enum status status)
{
    return status == STATUS_NOT_FOUND || status == STATUS_FAILED_PRECONDITION ||
           status == STATUS_DATA_LOSS;
}

static void on_answer(void *context, enum status status, const struct problem *problem,
                      const void *reply)
{
    (void)reply;
    struct service *service = context;
    struct deployd *deployd = service->tenant->supervisor.owner;
    AUTO(fd_close) int file = rpc_client_take_file(deployd->vaultd);
    deployd->deliveries.asking--;
    note_answer(deployd, status);
    if (!is_wanted(service) || service->secret_request != service->delivery_request) {
        ended(deployd, service, DELIVERY_NONE);
        return;
    }
    if (status == STATUS_OK && file >= 0) {
        int handed = file;
        file = -1;
        hand_over(deployd, service, handed);
        return;
    }
    if (!waits_for_change(status))
        try_later(deployd);
    withhold(deployd, service,
             status == STATUS_DEADLINE_EXCEEDED               ? VAULTD_IS_SILENT
             : problem != NULL && problem->message[0] != '\0' ? problem->message
                                                              : "vaultd gave no secrets");
}

static void write_wanted(const struct spec *spec, struct buffer *list)
{
    write_array(list, spec->secret_count);
    for (size_t i = 0; i < spec->secret_count; i++) {
        const struct secret_wanted wanted = {
            .name = spec->secrets[i].name,
            .version = spec->secrets[i].version,
            .is_optional = spec->secrets[i].is_optional,
        };
        fields_encode(&record_secret_wanted, &wanted, list);
    }
}

static enum status list_wanted(struct span packed, struct buffer *list, size_t *count)
{
    AUTO(arena_close) struct arena arena = { .limit = SPEC_ARENA_BYTES };
    struct problem problem;
    struct spec spec;
    TRY(spec_decode(packed, &arena, &spec, &problem));
    write_wanted(&spec, list);
    *count = spec.secret_count;
    return list->is_exhausted ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
}

/* Which secrets: what the log says of the generation that waits. */
static enum status find_wanted(struct deployd *deployd, uint64_t generation, struct buffer *list,
                               size_t *count)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    struct span stored;
    TRY(event_map_begin(&deployd->map, &txn));
    TRY(event_log_spec(&txn, generation, &stored));
    return list_wanted(stored, list, count);
}

static enum status ask(struct deployd *deployd, struct service *service)
{
    AUTO(buffer_close) struct buffer list = { .limit = FRAME_BYTES_SMALL };
    size_t count;
    TRY(find_wanted(deployd, service->generation, &list, &count));
    const struct secret_deliver_request request = {
        .tenant = service->tenant->name,
        .service = service_name(service),
        .generation = service->generation,
        .secrets = buffer_span(&list),
    };
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = patience_ms(&deployd->deliveries),
        .on_reply = on_answer,
        .context = service,
    };
    return rpc_client_call(deployd->vaultd, &method_secret_deliver, &request, &options, NULL);
}

static void begin(struct deployd *deployd, struct service *service)
{
    struct deliveries *deliveries = &deployd->deliveries;
    service->delivery_request = service->secret_request;
    service->delivery_change = deliveries->changes;
    move(deployd, service, DELIVERY_ASKED);
    deliveries->running++;
    if (deliveries->is_silent && deliveries->asking > 0) {
        try_later(deployd);
        withhold(deployd, service, VAULTD_IS_SILENT);
        return;
    }
    enum status status = ask(deployd, service);
    if (status == STATUS_OK) {
        deliveries->asking++;
        return;
    }
    log_failure(status, "ask for the secrets of a service", "service", service->key);
    try_later(deployd);
    withhold(deployd, service, "its secrets cannot be asked for");
}

void deliveries_step(struct deployd *deployd)
{
    struct deliveries *deliveries = &deployd->deliveries;
    while (deliveries->running < DELIVERIES_RUNNING_MAX && deliveries->queued != NULL) {
        struct service *service = deliveries->queued;
        if (is_wanted(service))
            begin(deployd, service);
        else
            move(deployd, service, DELIVERY_NONE);
    }
}

enum status deliveries_ask(struct deployd *deployd, const struct service *service,
                           uint64_t generation, struct span spec, rpc_on_reply on_reply,
                           void *context)
{
    AUTO(buffer_close) struct buffer list = { .limit = FRAME_BYTES_SMALL };
    size_t count;
    if (spec.size > 0)
        TRY(list_wanted(spec, &list, &count));
    else
        TRY(find_wanted(deployd, generation, &list, &count));
    if (count == 0)
        return STATUS_NOT_FOUND;
    const struct secret_deliver_request request = {
        .tenant = service->tenant->name,
        .service = service_name(service),
        .generation = generation,
        .secrets = buffer_span(&list),
        .check_only = true,
    };
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = patience_ms(&deployd->deliveries),
        .on_reply = on_reply,
        .context = context,
    };
    return rpc_client_call(deployd->vaultd, &method_secret_deliver, &request, &options, NULL);
}

/* ---- what changes in the vault ---- */

static void on_change(void *context, enum status status, const struct problem *problem,
                      const void *reply)
{
    (void)problem;
    struct deployd *deployd = context;
    struct deliveries *deliveries = &deployd->deliveries;
    deliveries->is_awaiting = false;
    if (status != STATUS_OK) {
        try_later(deployd);
        return;
    }
    deliveries->is_silent = false;
    deliveries->change = ((const struct secret_await_reply *)reply)->change;
    deliveries->changes++;
    try_all_again(deployd);
    await_change(deployd);
}

/* From the first service that needs secrets on. */
static void await_change(struct deployd *deployd)
{
    struct deliveries *deliveries = &deployd->deliveries;
    const struct secret_await_request request = { .change = deliveries->change };
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .on_reply = on_change,
        .context = deployd,
    };
    if (deliveries->is_awaiting)
        return;
    deliveries->is_awaiting = rpc_client_call(deployd->vaultd, &method_secret_await, &request,
                                              &options, NULL) == STATUS_OK;
    if (!deliveries->is_awaiting)
        try_later(deployd);
}

static void on_again(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct deployd *deployd = timer->data;
    try_all_again(deployd);
    await_change(deployd);
}

enum status deliveries_open(struct deployd *deployd)
{
    char path[4096];
    TRY(run_socket_path(path, deployd->settings.run_dir, "vaultd"));
    const struct rpc_client_options options = {
        .path = path,
        .daemon = deployd->has_run_key ? "deployd" : NULL,
        .key = span_of(deployd->run_key, deployd->has_run_key ? sizeof deployd->run_key : 0),
    };
    ev_timer_init(&deployd->deliveries.again, on_again, 0, 0);
    deployd->deliveries.again.data = deployd;
    return rpc_client_open(&deployd->vaultd, deployd->loop, &options);
}

void deliveries_close(struct deployd *deployd)
{
    ev_timer_stop(deployd->loop, &deployd->deliveries.again);
    rpc_client_close(&deployd->vaultd);
}
