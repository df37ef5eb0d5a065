/* Packs what is known about a service. */
#include "tenantd/service_row.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/ensure.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "tenantd/service_readiness.h"
#include "tenantd/supervisor.h"

enum {
    EXIT_ROW_BYTES_MAX = REASON_BYTES_MAX + EXIT_OUTPUT_BYTES_MAX + 128,
    EXITS_BYTES_MAX = EXITS_KEPT * EXIT_ROW_BYTES_MAX,
    PAYLOAD_BYTES_MAX = 4096 + SPEC_SECRETS_MAX * (NAME_BYTES_MAX + 16),
};
_Static_assert((int)PAYLOAD_BYTES_MAX <= (int)SUPERVISOR_REPORT_BYTES_MAX - 1024,
               "deployd takes such a report");
_Static_assert((int)SERVICE_ROW_BYTES_MAX > (int)EXITS_BYTES_MAX + 2048, "a row holds its exits");

static void exits_write(const struct service *service, struct buffer *buffer)
{
    size_t count = 0;
    while (count < EXITS_KEPT && service->exits[count] != NULL)
        count++;
    write_array(buffer, count);
    for (size_t i = 0; i < count; i++)
        write_object(buffer, span_of(service->exits[i]->packed, service->exits[i]->size));
}

void service_row_write(const struct service *service, struct buffer *buffer)
{
    const struct supervisor *supervisor = service->supervisor;
    AUTO(buffer_close) struct buffer exits = { .limit = EXITS_BYTES_MAX };
    char mark[200], limits[LIMITS_TEXT_BYTES];
    const struct launch_identity identity = { service->name, service->generation, service->nonce };
    static const struct spec_limits none;
    const struct usage_now *now = &service->usage.now;
    /* Limits of what is not looked at (yet) would look as if nothing of them were used. */
    const struct spec_limits *allowed =
        service->usage.looked_ns != 0 ? &service->launch->limits : &none;
    if (service->exits[0] != NULL)
        exits_write(service, &exits);
    const struct service_row row = {
        .tenant = supervisor->site->tenant,
        .name = service->name,
        .state = service_state_name(service->state),
        .reason = service->reason,
        .generation = service->generation,
        .since = service->since,
        .pid = service->host_pid,
        .start_ticks = service->start_ticks,
        .started_ns = service->pid != 0 ? service->started_wall_ns : 0,
        .restarts = service->restarts,
        .due_ns = service->due_wall_ns,
        .is_ready = service->state == SERVICE_running,
        .is_trial_over = service->state == SERVICE_failed && service->is_on_trial,
        .spec_hash = service->spec_hash,
        .instance = service->pid != 0 ? launch_mark(mark, supervisor->site, &identity) : "",
        .limits = service->launch == NULL || service->pid == 0
                      ? ""
                      : limits_text(limits, &service->launch->limits, &service->launch->held),
        .memory_bytes = now->memory_bytes,
        .memory_max = allowed->memory_bytes,
        .tasks = now->tasks,
        .tasks_max = allowed->tasks,
        .cpu_milli = now->cpu_milli,
        .cpu_milli_max = allowed->cpu_milli,
        .is_usage_high = service->usage.is_watched && usage_is_high(&service->usage),
        .breaches = service->breaches,
        .breach = service->last_breach,
        .exits = exits.is_exhausted ? span_of(NULL, 0) : buffer_span(&exits),
        .secret_request = service->secret_request,
        .boot_id = supervisor->boot_id,
    };
    fields_encode(&record_service_row, &row, buffer);
}

char *exit_text(char text[EXIT_TEXT_BYTES], const struct service *service, const char *when)
{
    const struct limits_breach *breach = &service->breach;
    int exit_status = service->exit_status;
    const char *parting = breach->text[0] == '\0' ? "" : "; ";
    const char *signal = WIFSIGNALED(exit_status) ? signal_text(WTERMSIG(exit_status)) : "";
    bool is_number = signal[0] >= '0' && signal[0] <= '9';
    if (breach->is_killed)
        snprintf(text, EXIT_TEXT_BYTES, "was %s%s", breach->text, when);
    else if (!WIFSIGNALED(exit_status))
        snprintf(text, EXIT_TEXT_BYTES, "exited with code %d%s%s%s", WEXITSTATUS(exit_status), when,
                 parting, breach->text);
    else
        snprintf(text, EXIT_TEXT_BYTES, "was killed by %s%s%s%s%s", is_number ? "signal " : "SIG",
                 signal, when, parting, breach->text);
    return text;
}

