/* Secrets on their way. The test plays vaultd, the supervisor and the log, and answers when it
 * likes. */
#include "deployd/deliveries.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/api/records/event_log.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/spec/spec_json.h"
#include "deployd/supervisors.h"
#include "tests/support/criterion.h"

enum { ASKED_MAX = 16 };

struct asked {
    const struct method *method;
    rpc_on_reply on_reply;
    void *context;
    uint64_t request; /* of a supervisor */
    char reason[REASON_BYTES_MAX + 1];
    bool check_only;
};

static struct {
    struct deployd deployd;
    struct tenant *tenant;
    struct service *service;
    struct asked vault[ASKED_MAX], supervisor[ASKED_MAX]; /* not answered yet, in order */
    size_t vault_count, supervisor_count;
    enum status refuses; /* vaultd and supervisor cannot be asked at all */
    int file;            /* that comes with the next answer, or -1 */
    bool was_passed;
    struct buffer spec;
} world;

/* --- the log --- */

enum status event_map_begin(struct event_map *map, struct db_txn *txn)
{
    (void)map, (void)txn;
    return STATUS_OK;
}

void db_end(struct db_txn *txn)
{
    (void)txn;
}

enum status event_log_spec(struct db_txn *txn, uint64_t generation, struct span *spec)
{
    (void)txn;
    cr_assert_eq(generation, 7);
    *spec = buffer_span(&world.spec);
    return STATUS_OK;
}

/* --- vaultd --- */

enum status rpc_client_open(struct rpc_client **client, struct ev_loop *loop,
                            const struct rpc_client_options *options)
{
    (void)client, (void)loop, (void)options;
    return STATUS_OK;
}

void rpc_client_close(struct rpc_client **client)
{
    (void)client;
}

int rpc_client_take_file(struct rpc_client *client)
{
    (void)client;
    int file = world.file;
    world.file = -1;
    return file;
}

enum status rpc_client_call(struct rpc_client *client, const struct method *method,
                            const void *request, const struct rpc_call_options *options,
                            uint64_t *handle)
{
    (void)client, (void)handle;
    if (world.refuses != STATUS_OK)
        return world.refuses;
    cr_assert_lt(world.vault_count, ASKED_MAX);
    struct asked *asked = &world.vault[world.vault_count++];
    *asked = (struct asked){ .method = method,
                             .on_reply = options->on_reply,
                             .context = options->context };
    if (method == &method_secret_deliver)
        asked->check_only = ((const struct secret_deliver_request *)request)->check_only;
    return STATUS_OK;
}

/* --- the supervisor --- */

enum status supervisor_call(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, rpc_on_reply on_reply,
                            void *context)
{
    (void)supervisor, (void)timeout_ms;
    if (world.refuses != STATUS_OK)
        return world.refuses;
    cr_assert_lt(world.supervisor_count, ASKED_MAX);
    struct asked *asked = &world.supervisor[world.supervisor_count++];
    *asked = (struct asked){ .method = method, .on_reply = on_reply, .context = context };
    if (method == &method_supervisor_withhold) {
        const struct supervisor_withhold_request *withhold = request;
        asked->request = withhold->request;
        snprintf(asked->reason, sizeof asked->reason, "%s", withhold->reason);
    } else {
        asked->request = ((const struct supervisor_deliver_request *)request)->request;
    }
    return STATUS_OK;
}

enum status supervisor_pass(struct supervisor *supervisor, const struct method *method,
                            const void *request, uint64_t timeout_ms, int file,
                            rpc_on_reply on_reply, void *context)
{
    cr_assert_geq(file, 0);
    close(file);
    world.was_passed = true;
    return supervisor_call(supervisor, method, request, timeout_ms, on_reply, context);
}

/* --- the scene --- */

static void on_prepare(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)loop, (void)prepare, (void)events; /* the turn is deliveries_step */
}

static void on_go_on(struct ev_loop *loop, struct ev_idle *idle, int events)
{
    (void)loop, (void)idle, (void)events;
}

