/* get services: a list, and with -w what changes in it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/service_rows.h"
#include "soloctl/target.h"

/* After an event, and when a delayed start is due, the state of a service may still be on its way:
 * it is read once more when nothing has happened for this long. */
enum { SETTLE_MS = 300 };

struct listing {
    struct session *session;
    const struct arguments *arguments;
    struct target *targets; /* what was named; none is everything */
    struct service_rows services, before;
    struct list_output list;
    uint64_t seen; /* the last event, when watching */
};

static void listing_close(struct listing *listing)
{
    service_rows_close(&listing->services);
    service_rows_close(&listing->before);
    list_close(&listing->list);
}

static bool is_named(const struct listing *listing, const struct service_row *row)
{
    size_t count = listing->arguments->operand_count;
    for (size_t i = 0; i < count; i++)
        if (strcmp(listing->targets[i].name, row->name) == 0 &&
            strcmp(listing->targets[i].tenant, row->tenant) == 0)
            return true;
    return count == 0;
}

/* Prints the rows that are named and, when `only_changed`, look different from those of before. */
static enum status print_rows(struct listing *listing, bool only_changed, struct problem *problem)
{
    struct session *session = listing->session;
    const struct service_rows *services = &listing->services;
    AUTO(table_close) struct table *table = NULL;
    uint64_t now_ns = clock_wall_ns();
    size_t printed = 0;
    bool for_programs = session_is_for_programs(session);
    if (!for_programs && table_open(&table, service_columns, service_column_count,
                                    session->format == FORMAT_WIDE) != STATUS_OK)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    for (size_t i = 0; i < services->count; i++) {
        const struct service_row *row = &services->rows[i];
        const struct service_row *old =
            only_changed ? service_rows_find(&listing->before, row->tenant, row->name) : NULL;
        if (!is_named(listing, row) || (old != NULL && service_looks_equal(old, row)))
            continue;
        printed++;
        if (for_programs) {
            char key[SERVICE_KEY_BYTES];
            AUTO(item_close) struct item item = ITEM_EMPTY;
            service_item(row, &services->exits[i], &item);
            list_add(&listing->list, &item, service_key(key, row->tenant, row->name));
        } else {
            service_table_row(table, row, &services->exits[i], now_ns);
        }
    }
    if (for_programs || printed == 0)
        return STATUS_OK;
    if (only_changed)
        table_hide_headings(table);
    if (table_print(table, stdout) != STATUS_OK)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    return STATUS_OK;
}

/* Those that went since the last look. */
static void print_gone(struct listing *listing)
{
    for (size_t i = 0; i < listing->before.count; i++) {
        struct service_row *row = &listing->before.rows[i];
        char key[SERVICE_KEY_BYTES];
        if (!is_named(listing, row) ||
            service_rows_find(&listing->services, row->tenant, row->name) != NULL)
            continue;
        service_key(key, row->tenant, row->name);
        if (!session_is_for_programs(listing->session)) {
            printf("%s  gone\n", key);
            continue;
        }
        AUTO(item_close) struct item item = ITEM_EMPTY;
        item_text(&item, "tenant", row->tenant);
        item_text(&item, "name", row->name);
        item_text(&item, "state", "gone");
        item_text(&item, "reason", "it is not wanted any more");
        item_number(&item, "generation", row->generation);
        item_null(&item, "pid");
        list_add(&listing->list, &item, key);
    }
}

static enum status look_again(struct listing *listing, struct problem *problem)
{
    struct service_rows spare = listing->before;
    listing->before = listing->services;
    listing->services = spare;
    TRY(service_rows_load(&listing->services, listing->session, listing->session->tenant, problem));
    TRY(print_rows(listing, true, problem));
    print_gone(listing);
    return output_flush() ? STATUS_OK : STATUS_CANCELLED;
}

