/* The flow of a start: daemons in order, then recoveryd, then ready. Every callback of a child ends
 * in solod_step, which looks at what there is and does what is due. */
#include "solod/boot.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/access/daemon_methods.h"
#include "common/access/operators.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/daemon/parent.h"
#include "common/daemon/reload.h"

/* Or the last word of somebody who was waited for would stay. */
static void say_started(const struct recovery *recovery)
{
    if (recovery->status[0] != '\0') /* recoveryd has said it */
        return;
    if (recovery->exit_code > 0)
        parent_say("recoveryd ended with exit code %d", recovery->exit_code);
    else
        parent_say("ready");
}

static void solod_step(void *context)
{
    struct solod *solod = context;
    if (solod->lifecycle->is_stopping) {
        shutdown_step(&solod->shutdown);
        return;
    }
    daemons_start_in_order(&solod->daemons);
    if (!solod->recovery.was_begun && daemons_have_started(&solod->daemons)) {
        daemon_health_set("starting", "recovering");
        recovery_begin(&solod->recovery, &solod->daemons, solod_step, solod);
    }
    if (solod->ready_wall_ns == 0 && solod_is_settled(solod)) {
        solod->ready_wall_ns = clock_wall_ns();
        parent_ready();
        say_started(&solod->recovery);
        daemon_health_set("ready", "%s", "");
        char reason[REASON_TEXT_BYTES];
        log_info("ready", "state", solod_state(solod, reason), "reason", reason, "took_ms",
                 NUMBER((clock_boottime_ns() - solod->started_ns) / 1000000));
    }
    if (solod->ready_wall_ns != 0)
        verification_begin(&solod->verification, &solod->daemons);
    waiters_step(&solod->waiters);
}

static void on_other_told(void *context, const struct notify_message *message)
{
    struct solod *solod = context;
    if (message->pid != solod->recovery.child.pid || message->pid == 0)
        return;
    snprintf(solod->recovery.status, sizeof solod->recovery.status, "%s", message->status);
    if (message->is_progress)
        parent_progress("%s", message->status);
    else
        parent_say("%s", message->status);
}

static void on_shut_down(void *context, bool is_clean)
{
    struct solod *solod = context;
    solod->was_clean = is_clean;
    lifecycle_end(solod->lifecycle, STATUS_OK);
}

static void on_stop(void *context)
{
    struct solod *solod = context;
    daemon_health_set("stopping", "shutting down");
    waiters_close(&solod->waiters);
    verification_close(&solod->verification);
    shutdown_begin(&solod->shutdown, &solod->daemons, &solod->recovery, on_shut_down, solod);
}

bool solod_is_settled(const struct solod *solod)
{
    return solod->recovery.has_ended && daemons_have_started(&solod->daemons) &&
           !solod->lifecycle->is_stopping;
}

/* "vaultd is backoff after exit code 1: what it said last" */
static void daemon_explain(const struct daemon *daemon, char text[REASON_TEXT_BYTES])
{
    char how[CHILD_EXIT_TEXT_BYTES];
    bool has_ended = daemon->state == DAEMON_BACKOFF || daemon->state == DAEMON_FAILED;
    snprintf(text, REASON_TEXT_BYTES, "%s is %s%s%s%s%.180s", daemon->name,
             daemon_state_name(daemon), has_ended ? " after " : "",
             has_ended ? child_exit_text(how, &daemon->last_exit) : "",
             daemon->status[0] != '\0' ? ": " : "", daemon->status);
}

/* Names every daemon that is not ready, in start order: but one that waits for another to start
 * is no news. False when all are. */
static bool unready_explain(const struct solod *solod, char reason[REASON_TEXT_BYTES])
{
    bool is_found = false;
    for (size_t i = 0; i < DAEMONS; i++) {
        const struct daemon *daemon = &solod->daemons.items[i];
        char one[REASON_TEXT_BYTES];
        if (daemon->state == DAEMON_READY || (is_found && daemon->started_ns == 0))
            continue;
        daemon_explain(daemon, one);
        size_t size = strlen(reason);
        snprintf(reason + size, REASON_TEXT_BYTES - size, "%s%s", is_found ? "; " : "", one);
        is_found = true;
    }
    return is_found;
}

const char *solod_state(const struct solod *solod, char reason[REASON_TEXT_BYTES])
{
    reason[0] = '\0';
    if (solod->lifecycle->is_stopping) {
        snprintf(reason, REASON_TEXT_BYTES, "shutting down");
        return "stopping";
    }
    if (unready_explain(solod, reason) && !daemons_have_started(&solod->daemons))
        return solod->recovery.has_ended ? "degraded" : "starting";
    if (reason[0] != '\0' && solod->recovery.has_ended)
        return "degraded";
    if (!solod->recovery.has_ended) {
        snprintf(reason, REASON_TEXT_BYTES, "recoveryd runs%s%.200s",
                 solod->recovery.status[0] != '\0' ? ": " : "", solod->recovery.status);
        return "recovering";
    }
    if (solod->recovery.exit_code > 0) {
        snprintf(reason, REASON_TEXT_BYTES,
                 "recoveryd ended with exit code %d; run `recoveryd` to see and resume",
                 solod->recovery.exit_code);
        return "degraded";
    }
    return "ready";
}

enum status solod_open(struct solod *solod, const struct settings *settings,
                       struct lifecycle *lifecycle, const struct instance *instance)
{
    solod->settings = settings;
    solod->lifecycle = lifecycle;
    solod->started_ns = clock_boottime_ns();
    solod->started_wall_ns = clock_wall_ns();
    solod->recovery.exit_code = -1;
    solod->daemons.changed = solod_step;
    solod->daemons.other_told = on_other_told;
    solod->daemons.context = solod;
    waiters_open(&solod->waiters, lifecycle->loop, solod);
    TRY(access_open(&solod->tokens.access, settings, instance->key));
    TRY(token_asker_open(&solod->tokens, lifecycle->loop, settings->run_dir,
                         span_of(instance->key, sizeof instance->key)));
    TRY(daemons_open(&solod->daemons, lifecycle->loop, settings, instance));
    lifecycle->context = solod;
    lifecycle->on_stop = on_stop;
    daemon_health_set("starting", "daemons are starting");
    solod_step(solod);
    return STATUS_OK;
}

void solod_reload(struct solod *solod)
{
    if (solod->lifecycle->is_stopping || settings_publish(solod->settings) != STATUS_OK)
        return; /* the daemons would read the old ones again */
    daemons_reload(&solod->daemons);
    verification_reload(&solod->verification);
    solod_step(solod);
}

void solod_close(struct solod *solod)
{
    token_asker_close(&solod->tokens);
    waiters_close(&solod->waiters);
    shutdown_close(&solod->shutdown);
    verification_close(&solod->verification);
    recovery_close(&solod->recovery);
    daemons_close(&solod->daemons);
}