static void pack_spec(const char *json, struct buffer *packed)
{
    struct problem problem;
    cr_assert_eq(spec_from_json(span_of_text(json), packed, &problem), STATUS_OK, "%s",
                 problem.message);
}

static void set_up(void)
{
    struct problem problem;
    log_setup("test", LOG_LEVEL_ERROR);
    world.deployd.loop = ev_loop_new(EVFLAG_NOENV);
    strcpy(world.deployd.settings.run_dir, "/run/solo");
    ev_prepare_init(&world.deployd.before_sleep, on_prepare);
    ev_idle_init(&world.deployd.go_on, on_go_on);
    world.file = -1;
    world.spec.limit = 1 << 16;
    pack_spec("{\"tenant\": \"acme\", \"name\": \"api\", \"argv\": [\"/bin/p\"], "
              "\"secrets\": [\"db\"]}",
              &world.spec);
    cr_assert_eq(deliveries_open(&world.deployd), STATUS_OK);
    struct catalog *catalog = &world.deployd.catalog;
    cr_assert_eq(catalog_tenant_make(catalog, "acme", &world.tenant, &problem), STATUS_OK);
    cr_assert_eq(catalog_service_make(catalog, world.tenant, "api", &world.service, &problem),
                 STATUS_OK);
    world.tenant->supervisor.owner = &world.deployd;
    world.tenant->supervisor.tenant = world.tenant;
    world.tenant->supervisor.state = SUPERVISOR_READY;
}

static void tear_down(void)
{
    deliveries_close(&world.deployd);
    catalog_close(&world.deployd.catalog);
    buffer_close(&world.spec);
    ev_loop_destroy(world.deployd.loop);
}

TestSuite(deliveries, .init = set_up, .fini = tear_down);

/* Its row says that it waits. */
static void waits(uint64_t request)
{
    struct service *service = world.service;
    service->is_held = true;
    service->state = SERVICE_waiting_for_secret;
    service->generation = 7;
    service->secret_request = request;
    deliveries_look(&world.deployd, service);
    deliveries_step(&world.deployd);
}

static struct asked take(struct asked *list, size_t *count, const struct method *method)
{
    for (size_t i = 0; i < *count; i++) {
        struct asked found = list[i];
        if (found.method != method)
            continue;
        memmove(&list[i], &list[i + 1], (*count - i - 1) * sizeof list[0]);
        --*count;
        return found;
    }
    cr_assert(false, "%s was not asked", method->name);
    return (struct asked){ 0 };
}

static void vault_answers(enum status status, const char *message)
{
    struct problem problem = { .code = status };
    struct asked asked = take(world.vault, &world.vault_count, &method_secret_deliver);
    cr_assert_not(asked.check_only);
    if (message != NULL)
        snprintf(problem.message, sizeof problem.message, "%s", message);
    if (status == STATUS_OK)
        world.file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    asked.on_reply(asked.context, status, &problem, NULL);
    deliveries_step(&world.deployd);
}

static void vault_changes(uint64_t change)
{
    const struct secret_await_reply reply = { .change = change };
    struct asked asked = take(world.vault, &world.vault_count, &method_secret_await);
    asked.on_reply(asked.context, STATUS_OK, NULL, &reply);
    deliveries_step(&world.deployd);
}

static struct asked supervisor_takes(const struct method *method, enum status status)
{
    struct asked asked = take(world.supervisor, &world.supervisor_count, method);
    asked.on_reply(asked.context, status, NULL, NULL);
    deliveries_step(&world.deployd);
    return asked;
}

static size_t count_asked(const struct method *method)
{
    size_t count = 0;
    for (size_t i = 0; i < world.vault_count; i++)
        count += world.vault[i].method == method;
    return count;
}

/* --- tests --- */

Test(deliveries, what_vaultd_gives_is_passed_on_once)
{
    waits(1);
    waits(1); /* told again */
    cr_assert_eq(count_asked(&method_secret_deliver), 1);
    vault_answers(STATUS_OK, NULL);
    cr_assert(world.was_passed);
    cr_assert_eq(supervisor_takes(&method_supervisor_deliver, STATUS_OK).request, 1);
    waits(1);
    cr_assert_eq(count_asked(&method_secret_deliver), 0, "it was dealt with");
    waits(2); /* its next start */
    cr_assert_eq(count_asked(&method_secret_deliver), 1);
    cr_assert_eq(world.deployd.deliveries.running, 1);
}

