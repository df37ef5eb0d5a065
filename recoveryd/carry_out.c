/* The real run. One connection to deployd, on a loop of our own: act_more starts as many actions as
 * may be in flight, on_acted takes an answer and calls it again, until nothing is left or the time
 * is over. A deployd that goes away in between is waited for: each call may be sent again, because
 * an action that was done is answered as done. */
#include "recoveryd/carry_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/base/run_folder.h"
#include "common/rpc/client.h"
#include "common/wire/writer.h"
#include "recoveryd/fair_order.h"
#include "recoveryd/identity.h"
#include "recoveryd/progress.h"

enum {
    CALL_MS_MAX = 10 * 1000,      /* begin and end */
    IN_FLIGHT_MS_MAX = 30 * 1000, /* past the time limit, for what was begun before it */
    TELL_MS = 100,                /* between two recovery.progress */
    NAMED_MAX = 64,               /* failures and findings named in the log */
    SUMMARY_BYTES_MAX = FRAME_BYTES_SMALL,
};

struct action {
    struct carry_out *owner;
    size_t place; /* in the plan */
    uint64_t began_ns;
};

struct carry_out {
    const struct picture *picture;
    const struct settings *settings;
    struct ev_loop *loop;
    struct rpc_client *client;
    uint64_t recovery_id;
    const uint64_t *causes; /* of each entry, in a repair; else NULL */
    uint64_t timeout_ms;
    struct outcome *outcomes; /* one per entry of the plan */
    struct action *actions;   /* one per entry that is carried out, in their order */
    size_t count, next, in_flight, done, failed;
    size_t *refused; /* actions that found no room at deployd: begun again, last in first out */
    size_t refused_count;
    size_t window;   /* how many may be in flight: shrinks when deployd has no room... */
    size_t answered; /* ...and grows by one when so many were answered since */
    bool is_cut;
    uint64_t began_ns;
    struct ev_timer deadline, tell;
    uint64_t told_done;
    struct progress progress;
};

static uint64_t elapsed_ms(uint64_t since_ns)
{
    return (clock_boottime_ns() - since_ns) / 1000000u;
}

/* Nobody there is said at once. Once it was sent it is sent again until there is an answer: deployd
 * knows it by its request_id. */
static enum status call(struct carry_out *run, const struct method *method, const void *request,
                        struct arena *arena, void *reply)
{
    struct uuid request_id = uuid_draw();
    struct problem problem = { 0 };
    struct rpc_call_options options = { .timeout_ms = CALL_MS_MAX, .request_id = &request_id };
    enum status status =
        rpc_client_call_wait(run->client, method, request, &options, arena, reply, &problem);
    if (status == STATUS_UNKNOWN) {
        options.flags = RPC_RETRY;
        status =
            rpc_client_call_wait(run->client, method, request, &options, arena, reply, &problem);
    }
    if (status != STATUS_OK)
        return log_failure(status, "call deployd", "method", method->name, "reason",
                           problem.message, "hint",
                           "only --dry-run, verify and log need no daemon");
    return STATUS_OK;
}

/* A recovery that was cut off has no event of its end: the next one's beginning tells how far it
 * came. */
static void write_plan_summary(const struct plan *plan, uint64_t last_event,
                               const struct recovery_cut *cut, struct buffer *map)
{
    write_map(map, PLAN_ACTIONS + 1 + (cut->event_id != 0 ? 4 : 0));
    for (int action = 0; action < PLAN_ACTIONS; action++)
        write_key_u64(map, plan_action_name((enum plan_action)action), plan->of[action]);
    write_key_u64(map, "last_event", last_event);
    if (cut->event_id == 0)
        return;
    write_key_u64(map, "cut_event", cut->event_id);
    write_key_u64(map, "cut_total", cut->total);
    write_key_u64(map, "cut_done", cut->done);
    write_key_u64(map, "cut_failed", cut->failed);
}

/* --- begin --- */

static enum status begin(struct carry_out *run)
{
    AUTO(buffer_close) struct buffer summary = { .limit = SUMMARY_BYTES_MAX };
    AUTO(arena_close) struct arena arena = { .limit = SUMMARY_BYTES_MAX };
    struct recovery_begin_reply reply = { 0 };
    write_plan_summary(&run->picture->plan, run->picture->log.last_event, &run->picture->cut,
                       &summary);
    struct recovery_begin_request request = { .plan = buffer_span(&summary) };
    TRY(call(run, &method_recovery_begin, &request, &arena, &reply));
    run->recovery_id = reply.event_id;
    return STATUS_OK;
}

