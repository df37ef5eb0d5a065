/* What an operation does from its turn in the queue until its event is in the log. The normal path
 * of a deploy: is it new, is it allowed here and now, is its program there, is its tenant in the
 * log, does it build, can its secrets be had; then service_deployed is appended. A kill is appended
 * first of all, a restart when its program is there. Starting and stopping what the log (does not)
 * want has nothing to append and goes straight on. */
#include "deployd/operation_commit.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "deployd/admission.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"
#include "deployd/operation_act.h"
#include "deployd/operation_build.h"
#include "deployd/operation_checks.h"
#include "deployd/operation_outcome.h"
#include "deployd/operation_start.h"
#include "deployd/operation_trial.h"
#include "deployd/quota.h"
#include "deployd/supervisors.h"
#include "deployd/tenants.h"

enum { PREPARED_MAX = 4 /* deploys under way at once */ };

static void refuse(struct operation *operation, enum status status)
{
    operation_end(operation, status);
}

static void on_committed(void *context, enum status status, const struct problem *problem,
                         const void *reply);

static const char *name_of(const struct operation *operation)
{
    return operation->kind == OPERATION_KILL      ? "the kill"
           : operation->kind == OPERATION_RESTART ? "the restart"
                                                  : "the deploy";
}

static void on_prepared(void *context, enum status status, const struct problem *problem,
                        const void *reply)
{
    (void)context, (void)status, (void)problem, (void)reply;
    /* Nothing to do: what could not be made says so when it is started. */
}

static void ask_to_prepare(const struct operation *operation, bool is_refused)
{
    struct service *service = operation->service;
    const struct supervisor_prepare_request request = { .name = service_name(service),
                                                        .is_refused = is_refused };
    (void)supervisor_call(&service->tenant->supervisor, &method_supervisor_prepare, &request,
                          SUPERVISOR_WAIT_MS_MAX, on_prepared, NULL);
}

/* While the disk has the commit, the service's supervisor does what it can beforehand: comes up, or
 * makes folder and cgroup of a service that is new. Among many deploys it has other things to do.
 */
static void prepare_meanwhile(struct operation *operation)
{
    const struct service *service = operation->service;
    struct supervisor *supervisor = &service->tenant->supervisor;
    if (!supervisor->is_ending)
        supervisor_need(supervisor);
    operation->is_prepared = supervisor->state == SUPERVISOR_READY && !supervisor->is_silent &&
                             !service->is_held && operation->owner->operations <= PREPARED_MAX;
    if (operation->is_prepared)
        ask_to_prepare(operation, false);
}

/* A deploy that was not recorded leaves nothing behind. What was recorded though nobody could say
 * so has its folder made again by its start, which comes after this on the same connection. */
static void take_back_prepared(const struct operation *operation)
{
    if (operation->is_prepared && operation->service->tenant->supervisor.state == SUPERVISOR_READY)
        ask_to_prepare(operation, true);
}

static void not_sent(struct operation *operation, enum status status)
{
    take_back_prepared(operation);
    refuse(operation, append_problem(status, NULL, name_of(operation), &operation->problem));
}

static void commit(struct operation *operation, struct event_append_request *request)
{
    if (operation->has_request_id)
        request->body_hash = operation->body_hash;
    enum status status = append_send(operation->owner, request, &operation->request_id,
                                     APPEND_TIMEOUT_MS, on_committed, operation);
    if (status != STATUS_OK)
        not_sent(operation, status);
}

static void on_batch_committed(void *context, enum status status, const struct problem *problem,
                               const void *reply)
{
    const struct event_append_batch_reply *batch = reply;
    struct event_append_reply deployed = { 0 };
    if (status == STATUS_OK)
        deployed = (struct event_append_reply){ .event_id = batch->last_id,
                                                .is_repeat = batch->is_repeat };
    on_committed(context, status, problem, &deployed);
}

