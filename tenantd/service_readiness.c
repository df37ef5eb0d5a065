/* The deadline is the service's own timer. While it is not ready its row says what it is waiting
 * for.
 */
#include "tenantd/service_readiness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/spec/printable.h"
#include "tenantd/service_process.h"
#include "tenantd/service_row.h"
#include "tenantd/service_state.h"
#include "tenantd/supervisor.h"

_Static_assert((int)UNREADY_BYTES >= (int)EXIT_TEXT_BYTES, "it may be told as an exit");
static const uint64_t STATUS_PAUSE_NS = 200 * 1000000; /* between two that are shown */

/* One start that is being watched. */
struct service_readiness {
    struct readiness readiness;
    void (*after_attempt)(struct service *service);
    bool is_over;
};

static void on_changed(void *context)
{
    struct service *service = context;
    service->readiness->after_attempt(service);
}

static enum status probe(void *context, struct helper *helper, char lack[READINESS_LACK_BYTES])
{
    struct service *service = context;
    struct problem problem = { 0 };
    enum status status = service_probe_begin(service, &helper->pid, &problem);
    if (status == STATUS_OK)
        supervisor_helper_started(service->supervisor, helper);
    else
        snprintf(lack, READINESS_LACK_BYTES, "its probe: %.*s", READINESS_LACK_BYTES - 16,
                 problem.message[0] == '\0' ? status_text(status) : problem.message);
    return status;
}

static void probe_kill(void *context, struct helper *helper)
{
    (void)context;
    /* It leads a group of its own and is not reaped: the number means nobody else. */
    if (kill(-helper->pid, SIGKILL) < 0 && errno != ESRCH)
        log_failure(status_from_errno(errno), "kill a probe", "reason", strerror(errno));
}

static void wait_on(struct service *service)
{
    const struct readiness *readiness = &service->readiness->readiness;
    char text[REASON_BYTES_MAX];
    snprintf(text, sizeof text, "is not ready yet: %s", readiness->lack);
    if (strcmp(service->reason, text) == 0)
        return;
    memcpy(service->reason, text, sizeof service->reason);
    service_touch(service);
}

bool service_readiness_begin(struct service *service, void (*after_attempt)(struct service *))
{
    const struct readiness_settings *settings = &service->launch->ready;
    if (settings->by == READY_STARTED) {
        service_is_ready(service);
        return true;
    }
    struct service_readiness *made = calloc(1, sizeof *made);
    if (made == NULL)
        return false;
    made->after_attempt = after_attempt;
    made->readiness.settings = settings;
    made->readiness.loop = service->supervisor->loop;
    made->readiness.changed = on_changed;
    made->readiness.probe = probe;
    made->readiness.probe_kill = probe_kill;
    made->readiness.context = service;
    service->readiness = made;
    readiness_begin(&made->readiness);
    service_timer_start(service, settings->timeout_ms);
    wait_on(service);
    return true;
}

static void give_up(struct service *service)
{
    char timeout[DURATION_TEXT_BYTES];
    struct service_readiness *watched = service->readiness;
    watched->is_over = true;
    readiness_end(&watched->readiness);
    snprintf(service->reason, sizeof service->reason, "was not ready within %s: %s",
             duration_text(timeout, watched->readiness.settings->timeout_ms),
             watched->readiness.lack);
    service_touch(service);
    service_timer_stop(service);
    service->stop_grace_ms = UINT64_MAX;
    if (service_grace_ms(service) == 0) {
        service_process_kill(service);
        return;
    }
    service_process_ask(service);
    service_timer_start(service, service_grace_ms(service));
}

void service_readiness_step(struct service *service)
{
    struct service_readiness *watched = service->readiness;
    if (watched->is_over) {
        if (service->is_due && !service->was_killed)
            service_process_kill(service);
    } else if (watched->readiness.is_ready) {
        service_readiness_end(service);
        service_is_ready(service);
    } else if (service->is_due) {
        give_up(service);
    } else {
        wait_on(service);
    }
}

bool service_readiness_is_over(const struct service *service)
{
    return service->readiness != NULL && service->readiness->is_over;
}

char *service_unready_what(const struct service *service, char text[UNREADY_BYTES])
{
    char when[EXIT_WHEN_BYTES], ran[DURATION_TEXT_BYTES];
    if (service->readiness->is_over) {
        snprintf(text, UNREADY_BYTES, "%.*s", UNREADY_BYTES - 1, service->reason);
        return text;
    }
    snprintf(when, sizeof when, " after %s, before it was ready",
             duration_text(ran, service->ran_ns / NS_PER_MS));
    return exit_text(text, service, when);
}

void service_readiness_end(struct service *service)
{
    struct service_readiness *watched = service->readiness;
    if (watched == NULL)
        return;
    readiness_end(&watched->readiness);
    if (watched->readiness.helper.pid != 0) {
        probe_kill(service, &watched->readiness.helper);
        supervisor_helper_forget(service->supervisor, &watched->readiness.helper);
    }
    free(watched);
    service->readiness = NULL;
}

/* One that tells something new all the time is not worth a row each time. */
static bool may_tell(struct service *service)
{
    uint64_t now = clock_boottime_ns();
    if (service->told_ns != 0 && now - service->told_ns < STATUS_PAUSE_NS)
        return false;
    service->told_ns = now;
    return true;
}

void service_told(struct service *service, const struct notify_message *message)
{
    const char *status = message->status;
    char text[REASON_BYTES_MAX - 16];
    if (status == NULL && message->is_stopping)
        status = "it is stopping";
    if (status != NULL && !may_tell(service))
        status = NULL;
    if (service->readiness != NULL && !service->readiness->is_over)
        readiness_tell(&service->readiness->readiness, message->is_ready, status);
    /* Perhaps by this very message. */
    if (service->readiness == NULL && service->state == SERVICE_running && status != NULL) {
        snprintf(service->reason, sizeof service->reason, "it says: %s",
                 text_printable(text, sizeof text, span_of_text(status)));
        service_touch(service);
    }
}