/* What the plan already says cannot be recovered, or must wait, is an outcome too. Where deployd
 * has not found it out itself it is handed over all the same: its attempt leaves the reason in the
 * log and in the service's row, and takes the place of what is noted here. */
static void note_hopeless(struct carry_out *run)
{
    const struct plan *plan = &run->picture->plan;
    for (size_t i = 0; i < plan->count; i++) {
        struct outcome *outcome = &run->outcomes[i];
        if (plan->entries[i].action == PLAN_CANNOT_RECOVER)
            outcome->result = RESULT_FAILED;
        else if (plan->entries[i].action == PLAN_WAIT)
            outcome->result = RESULT_SKIPPED;
        else
            continue;
        snprintf(outcome->code, sizeof outcome->code, "%s", plan_code_name(plan->entries[i].code));
        snprintf(outcome->reason, sizeof outcome->reason, "%s", plan->entries[i].reason);
    }
}

static bool is_due(const struct carry_out *run, size_t place)
{
    return run->causes == NULL || (run->causes[place] != 0 &&
                                   run->picture->plan.entries[place].action != PLAN_CANNOT_RECOVER);
}

static enum status make_actions(struct carry_out *run)
{
    const struct plan *plan = &run->picture->plan;
    run->outcomes = calloc(plan->count + 1, sizeof *run->outcomes);
    run->actions = calloc(plan->count + 1, sizeof *run->actions);
    run->refused = calloc(plan->count + 1, sizeof *run->refused);
    run->window = run->settings->recovery_parallel;
    size_t *order = calloc(plan->count + 1, sizeof *order);
    enum status status =
        run->outcomes == NULL || run->actions == NULL || run->refused == NULL || order == NULL
            ? STATUS_RESOURCE_EXHAUSTED
            : fair_order(plan, order, &run->count);
    size_t ordered = run->count;
    run->count = 0;
    for (size_t i = 0; status == STATUS_OK && i < ordered; i++)
        if (is_due(run, order[i]))
            run->actions[run->count++] = (struct action){ .owner = run, .place = order[i] };
    free(order);
    if (status == STATUS_OK && run->causes == NULL)
        note_hopeless(run);
    return status;
}