static struct past_exit *exit_copy(struct span packed)
{
    struct past_exit *kept = malloc(sizeof *kept + packed.size);
    if (kept != NULL) {
        kept->size = packed.size;
        memcpy(kept->packed, packed.data, packed.size);
    }
    return kept;
}

void service_exit_keep(struct service *service)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = EXIT_ROW_BYTES_MAX };
    char text[EXIT_TEXT_BYTES], output[EXIT_OUTPUT_BYTES_MAX + 1];
    char reason[EXIT_TEXT_BYTES + 40], unready[40] = "", timeout[DURATION_TEXT_BYTES];
    bool is_signalled = WIFSIGNALED(service->exit_status);
    /* Who ended it is said: its own signal in the list would look like somebody else's. */
    bool is_unready = service_readiness_is_over(service);
    if (is_unready)
        snprintf(unready, sizeof unready, "was not ready within %s; ",
                 duration_text(timeout, service->launch->ready.timeout_ms));
    const char *when = !service->is_stop_wanted && !is_unready ? ""
                       : service->was_killed                   ? ", its grace was over"
                                                               : " when asked to stop";
    snprintf(reason, sizeof reason, "%s%s", unready, exit_text(text, service, when));
    const struct exit_row row = {
        .wall_ns = clock_wall_ns(),
        .ran_ms = service->ran_ns / NS_PER_MS,
        .code = is_signalled ? 0 : WEXITSTATUS(service->exit_status),
        .signal = is_signalled ? (uint64_t)WTERMSIG(service->exit_status) : 0,
        .reason = reason,
        .output = output_tail_text(&service->capture.tail, output),
    };
    fields_encode(&record_exit_row, &row, &buffer);
    struct past_exit *kept = buffer.is_exhausted ? NULL : exit_copy(buffer_span(&buffer));
    if (kept == NULL)
        return;
    free(service->exits[EXITS_KEPT - 1]);
    memmove(service->exits + 1, service->exits, (EXITS_KEPT - 1) * sizeof service->exits[0]);
    service->exits[0] = kept;
}

void service_past_take(struct service *service, struct span packed,
                       char reason[REASON_BYTES_MAX + 1])
{
    AUTO(arena_close) struct arena arena = { .limit = FRAME_BYTES_SMALL };
    struct service_row row = { 0 };
    struct problem problem = { 0 };
    struct span exit;
    uint32_t count = 0;
    reason[0] = '\0';
    if (fields_decode(&record_service_row, packed, &arena, &row, &problem) != STATUS_OK) {
        log_warning("what was parked cannot be read, and is started", "service", service->name,
                    "field", problem.field, "reason", problem.message);
        return;
    }
    snprintf(reason, REASON_BYTES_MAX + 1, "%s", row.reason);
    service->restarts = row.restarts;
    service->breaches = row.breaches;
    snprintf(service->last_breach, sizeof service->last_breach, "%s", row.breach);
    struct reader exits = reader_of(row.exits);
    if (row.exits.size == 0 || reader_array(&exits, &count) != STATUS_OK)
        return;
    for (uint32_t i = 0; i < count && i < EXITS_KEPT; i++) {
        free(service->exits[i]);
        service->exits[i] = reader_any(&exits, &exit) == STATUS_OK ? exit_copy(exit) : NULL;
    }
}

static const char *stop_cause_name(enum stop_cause cause)
{
    static const char *const names[] = {
        [STOP_KILL] = "kill",       [STOP_REPLACE] = "replace", [STOP_SHUTDOWN] = "shutdown",
        [STOP_RECOVER] = "recover", [STOP_RESTART] = "restart",
    };
    return names[cause];
}

static void exit_write(const struct service *service, struct buffer *buffer)
{
    char text[EXIT_TEXT_BYTES];
    bool is_signalled = WIFSIGNALED(service->exit_status);
    write_str(buffer, is_signalled ? "signal" : "code");
    write_u64(buffer, (uint64_t)(is_signalled ? WTERMSIG(service->exit_status)
                                              : WEXITSTATUS(service->exit_status)));
    write_str(buffer, "exit");
    write_str(buffer, exit_text(text, service, ""));
    write_str(buffer, "ran_ms");
    write_u64(buffer, service->ran_ns / NS_PER_MS);
    if (service->breach.limit != NULL) {
        write_str(buffer, "limit");
        write_str(buffer, service->breach.limit);
    }
}

