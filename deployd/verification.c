/* An event is one append; an end is one signal, by way of a pidfd, so that no later process with
 * the same number can be hit. */
#include "deployd/verification.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/process_identity.h"
#include "common/wire/writer.h"
#include "deployd/append_about.h"
#include "deployd/appends.h"

enum { VERIFIED_BYTES_MAX = 256 };
static const char findings_text[] = "what the verification found";

static void on_recorded(void *context, enum status status, const struct problem *said,
                        const void *reply)
{
    struct rpc_call *call = context;
    const struct event_append_reply *appended = reply;
    if (status != STATUS_OK) {
        struct problem problem = { 0 };
        status = append_problem(status, said, findings_text, &problem);
        rpc_call_fail(call, status, &problem);
        return;
    }
    const struct verification_record_reply answer = { .event_id = appended->event_id };
    rpc_call_reply(call, &answer);
}

static void write_payload(const struct verification_record_request *request, struct buffer *payload)
{
    write_map(payload, 2);
    write_str(payload, "code");
    write_str(payload, request->code);
    write_str(payload, "finding");
    write_object(payload, request->finding);
}

enum status verification_record(struct deployd *deployd, struct rpc_call *call,
                                const struct verification_record_request *request)
{
    AUTO(buffer_close) struct buffer payload = { .limit = FRAME_BYTES_SMALL };
    char subject[SUBJECT_BYTES];
    TRY(deployd_is_open(deployd, &call->problem));
    write_payload(request, &payload);
    if (payload.is_exhausted)
        return problem_set(&call->problem, STATUS_RESOURCE_EXHAUSTED, "finding", "is over %d bytes",
                           (int)FRAME_BYTES_SMALL);
    bool is_fixed = request->found_id != 0;
    struct event_append_request append = append_about_system(
        is_fixed ? EVENT_inconsistency_fixed : EVENT_inconsistency_found, &payload);
    append.causation_id = request->found_id;
    append.intent = "verification.record";
    if (request->tenant[0] != '\0' && request->name[0] != '\0') {
        append.tenant = request->tenant;
        append.subject = subject_of_service(subject, request->tenant, request->name);
    }
    if (call->has_request_id)
        append.body_hash = call->body_hash;
    enum status status =
        append_send(deployd, &append, &call->request_id, APPEND_TIMEOUT_MS, on_recorded, call);
    if (status != STATUS_OK)
        return append_problem(status, NULL, findings_text, &call->problem);
    rpc_call_defer(call);
    return STATUS_OK;
}

/* --- what the last one found --- */

static void write_number(struct buffer *map, const char *key, uint64_t value)
{
    write_str(map, key);
    write_u64(map, value);
}

void verification_note(struct deployd *deployd, const struct verification_note_request *result)
{
    AUTO(buffer_close) struct buffer map = { .limit = VERIFIED_BYTES_MAX };
    write_map(&map, 6);
    write_number(&map, "at_ns", clock_wall_ns());
    write_number(&map, "exit_code", result->exit_code);
    write_number(&map, "checked", result->checked);
    write_number(&map, "found", result->found);
    write_number(&map, "took_ms", result->took_ms);
    write_str(&map, "full");
    write_bool(&map, result->is_full);
    registry_put_verified(&deployd->registry, buffer_span(&map));
}

void verification_write(struct deployd *deployd, struct buffer *map)
{
    uint8_t room[VERIFIED_BYTES_MAX];
    struct span verified = registry_verified(&deployd->registry, room, sizeof room);
    if (verified.size > 0)
        write_object(map, verified);
    else
        write_map(map, 0);
}

/* --- ending a process --- */

static bool is_held(const struct deployd *deployd, uint64_t pid)
{
    for (const struct service *service = deployd->catalog.services; service != NULL;
         service = service->hh.next)
        if (service->is_held && service->pid == pid)
            return true;
    return false;
}

static enum status gone(uint64_t pid, struct problem *problem)
{
    return problem_set(problem, STATUS_NOT_FOUND, "pid",
                       "%" PRIu64 " is gone, or another process has its number", pid);
}

enum status verification_end_process(struct deployd *deployd,
                                     const struct process_end_request *request,
                                     struct problem *problem)
{
    char prefix[2 * sizeof deployd->map.db.identity.id + 2], mark[PROCESS_MARK_BYTES];
    TRY(deployd_is_readable(deployd, problem));
    hex_text(prefix, deployd->map.db.identity.id, sizeof deployd->map.db.identity.id);
    strcat(prefix, "/");
    if (request->pid == 0 || request->pid > INT32_MAX ||
        strncmp(request->instance, prefix, strlen(prefix)) != 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "instance",
                           "is no mark of this Solo's services");
    if (is_held(deployd, request->pid))
        return problem_set(problem, STATUS_FAILED_PRECONDITION, "pid",
                           "a supervisor holds %" PRIu64, request->pid);
    AUTO(fd_close) int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)request->pid, 0);
    AUTO(fd_close) int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (pidfd < 0 || !process_lives(request->pid, request->start_ticks) ||
        !process_mark(proc, (pid_t)request->pid, prefix, mark) ||
        strcmp(mark, request->instance) != 0)
        return gone(request->pid, problem);
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0) {
        int error = errno;
        if (error == ESRCH)
            return gone(request->pid, problem);
        return log_failure(status_from_errno(error), "end a process", "pid", NUMBER(request->pid),
                           "reason", strerror(error));
    }
    log_info("ended a process that no supervisor holds", "pid", NUMBER(request->pid), "instance",
             request->instance);
    return STATUS_OK;
}