static void commit_deploy(struct operation *operation)
{
    AUTO(buffer_close) struct buffer payload = { .limit = EVENT_PAYLOAD_BYTES_MAX };
    char subject[SUBJECT_BYTES];
    bool ends_trial;
    const struct live_row *wanted = &operation->service->wanted;
    if (operation_ends_trial(operation, &ends_trial) != STATUS_OK) {
        refuse(operation, problem_set(&operation->problem, STATUS_UNAVAILABLE, "",
                                      "the event log cannot be read"));
        return;
    }
    operation_move(operation, OPERATION_COMMITTING);
    write_map(&payload, 3);
    write_str(&payload, "spec");
    write_object(&payload, operation->spec);
    write_str(&payload, "spec_hash");
    write_bin(&payload, span_of(operation->spec_hash.bytes, HASH_BYTES));
    write_str(&payload, "previous");
    write_u64(&payload, ends_trial ? wanted->previous : wanted->generation);
    if (payload.is_exhausted) {
        refuse(operation, problem_set(&operation->problem, STATUS_RESOURCE_EXHAUSTED, "",
                                      "the spec does not fit into an event of %d bytes",
                                      (int)EVENT_PAYLOAD_BYTES_MAX));
        return;
    }
    struct event_append_request request =
        append_about_service(EVENT_service_deployed, operation->service, subject, &payload);
    request.intent = "service.deploy";
    fault_point("deployd.before_append");
    prepare_meanwhile(operation);
    if (!ends_trial) {
        commit(operation, &request);
        return;
    }
    enum status status = operation_commit_over_trial(operation, &request, on_batch_committed);
    if (status != STATUS_OK)
        not_sent(operation, status);
}

/* A kill, or the wish for a restart: all that it says is about which generation. */
static void commit_request(struct operation *operation, enum event_type type, const char *intent)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 1024 };
    char subject[SUBJECT_BYTES];
    operation_move(operation, OPERATION_COMMITTING);
    write_map(&payload, 1);
    write_str(&payload, "generation");
    write_u64(&payload, operation->generation);
    struct event_append_request request =
        append_about_service(type, operation->service, subject, &payload);
    request.intent = intent;
    commit(operation, &request);
}

static void deploy_committed(struct operation *operation)
{
    struct service *service = operation->service;
    operation->generation = operation->event_id;
    operation->owner->counters.deploys += operation->is_repeat ? 0 : 1;
    free((void *)operation->spec.data); /* from now on it is read from the log */
    operation->spec = (struct span){ 0 };
    quota_look(operation->owner, service->tenant, operation->event_id);
    if (service->wanted.generation != operation->generation) {
        operation_answer_from_log(operation);
        return;
    }
    operation->since = service->wanted.since;
    operation_await_supervisor(operation);
}

static void kill_committed(struct operation *operation)
{
    operation->owner->counters.kills += operation->is_repeat ? 0 : 1;
    quota_look(operation->owner, operation->service->tenant, operation->event_id);
    if (operation->service->wanted.generation != 0) {
        /* Deployed again since: the kill was carried out then. */
        operation_end(operation, STATUS_OK);
        return;
    }
    if (operation->service->is_failed_deploy) {
        catalog_forget_failure(&operation->owner->catalog, operation->service);
        operation_end(operation, STATUS_OK); /* nothing holds it */
        return;
    }
    operation->service->was_killed = true;
    operation_await_supervisor(operation);
}

/* A repeat finds out whether it was carried out: in the log, and from the supervisor, which knows
 * what it has done for which event. */
static void restart_committed(struct operation *operation)
{
    struct service *service = operation->service;
    char subject[SUBJECT_BYTES];
    bool is_done = false;
    enum status status = STATUS_OK;
    subject_of_service(subject, service->tenant->name, service_name(service));
    if (operation->is_repeat)
        status = event_map_was_started_for(&operation->owner->map, subject, operation->event_id,
                                           &is_done);
    if (status != STATUS_OK) {
        refuse(operation, problem_set(&operation->problem, STATUS_UNKNOWN, "",
                                      "whether %s was restarted cannot be read from the log; "
                                      "repeat with the same request_id",
                                      service->key));
        return;
    }
    operation->since = service->wanted.since;
    if (is_done)
        operation_end(operation, STATUS_OK);
    else if (service->wanted.generation != operation->generation)
        operation_superseded(operation);
    else
        operation_await_supervisor(operation);
}