/* No output: a secret that a service prints must not get into the log. */
uint64_t service_report(struct service *service, const char *type, uint64_t causation_id,
                        unsigned parts)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    bool has_exit = (parts & REPORT_WITH_EXIT) != 0, has_stop = (parts & REPORT_WITH_STOP) != 0;
    unsigned exit_fields = service->breach.limit != NULL ? 4 : 3;
    bool has_secrets = (parts & REPORT_WITH_SECRETS) != 0 && service->credentials.versions.size > 0;
    write_map(&payload, 3u + (service->host_pid != 0 ? 1 : 0) + (has_exit ? exit_fields : 0) +
                            (has_stop ? 2 : 0) + (has_secrets ? 1 : 0));
    write_str(&payload, "generation");
    write_u64(&payload, service->generation);
    write_str(&payload, "restarts");
    write_u64(&payload, service->restarts);
    write_str(&payload, "reason");
    write_str(&payload, service->reason);
    if (service->host_pid != 0) {
        write_str(&payload, "pid");
        write_u64(&payload, service->host_pid);
    }
    if (has_secrets) {
        write_str(&payload, "secrets");
        write_object(&payload, buffer_span(&service->credentials.versions));
    }
    if (has_exit)
        exit_write(service, &payload);
    if (has_stop) {
        write_str(&payload, "cause");
        write_str(&payload, stop_cause_name(service->stop_cause));
        write_str(&payload, "was_killed");
        write_bool(&payload, service->was_killed);
    }
    const struct report_content content = {
        .type = type,
        .name = service->name,
        .generation = service->generation,
        .since = service->since,
        .causation_id = causation_id,
        .payload = buffer_span(&payload),
        .is_folding = strcmp(type, "service_completed") == 0,
    };
    ensure(!payload.is_exhausted);
    return reports_add(&service->supervisor->reports, &content);
}

void service_report_usage(struct service *service, const char *resource, uint64_t used,
                          uint64_t allowed)
{
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_BYTES_MAX };
    write_map(&payload, 4);
    write_str(&payload, "generation");
    write_u64(&payload, service->generation);
    write_str(&payload, "resource");
    write_str(&payload, resource);
    write_str(&payload, "used");
    write_u64(&payload, used);
    write_str(&payload, "allowed");
    write_u64(&payload, allowed);
    const struct report_content content = {
        .type = "resource_usage_high",
        .name = service->name,
        .generation = service->generation,
        .since = service->since,
        .causation_id = service->generation,
        .payload = buffer_span(&payload),
    };
    reports_add(&service->supervisor->reports, &content);
}

uint64_t service_start_report(const struct service *service)
{
    uint64_t number = service->start_report;
    return reports_is_kept(&service->supervisor->reports, number) ? number : 0;
}

static struct rpc_call *calls_pop(struct rpc_call **calls)
{
    struct rpc_call *call = *calls;
    if (call != NULL)
        *calls = call->user;
    return call;
}

void service_answer_rows(struct service *service, struct rpc_call **calls)
{
    if (*calls == NULL)
        return;
    AUTO(buffer_close) struct buffer row = { .limit = SERVICE_ROW_BYTES_MAX };
    service_row_write(service, &row);
    const struct supervisor_start_reply start = { .service = buffer_span(&row),
                                                  .report = service_start_report(service) };
    const struct supervisor_restart_reply restart = { .service = start.service,
                                                      .report = start.report };
    for (struct rpc_call *call; (call = calls_pop(calls)) != NULL;)
        rpc_call_reply(call, call->method == &method_supervisor_start ? (const void *)&start
                                                                      : (const void *)&restart);
}

void service_answer_stopped(struct service *service, struct rpc_call **calls)
{
    const struct supervisor_stop_reply reply = { .generation = service->generation,
                                                 .was_killed = service->was_running_at_stop &&
                                                               service->was_killed };
    for (struct rpc_call *call; (call = calls_pop(calls)) != NULL;)
        rpc_call_reply(call, &reply);
}

void calls_fail(struct rpc_call **calls, enum status status, const struct problem *problem)
{
    for (struct rpc_call *call; (call = calls_pop(calls)) != NULL;)
        rpc_call_fail(call, status, problem);
}