/* A turn is a commit of the registry: it comes, but not with each answer. */
Test(deliveries, an_answer_has_the_turn_come_and_does_not_make_one)
{
    waits(1);
    vault_answers(STATUS_OK, NULL);
    ev_idle_stop(world.deployd.loop, &world.deployd.go_on);
    supervisor_takes(&method_supervisor_deliver, STATUS_OK);
    cr_assert(ev_is_active(&world.deployd.go_on));
    cr_assert_not(ev_is_pending(&world.deployd.before_sleep));
}

Test(deliveries, a_refusal_is_its_reason_until_the_vault_changes)
{
    waits(1);
    vault_answers(STATUS_FAILED_PRECONDITION, "the vault is sealed");
    struct asked told = supervisor_takes(&method_supervisor_withhold, STATUS_OK);
    cr_assert_str_eq(told.reason, "the vault is sealed");
    cr_assert_eq(told.request, 1);
    waits(1);
    cr_assert_eq(count_asked(&method_secret_deliver), 0, "nothing has changed");
    cr_assert_not(ev_is_active(&world.deployd.deliveries.again), "and nothing is polled");
    vault_changes(1);
    vault_answers(STATUS_OK, NULL);
    supervisor_takes(&method_supervisor_deliver, STATUS_OK);
    cr_assert_eq(world.deployd.deliveries.running, 0);
    cr_assert_eq(count_asked(&method_secret_await), 1, "the next change is awaited");
}

/* Between vaultd's refusal and the supervisor's answer. */
Test(deliveries, a_change_while_it_is_told_is_not_missed)
{
    waits(1);
    vault_answers(STATUS_NOT_FOUND, "there is no secret db");
    vault_changes(1);
    cr_assert_eq(count_asked(&method_secret_deliver), 0, "it is still being told");
    supervisor_takes(&method_supervisor_withhold, STATUS_OK);
    cr_assert_eq(count_asked(&method_secret_deliver), 1);
}

Test(deliveries, what_may_pass_by_itself_is_tried_again)
{
    waits(1);
    vault_answers(STATUS_UNAVAILABLE, "vaultd does not answer");
    supervisor_takes(&method_supervisor_withhold, STATUS_OK);
    struct ev_timer *again = &world.deployd.deliveries.again;
    cr_assert(ev_is_active(again));
    ev_timer_stop(world.deployd.loop, again);
    ev_feed_event(world.deployd.loop, again, EV_TIMER);
    ev_invoke_pending(world.deployd.loop);
    deliveries_step(&world.deployd);
    cr_assert_eq(count_asked(&method_secret_deliver), 1);
}

/* With as many as wait, a recovery would stand still for each of them. */
Test(deliveries, while_vaultd_is_silent_one_asks_and_the_others_are_told_at_once)
{
    struct service *other;
    struct problem problem;
    waits(1);
    vault_answers(STATUS_DEADLINE_EXCEEDED, "secret.deliver: no answer");
    cr_assert_str_eq(supervisor_takes(&method_supervisor_withhold, STATUS_OK).reason,
                     "vaultd does not answer");
    waits(2);
    cr_assert_eq(count_asked(&method_secret_deliver), 1, "this one finds out when it is back");
    cr_assert_eq(
        catalog_service_make(&world.deployd.catalog, world.tenant, "job", &other, &problem),
        STATUS_OK);
    world.service = other;
    waits(1);
    cr_assert_eq(count_asked(&method_secret_deliver), 1);
    supervisor_takes(&method_supervisor_withhold, STATUS_OK);
    vault_answers(STATUS_OK, NULL);
    cr_assert_eq(count_asked(&method_secret_deliver), 1, "it answers again: the other asks");
    cr_assert_eq(world.deployd.deliveries.asking, 1);
    vault_answers(STATUS_UNAVAILABLE, "try later");
    cr_assert_not(world.deployd.deliveries.is_silent, "that is an answer");
}