/* Its event is in the log. */
static void committed(struct operation *operation)
{
    enum status status = deployd_refresh(operation->owner, operation->service);
    if (status != STATUS_OK) {
        /* Whether it was deployed again since is seen when the log can be read. */
        operation->service->was_killed =
            operation->service->was_killed || operation->kind == OPERATION_KILL;
        deployd_look_again(operation->owner);
        refuse(operation,
               problem_set(&operation->problem, STATUS_UNKNOWN, "",
                           "event %llu is in the log, which cannot be read (%s); repeat "
                           "with the same request_id",
                           (unsigned long long)operation->event_id, status_text(status)));
    } else if (operation->kind == OPERATION_KILL) {
        kill_committed(operation);
    } else if (operation->kind == OPERATION_RESTART) {
        restart_committed(operation);
    } else {
        deploy_committed(operation);
    }
}

static void on_committed(void *context, enum status status, const struct problem *problem,
                         const void *reply)
{
    struct operation *operation = context;
    struct deployd *deployd = operation->owner;
    const struct event_append_reply *appended = reply;
    if (status != STATUS_OK) {
        take_back_prepared(operation);
        append_problem(status, problem, name_of(operation), &operation->problem);
        if (operation->problem.code == STATUS_UNKNOWN) {
            operation->service->was_killed |= operation->kind == OPERATION_KILL;
            deployd_look_again(deployd);
        }
        operation_end(operation, operation->problem.code);
        return;
    }
    operation->event_id = appended->event_id;
    operation->is_repeat = operation->is_repeat || appended->is_repeat;
    if (!operation->is_repeat && operation->kind == OPERATION_DEPLOY)
        fault_point("deployd.after_append");
    if (!operation->is_repeat && operation->kind == OPERATION_KILL)
        fault_point("deployd.after_kill_append");
    if (!operation->is_repeat && operation->kind == OPERATION_RESTART)
        fault_point("deployd.after_restart_append");
    committed(operation);
}

/* Whether this very request stands in the log already. */
static enum status find_repeat(struct operation *operation)
{
    struct request_record found;
    if (!operation->has_request_id)
        return STATUS_OK;
    TRY(event_map_request(&operation->owner->map, operation->service->tenant->name,
                          &operation->request_id, &operation->body_hash, &found,
                          &operation->problem));
    if (found.event_id == 0)
        return STATUS_OK;
    operation->is_repeat = true;
    operation->event_id = found.event_id;
    operation->generation = found.generation;
    return STATUS_OK;
}

static bool is_unchanged(const struct operation *operation)
{
    struct problem problem;
    return operation->only_if_changed &&
           service_has_spec(operation->service, &operation->spec_hash) &&
           operation_check_proven(operation, &problem) == STATUS_OK;
}

/* Who waits for it is answered when it is ready, or has failed, as who deployed it is. */
static void leave_unchanged(struct operation *operation)
{
    const struct service *service = operation->service;
    operation->is_unchanged = operation->is_repeat = true;
    operation->event_id = operation->generation = service->wanted.generation;
    operation->since = service->wanted.since;
    bool may_become_ready = service->state == SERVICE_starting || service->state == SERVICE_backoff;
    if (operation->wait && may_become_ready)
        operation_await_supervisor(operation);
    else
        operation_end(operation, STATUS_OK);
}

/* Those that wait for it go on in their queues' next step, or are refused. */
static void on_tenant_created(struct tenant *tenant, const struct problem *refusal)
{
    for (struct service *service = tenant->services; service != NULL; service = service->next) {
        struct operation *first = service->queue;
        if (first == NULL || first->state != OPERATION_TENANT)
            continue;
        if (refusal == NULL) {
            catalog_mark(&first->owner->catalog, service);
            continue;
        }
        first->problem = *refusal;
        operation_end(first, refusal->code);
    }
}

/* What was allowed before its build, or before vaultd was asked, is allowed still. */
static void commit_prepared(struct operation *operation)
{
    if (operation->is_killed) {
        operation_build_killed(operation);
        return;
    }
    enum status status = deployd_refresh(operation->owner, operation->service);
    if (status == STATUS_OK)
        status = operation_check_event(operation);
    if (status != STATUS_OK)
        refuse(operation, status);
    else
        commit_deploy(operation);
}

/* Everything that may refuse it has been asked, but for its build and its secrets. */
static void prepared(struct operation *operation)
{
    if (spec_has_build(operation->spec) && !operation->is_built)
        operation_await_supervisor(operation);
    else
        operation_ask_for_secrets(operation, commit_prepared);
}