/* The watch of events, and what it sets off. */
struct watch {
    struct listing *listing;
    struct ev_loop *loop;
    struct ev_timer settle;
    struct ev_timer look;        /* one for all the events that come before it */
    uint64_t looked_ns, took_ns; /* when the last look ended, and how long it took */
    enum status status;
    struct problem problem;
};

/* A crash loop is not logged start by start, but each row says when its next start is due. */
static uint64_t next_due_ns(const struct listing *listing)
{
    uint64_t next_ns = 0;
    for (size_t i = 0; i < listing->services.count; i++) {
        const struct service_row *row = &listing->services.rows[i];
        if (row->due_ns != 0 && is_named(listing, row) && (next_ns == 0 || row->due_ns < next_ns))
            next_ns = row->due_ns;
    }
    return next_ns;
}

static void watch_step(struct watch *watch, bool is_settled)
{
    uint64_t began_ns = clock_boottime_ns();
    watch->status = look_again(watch->listing, &watch->problem);
    watch->looked_ns = clock_boottime_ns();
    watch->took_ns = watch->looked_ns - began_ns;
    ev_now_update(watch->loop); /* timers count from here, not from before the look */
    if (watch->status != STATUS_OK) {
        ev_break(watch->loop, EVBREAK_ALL);
        return;
    }
    uint64_t now_ns = clock_wall_ns(), due_ns = next_due_ns(watch->listing);
    double wait_s = SETTLE_MS / 1e3;
    ev_timer_stop(watch->loop, &watch->settle);
    if (is_settled && due_ns == 0)
        return;
    if (is_settled && due_ns > now_ns)
        wait_s += (double)(due_ns - now_ns) / 1e9;
    ev_timer_set(&watch->settle, wait_s, 0.);
    ev_timer_start(watch->loop, &watch->settle);
}

static void on_settled(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    watch_step(OWNER_OF(timer, struct watch, settle), true);
}

static void on_look(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    watch_step(OWNER_OF(timer, struct watch, look), false);
}

/* The list is read whole: the more services there are, the more events share a look. It waits for
 * as long as the last one took, so that a watcher costs deployd half its time at most. */
static void look_soon(struct watch *watch)
{
    uint64_t now_ns = clock_boottime_ns(), due_ns = watch->looked_ns + watch->took_ns;
    ev_timer_set(&watch->look, due_ns > now_ns ? (double)(due_ns - now_ns) / 1e9 : 0., 0.);
    ev_timer_start(watch->loop, &watch->look);
}

static void on_batch(void *context, const char *method, struct span params)
{
    struct watch *watch = context;
    (void)method;
    watch->listing->seen = map_u64(params, "last_id", watch->listing->seen);
    if (!ev_is_active(&watch->look))
        look_soon(watch);
}

static void on_end(void *context, enum status status, const struct problem *problem,
                   const void *reply)
{
    struct watch *watch = context;
    (void)reply;
    watch->status = status == STATUS_OK ? STATUS_UNAVAILABLE : status;
    if (problem != NULL)
        watch->problem = *problem;
    ev_break(watch->loop, EVBREAK_ALL);
}

static enum status last_event(struct session *session, uint64_t *last_id, struct problem *problem)
{
    struct event_query_request request = {
        .tenant = "", .type = "", .subject = "", .limit = 1, .newest_first = true
    };
    struct event_query_reply reply = { 0 };
    TRY(session_call(session, PEER_EVENTD, &method_event_query, &request, READ_TIMEOUT_MS, &reply,
                     problem));
    *last_id = reply.last_id;
    return STATUS_OK;
}

/* Follows the log from the moment before the first look. A watch that eventd cut off, or that a
 * restart of eventd broke, goes on after the last event that was seen. */