static enum status open_run(struct carry_out *run, const struct options *options)
{
    char path[4096];
    TRY(make_actions(run));
    TRY(run_socket_path(path, run->settings->run_dir, "deployd"));
    run->loop = ev_loop_new(EVFLAG_AUTO);
    if (run->loop == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    struct rpc_client_options client = { .path = path };
    identity_set(&client);
    TRY(rpc_client_open(&run->client, run->loop, &client));
    run->began_ns = clock_boottime_ns();
    if (run->causes == NULL)
        TRY(begin(run));
    fault_point("recoveryd.after_begin");
    progress_open(&run->progress, options->progress, run->count);
    return STATUS_OK;
}

enum status carry_out_open_repair(struct carry_out **carry_out, const struct settings *settings,
                                  const struct options *options, const struct picture *picture,
                                  const uint64_t *causes)
{
    struct carry_out *run = calloc(1, sizeof *run);
    if (run == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    run->picture = picture;
    run->settings = settings;
    run->causes = causes;
    run->timeout_ms = options->has_timeout ? options->timeout_ms : settings->recovery_timeout_ms;
    enum status status = open_run(run, options);
    if (status != STATUS_OK)
        carry_out_close(&run);
    *carry_out = run;
    return status;
}

enum status carry_out_open(struct carry_out **carry_out, const struct settings *settings,
                           const struct options *options, const struct picture *picture)
{
    return carry_out_open_repair(carry_out, settings, options, picture, NULL);
}

/* --- acting --- */

static void act_more(struct carry_out *run);

static bool is_over(const struct carry_out *run)
{
    return run->in_flight == 0 &&
           (run->is_cut || (run->next == run->count && run->refused_count == 0));
}

static void end_action(struct carry_out *run, const struct action *action)
{
    struct outcome *outcome = &run->outcomes[action->place];
    outcome->took_ms = elapsed_ms(action->began_ns);
    run->in_flight--;
    run->done++;
    run->failed += outcome->result == RESULT_FAILED ? 1 : 0;
    if (run->window < run->settings->recovery_parallel && ++run->answered >= run->window) {
        run->window++;
        run->answered = 0;
    }
    act_more(run);
}

/* deployd had no room and has done nothing. With others in flight their answers make room; alone,
 * the timer tries again. */
static void take_back(struct carry_out *run, const struct action *action)
{
    run->refused[run->refused_count++] = (size_t)(action - run->actions);
    run->in_flight--;
    run->window = run->in_flight > 0 ? run->in_flight : 1;
    run->answered = 0;
    if (is_over(run))
        ev_break(run->loop, EVBREAK_ALL);
}

static void on_acted(void *context, enum status status, const struct problem *problem,
                     const void *typed_reply)
{
    const struct action *action = context;
    const struct recovery_act_reply *reply = typed_reply;
    struct outcome *outcome = &action->owner->outcomes[action->place];
    if (status == STATUS_RESOURCE_EXHAUSTED) {
        take_back(action->owner, action);
        return;
    }
    if (status != STATUS_OK) {
        /* The supervisor may still do it: the verification and the next run see what came of it. */
        outcome->result = RESULT_FAILED;
        snprintf(outcome->code, sizeof outcome->code, "%s", status_name(status));
        snprintf(outcome->reason, sizeof outcome->reason, "%.200s",
                 problem == NULL ? status_text(status) : problem->message);
    } else {
        outcome->result = result_parse(reply->result);
        snprintf(outcome->code, sizeof outcome->code, "%s", reply->code);
        snprintf(outcome->reason, sizeof outcome->reason, "%s", reply->reason);
        outcome->pid = reply->pid;
        if (outcome->result == RESULTS) {
            outcome->result = RESULT_FAILED;
            snprintf(outcome->reason, sizeof outcome->reason, "deployd answered \"%.32s\"",
                     reply->result);
        }
    }
    end_action(action->owner, action);
}

static enum status act(struct carry_out *run, struct action *action)
{
    const struct plan_entry *entry = &run->picture->plan.entries[action->place];
    bool is_stop = entry->action == PLAN_STOP, is_hopeless = entry->action == PLAN_CANNOT_RECOVER;
    struct recovery_act_request request = {
        .tenant = entry->tenant,
        .name = entry->name,
        .action = plan_action_name(is_hopeless ? PLAN_START : entry->action),
        .generation = entry->generation,
        .since = is_stop ? 0 : entry->since,
        .recovery_id = run->causes == NULL ? run->recovery_id : run->causes[action->place],
    };
    uint64_t used_ms = elapsed_ms(run->began_ns);
    struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms =
            (used_ms < run->timeout_ms ? run->timeout_ms - used_ms : 0) + IN_FLIGHT_MS_MAX,
        .on_reply = on_acted,
        .context = action,
    };
    action->began_ns = clock_boottime_ns();
    return rpc_client_call(run->client, &method_recovery_act, &request, &options, NULL);
}

/* The one that decides: begins what may be begun, ends the loop when nothing is left. */
static void act_more(struct carry_out *run)
{
    while (!run->is_cut && run->in_flight < run->window &&
           (run->refused_count > 0 || run->next < run->count)) {
        bool is_again = run->refused_count > 0;
        size_t i = is_again ? run->refused[run->refused_count - 1] : run->next;
        if (act(run, &run->actions[i]) != STATUS_OK)
            break; /* the client's queue is full: an answer makes room */
        run->refused_count -= is_again ? 1 : 0;
        run->next += is_again ? 0 : 1;
        run->in_flight++;
    }
    progress_show(&run->progress, run->done, run->failed);
    if (is_over(run))
        ev_break(run->loop, EVBREAK_ALL);
}

static void on_deadline(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct carry_out *run = timer->data;
    run->is_cut = run->next < run->count || run->refused_count > 0;
    act_more(run);
}

static void on_told(void *context, enum status status, const struct problem *problem,
                    const void *reply)
{
    /* How far it is was only for those who watch. */
    (void)context;
    (void)status;
    (void)problem;
    (void)reply;
}

static void on_tell(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct carry_out *run = timer->data;
    act_more(run);
    if (run->done == run->told_done)
        return;
    run->told_done = run->done;
    struct recovery_progress_request request = { .done = run->done, .total = run->count };
    struct rpc_call_options options = { .timeout_ms = CALL_MS_MAX, .on_reply = on_told };
    rpc_client_call(run->client, &method_recovery_progress, &request, &options, NULL);
}

static void run_loop(struct carry_out *run)
{
    ev_timer_init(&run->deadline, on_deadline, (double)run->timeout_ms / 1000, 0);
    ev_timer_init(&run->tell, on_tell, TELL_MS / 1000.0, TELL_MS / 1000.0);
    run->deadline.data = run;
    run->tell.data = run;
    run->is_cut = run->timeout_ms == 0 && run->count > 0;
    ev_timer_start(run->loop, &run->deadline);
    ev_timer_start(run->loop, &run->tell);
    act_more(run);
    if (!is_over(run))
        ev_run(run->loop, 0);
    ev_timer_stop(run->loop, &run->deadline);
    ev_timer_stop(run->loop, &run->tell);
}

static void skip(struct carry_out *run, const struct action *action)
{
    struct outcome *outcome = &run->outcomes[action->place];
    outcome->result = RESULT_SKIPPED;
    snprintf(outcome->code, sizeof outcome->code, "time_ran_out");
    snprintf(outcome->reason, sizeof outcome->reason, "the time for the recovery was over");
}

enum status carry_out_run(struct carry_out *run, struct report *report)
{
    run_loop(run);
    progress_close(&run->progress);
    for (size_t i = run->next; i < run->count; i++)
        skip(run, &run->actions[i]);
    for (size_t i = 0; i < run->refused_count; i++)
        skip(run, &run->actions[run->refused[i]]);
    report->outcomes = run->outcomes;
    for (size_t i = 0; i < run->picture->plan.count; i++)
        report->of[run->outcomes[i].result]++;
    report->is_cut = run->is_cut;
    report->took_ms = elapsed_ms(run->began_ns);
    return STATUS_OK;
}

/* --- end --- */

static void write_failures(const struct carry_out *run, struct buffer *map)
{
    const struct plan *plan = &run->picture->plan;
    size_t named = 0;
    for (size_t i = 0; i < plan->count; i++)
        named += run->outcomes[i].result == RESULT_FAILED ? 1 : 0;
    named = named > NAMED_MAX ? NAMED_MAX : named;
    write_str(map, "failures");
    write_array(map, named);
    for (size_t i = 0; named > 0; i++) {
        char key[SERVICE_KEY_BYTES];
        if (run->outcomes[i].result != RESULT_FAILED)
            continue;
        named--;
        write_map(map, 3);
        write_key_str(map, "service",
                      service_key(key, plan->entries[i].tenant, plan->entries[i].name));
        write_key_str(map, "code", run->outcomes[i].code);
        write_key_str(map, "reason", run->outcomes[i].reason);
    }
}

static void write_report(const struct carry_out *run, const struct report *report,
                         struct buffer *map)
{
    write_map(map, 10);
    write_key_str(map, "state", report->is_cut ? "cut" : "done");
    write_key_u64(map, "done", run->done);
    write_key_u64(map, "total", run->count);
    write_key_u64(map, "recovered", report->of[RESULT_RECOVERED]);
    write_key_u64(map, "stopped", report->of[RESULT_STOPPED]);
    write_key_u64(map, "failed", report->of[RESULT_FAILED]);
    write_key_u64(map, "skipped", report->of[RESULT_SKIPPED]);
    write_key_u64(map, "took_ms", report->took_ms);
    write_key_str(map, "exit_hint", report->is_cut ? "time ran out: run recoveryd again" : "");
    write_failures(run, map);
}

static void write_verification(const struct report *report, struct buffer *map)
{
    const struct findings *findings = report->findings;
    size_t named = findings->count > NAMED_MAX ? NAMED_MAX : findings->count;
    write_map(map, 3);
    write_key_u64(map, "checked", report->checked);
    write_key_u64(map, "found", findings->count);
    write_str(map, "inconsistencies");
    write_array(map, named);
    for (size_t i = 0; i < named; i++) {
        char key[SERVICE_KEY_BYTES];
        const struct finding *finding = &findings->items[i];
        write_map(map, 3);
        write_key_str(map, "service", service_key(key, finding->tenant, finding->name));
        write_key_str(map, "code", finding_code_name(finding->code));
        write_key_str(map, "reason", finding->reason);
    }
}

enum status carry_out_finish(struct carry_out *run, const struct report *report)
{
    AUTO(buffer_close) struct buffer summary = { .limit = SUMMARY_BYTES_MAX };
    AUTO(buffer_close) struct buffer verification = { .limit = SUMMARY_BYTES_MAX };
    AUTO(arena_close) struct arena arena = { .limit = SUMMARY_BYTES_MAX };
    struct recovery_end_reply reply = { 0 };
    write_report(run, report, &summary);
    if (report->is_verified)
        write_verification(report, &verification);
    struct recovery_end_request request = {
        .report = buffer_span(&summary),
        .verification = buffer_span(&verification),
        .recovery_id = run->recovery_id,
    };
    return call(run, &method_recovery_end, &request, &arena, &reply);
}

void carry_out_close(struct carry_out **carry_out)
{
    struct carry_out *run = *carry_out;
    if (run == NULL)
        return;
    if (run->client != NULL)
        rpc_client_close(&run->client);
    if (run->loop != NULL)
        ev_loop_destroy(run->loop);
    free(run->outcomes);
    free(run->actions);
    free(run->refused);
    free(run);
    *carry_out = NULL;
}