/* Each try stands in the log. */
Test(deliveries, what_its_supervisor_refuses_is_tried_less_and_less_often)
{
    struct ev_timer *again = &world.deployd.deliveries.again;
    double before = 0;
    waits(1);
    for (int i = 0; i < 10; i++) {
        vault_answers(STATUS_OK, NULL);
        supervisor_takes(&method_supervisor_deliver, STATUS_INTERNAL);
        cr_assert(ev_is_active(again));
        double remaining = ev_timer_remaining(world.deployd.loop, again);
        cr_assert_geq(remaining, before - 1);
        cr_assert_leq(remaining, 301);
        before = remaining;
        ev_timer_stop(world.deployd.loop, again);
        ev_feed_event(world.deployd.loop, again, EV_TIMER);
        ev_invoke_pending(world.deployd.loop);
        deliveries_step(&world.deployd);
    }
    cr_assert_gt(before, 290);
}

Test(deliveries, one_that_waits_for_nothing_any_more_is_given_nothing)
{
    waits(1);
    world.service->state = SERVICE_stopping;
    vault_answers(STATUS_OK, NULL);
    cr_assert_not(world.was_passed, "it was killed meanwhile");
    cr_assert_eq(world.deployd.deliveries.running, 0);
    waits(2);
    world.service->secret_request = 3; /* another start */
    vault_answers(STATUS_OK, NULL);
    cr_assert_not(world.was_passed);
    cr_assert_eq(count_asked(&method_secret_deliver), 1, "asked anew");
}

/* The next supervisor says in its rows who waits. */
Test(deliveries, with_its_supervisor_what_was_handed_over_is_forgotten)
{
    waits(1);
    vault_answers(STATUS_OK, NULL);
    deliveries_cut(&world.deployd, world.tenant);
    cr_assert_eq(world.deployd.deliveries.running, 0);
    waits(1);
    vault_answers(STATUS_OK, NULL);
    supervisor_takes(&method_supervisor_deliver, STATUS_OK);
    waits(2);
    deliveries_cut(&world.deployd, world.tenant); /* vaultd's answer is still to come */
    cr_assert_eq(world.deployd.deliveries.running, 1);
    world.tenant->supervisor.state = SUPERVISOR_GREETING;
    world.was_passed = false;
    vault_answers(STATUS_OK, NULL);
    cr_assert_not(world.was_passed);
    cr_assert_eq(world.deployd.deliveries.running, 0);
}

Test(deliveries, who_cannot_be_asked_is_asked_later)
{
    world.refuses = STATUS_UNAVAILABLE;
    waits(1);
    cr_assert_eq(world.deployd.deliveries.running, 0);
    cr_assert(ev_is_active(&world.deployd.deliveries.again));
    world.refuses = STATUS_OK;
    ev_feed_event(world.deployd.loop, &world.deployd.deliveries.again, EV_TIMER);
    ev_invoke_pending(world.deployd.loop);
    deliveries_step(&world.deployd);
    cr_assert_eq(count_asked(&method_secret_deliver), 1);
    cr_assert_eq(count_asked(&method_secret_await), 1);
}

static void on_checked(void *context, enum status status, const struct problem *problem,
                       const void *reply)
{
    (void)context, (void)status, (void)problem, (void)reply;
}

Test(deliveries, asking_first_gives_nothing)
{
    cr_assert_eq(
        deliveries_ask(&world.deployd, world.service, 7, (struct span){ 0 }, on_checked, NULL),
        STATUS_OK);
    cr_assert(take(world.vault, &world.vault_count, &method_secret_deliver).check_only);
    AUTO(buffer_close) struct buffer packed = { .limit = 1 << 16 };
    pack_spec("{\"tenant\": \"acme\", \"name\": \"api\", \"argv\": [\"/bin/p\"]}", &packed);
    cr_assert_eq(
        deliveries_ask(&world.deployd, world.service, 0, buffer_span(&packed), on_checked, NULL),
        STATUS_NOT_FOUND, "it names none");
    cr_assert_eq(world.vault_count, 0);
}