static void deploy_begin(struct operation *operation)
{
    struct service *service = operation->service;
    struct deployd *deployd = operation->owner;
    enum status status = operation_check_event(operation);
    if (status == STATUS_OK && is_unchanged(operation)) {
        leave_unchanged(operation);
        return;
    }
    if (status == STATUS_OK)
        status = operation_check_supervisor(operation);
    if (status == STATUS_OK)
        status = admission_program(deployd, operation->spec, &operation->problem);
    if (status == STATUS_OK)
        status = quota_check(deployd, service->tenant->name, service, operation->spec, true,
                             &operation->problem);
    if (status != STATUS_OK) {
        refuse(operation, status);
        return;
    }
    if (service->tenant->is_recorded) {
        prepared(operation);
        return;
    }
    operation_move(operation, OPERATION_TENANT);
    tenant_create(deployd, service->tenant, on_tenant_created);
}

/* A deploy before it that is being built, or waits for that, is ended with the service that it
 * would replace, or be: its event would come after the kill's. */
static bool overtake_build(const struct operation *kill)
{
    bool is_found = false;
    for (struct operation *before = kill->service->queue; before != kill; before = before->next)
        if (operation_is_uncommitted(before))
            is_found = before->is_killed = true;
    return is_found;
}

static void kill_begin(struct operation *operation)
{
    struct service *service = operation->service;
    bool is_being_built = overtake_build(operation);
    if (!service_exists(service) && !is_being_built) {
        refuse(operation, problem_set(&operation->problem, STATUS_NOT_FOUND, "name",
                                      "there is no service %s", service->key));
        return;
    }
    operation->generation =
        service->wanted.generation != 0 ? service->wanted.generation : service->generation;
    fault_point("deployd.before_kill_append");
    commit_request(operation, EVENT_service_killed, "service.kill");
}

static void commit_restart(struct operation *operation)
{
    fault_point("deployd.before_restart_append");
    commit_request(operation, EVENT_service_restart_requested, "service.restart");
}

static void restart_begin(struct operation *operation)
{
    struct service *service = operation->service;
    enum status status;
    if (service->wanted.generation != 0)
        status = operation_check_restart(operation);
    else if (service_exists(service))
        status = problem_set(&operation->problem, STATUS_FAILED_PRECONDITION, "name",
                             "%s is %s and not wanted any more; deploy it again", service->key,
                             service_state_name(service->state));
    else
        status = problem_set(&operation->problem, STATUS_NOT_FOUND, "name",
                             "there is no service %s", service->key);
    if (status != STATUS_OK) {
        refuse(operation, status);
        return;
    }
    operation->generation = service->wanted.generation;
    operation_ask_for_secrets(operation, commit_restart);
}

static void operation_first_step(struct operation *operation)
{
    enum status status = STATUS_OK;
    if (operation->call != NULL && !operation->is_recovery)
        status = deployd_is_open(operation->owner, &operation->problem);
    if (status == STATUS_OK)
        status = deployd_refresh(operation->owner, operation->service);
    if (status == STATUS_OK)
        status = find_repeat(operation);
    if (status != STATUS_OK) {
        if (operation->problem.message[0] == '\0')
            problem_set(&operation->problem, status, "", "the event log cannot be read: %s",
                        status_text(status));
        refuse(operation, status);
        return;
    }
    if (operation->is_repeat) {
        operation_move(operation, OPERATION_COMMITTING); /* it was, by an earlier one of us */
        committed(operation);
        return;
    }
    switch (operation->kind) {
    case OPERATION_DEPLOY:
        deploy_begin(operation);
        break;
    case OPERATION_KILL:
        kill_begin(operation);
        break;
    case OPERATION_RESTART:
        restart_begin(operation);
        break;
    case OPERATION_START:
    case OPERATION_STOP:
        if (operation_is_due(operation))
            operation_await_supervisor(operation);
        else
            operation_superseded(operation);
        break;
    }
}

void operation_step(struct operation *operation)
{
    switch (operation->state) {
    case OPERATION_QUEUED:
        operation_first_step(operation);
        break;
    case OPERATION_TENANT:
        if (operation->service->tenant->is_recorded)
            prepared(operation);
        break;
    case OPERATION_SUPERVISOR:
        operation_supervisor_step(operation);
        break;
    case OPERATION_BUILDING:
        if (operation->is_built && operation_is_uncommitted(operation))
            prepared(operation);
        break;
    case OPERATION_REPORTING:
        operation_reporting_step(operation);
        break;
    default:
        break; /* an answer is on its way */
    }
}
