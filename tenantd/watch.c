/* Sends from the supervisor's list of changed services and from its queue of reports; keeps
 * nothing.
 *
 * Only the oldest REPORTS_SENT_MAX reports are ever sent. What was sent may be in the event log
 * without our knowing; the log compares a bounded number of a source's newest reports, and what is
 * sent again must be among them. */
#include "tenantd/watch.h"

#include <utlist.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/wire/writer.h"
#include "tenantd/service_row.h"
#include "tenantd/supervisor.h"

enum { UNREAD_BYTES_PAUSE = 512 * 1024, NOTIFICATION_BYTES_MAX = 32 * 1024 };
_Static_assert(2 * UNREAD_BYTES_PAUSE < UNREAD_BYTES_MAX, "a paused watch is not cut off");

static void forget(struct supervisor *supervisor)
{
    supervisor->watch = (struct watch){ 0 };
    for (struct service *service; (service = supervisor->changed) != NULL;) {
        DL_DELETE2(supervisor->changed, service, previous_changed, next_changed);
        service->is_changed = false;
    }
}

void watch_end(struct supervisor *supervisor)
{
    static const struct supervisor_watch_reply nothing;
    struct rpc_call *call = supervisor->watch.call;
    forget(supervisor);
    if (call != NULL)
        rpc_call_reply(call, &nothing);
}

static void on_gone(struct rpc_call *call)
{
    struct supervisor *supervisor = call->user;
    if (supervisor->watch.call == call)
        forget(supervisor);
    rpc_call_drop(call);
}

void watch_begin(struct supervisor *supervisor, struct rpc_call *call)
{
    watch_end(supervisor);
    call->user = supervisor;
    call->on_gone = on_gone;
    supervisor->watch.call = call;
    supervisor->watch.next_report = 1;
    for (struct service *service = supervisor->by_name; service != NULL;
         service = service->by_name.next)
        supervisor_changed(supervisor, service);
}

static void on_drained(struct rpc_call *call)
{
    struct supervisor *supervisor = call->user;
    supervisor->watch.is_paused = false;
    watch_pump(supervisor); /* nothing else may happen for long */
}

/* false when the watch has to wait or has gone. */
static bool may_send(struct supervisor *supervisor)
{
    struct watch *watch = &supervisor->watch;
    if (watch->call == NULL || watch->is_paused)
        return false;
    if (rpc_call_unread(watch->call) < UNREAD_BYTES_PAUSE)
        return true;
    watch->is_paused = true;
    rpc_call_on_drained(watch->call, on_drained);
    return false;
}

static void send(struct supervisor *supervisor, const char *method, struct span params)
{
    struct rpc_call *call = supervisor->watch.call;
    enum status status = rpc_call_notify(call, method, params);
    if (status == STATUS_OK)
        return;
    forget(supervisor);
    rpc_call_fail(call, status, NULL);
}

static void send_row(struct supervisor *supervisor, struct service *service)
{
    AUTO(buffer_close) struct buffer buffer = { .limit = NOTIFICATION_BYTES_MAX };
    DL_DELETE2(supervisor->changed, service, previous_changed, next_changed);
    service->is_changed = false;
    write_map(&buffer, 1);
    write_str(&buffer, "service");
    service_row_write(service, &buffer);
    send(supervisor, "supervisor.state", buffer_span(&buffer));
}

void watch_pump(struct supervisor *supervisor)
{
    while (supervisor->changed != NULL && may_send(supervisor))
        send_row(supervisor, supervisor->changed);
    struct report *report = supervisor->reports.first;
    uint64_t end = report == NULL ? 0 : report->number + REPORTS_SENT_MAX;
    while (report != NULL && report->number < supervisor->watch.next_report)
        report = report->next;
    for (; report != NULL && report->number < end && supervisor->changed == NULL &&
           may_send(supervisor);
         report = report->next) {
        supervisor->watch.next_report = report->number + 1;
        send(supervisor, "supervisor.report", span_of(report->packed, report->size));
    }
}