static enum status follow(struct listing *listing, struct problem *problem)
{
    struct session *session = listing->session;
    struct rpc_client *client;
    for (;;) {
        struct daemon_health_request health = {};
        struct daemon_health_reply healthy = { 0 };
        TRY(session_call(session, PEER_EVENTD, &method_daemon_health, &health, READ_TIMEOUT_MS,
                         &healthy, problem));
        TRY(session_client(session, PEER_EVENTD, &client, problem));
        struct watch watch = { .listing = listing, .loop = session->loops[PEER_EVENTD] };
        ev_init(&watch.settle, on_settled);
        ev_init(&watch.look, on_look);
        /* What a look before this watch has shown may be about to change. */
        ev_timer_set(&watch.settle, SETTLE_MS / 1e3, 0.);
        ev_timer_start(watch.loop, &watch.settle);
        struct event_watch_request request = {
            .tenant = session->tenant, .type = "", .subject = "", .after = listing->seen
        };
        struct rpc_call_options options = { .on_reply = on_end,
                                            .on_notify = on_batch,
                                            .context = &watch };
        uint64_t handle = 0;
        TRY(rpc_client_call(client, &method_event_watch, &request, &options, &handle));
        ev_run(watch.loop, 0);
        ev_timer_stop(watch.loop, &watch.settle);
        ev_timer_stop(watch.loop, &watch.look);
        rpc_client_cancel(client, handle);
        if (watch.status == STATUS_RESOURCE_EXHAUSTED || watch.status == STATUS_UNAVAILABLE ||
            watch.status == STATUS_UNKNOWN)
            continue;
        if (watch.status ==
            STATUS_OUT_OF_RANGE) { /* archived: the next look shows what came of it */
            TRY(last_event(session, &listing->seen, problem));
            continue;
        }
        *problem = watch.problem;
        return watch.status;
    }
}

/* Tells every name that is not there. */
static enum status check_names(const struct listing *listing, struct problem *problem)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < listing->arguments->operand_count; i++) {
        const struct target *target = &listing->targets[i];
        if (service_rows_find(&listing->services, target->tenant, target->name) != NULL)
            continue;
        if (status != STATUS_OK)
            session_fail(listing->session, "", status, problem);
        status =
            problem_set(problem, STATUS_NOT_FOUND, "", "%s: there is no such service", target->key);
    }
    return status;
}

static enum status get_services(struct listing *listing, struct problem *problem)
{
    struct session *session = listing->session;
    bool watches = arguments_has(listing->arguments, FLAG_watch);
    for (size_t i = 0; i < listing->arguments->operand_count; i++)
        TRY(target_parse(listing->arguments->operands[i], session->tenant, &listing->targets[i],
                         problem));
    if (watches && session->format == FORMAT_JSON)
        return problem_set(problem, STATUS_USAGE, "",
                           "--watch: a stream is no single document; use -o jsonl");
    if (watches)
        TRY(last_event(session, &listing->seen, problem));
    TRY(service_rows_load(&listing->services, session, session->tenant, problem));
    enum status missing = check_names(listing, problem);
    if (missing != STATUS_OK && session_is_for_programs(session))
        return missing;
    TRY(list_begin(&listing->list, session->format, "services", problem));
    if (listing->services.count == 0 && !session_is_for_programs(session))
        fprintf(stderr, "no services\n");
    struct problem printing = { 0 };
    enum status status = print_rows(listing, false, &printing);
    if (missing != STATUS_OK)
        return missing;
    if (status != STATUS_OK) {
        *problem = printing;
        return status;
    }
    list_end(&listing->list);
    return watches && output_flush() ? follow(listing, problem) : STATUS_OK;
}

int command_get_services(struct session *session, const struct arguments *arguments)
{
    static struct target targets[OPERANDS_MAX];
    AUTO(listing_close)
    struct listing listing = {
        .session = session,
        .arguments = arguments,
        .targets = targets,
    };
    struct problem problem = { 0 };
    enum status status = get_services(&listing, &problem);
    if (status == STATUS_CANCELLED && !output_flush())
        return 0; /* whoever watched has gone */
    return status == STATUS_OK ? 0 : session_fail(session, "", status, &problem);
}
