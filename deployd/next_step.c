/* The commands for each state of a service. A supervisor that does not answer comes first: until it
 * is gone nothing else helps. */
#include "deployd/next_step.h"
#include "deployd/shown.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The longest text: two commands with a name each, and what they are for. */
_Static_assert(NEXT_STEP_BYTES > 3 * (SERVICE_KEY_BYTES + 128), "no command is cut");

__attribute__((format(printf, 2, 3))) static void add(char text[NEXT_STEP_BYTES],
                                                      const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    if (used > 0)
        used += (size_t)snprintf(text + used, NEXT_STEP_BYTES - used, "\n");
    va_start(arguments, format);
    vsnprintf(text + used, NEXT_STEP_BYTES - used, format, arguments);
    va_end(arguments);
}

static void add_logs(const char *key, char text[NEXT_STEP_BYTES])
{
    add(text, "soloctl logs %s -n 50  # what it printed last", key);
}

static void after_failure(const struct service *service, char text[NEXT_STEP_BYTES])
{
    const char *key = service->key;
    if (service->is_held || service->is_failed_deploy)
        add_logs(key, text);
    if (service->wanted.generation != 0)
        add(text, "soloctl restart %s  # when the reason above is gone", key);
    else
        add(text, "soloctl kill %s  # forgets it; a new deploy replaces it", key);
}

static void while_stopping(const struct service *service, char text[NEXT_STEP_BYTES])
{
    const char *key = service->key;
    if (service->wanted.generation != 0) {
        add(text, "soloctl wait %s --for running  # it is started again when this is over", key);
        return;
    }
    add(text, "soloctl wait %s --for gone  # answers when it is", key);
    add(text, "soloctl kill %s --force  # does not wait for its grace", key);
}

char *next_step(const struct service *service, char text[NEXT_STEP_BYTES])
{
    const char *key = service->key;
    const struct tenant *tenant = service->tenant;
    text[0] = '\0';
    if (tenant->supervisor.is_silent) {
        add(text, "soloctl daemon list  # the supervisor of tenant %s does not answer",
            tenant->name);
        if (tenant->supervisor.host_pid > 1) /* 0 would be the whole group of who pastes it */
            add(text,
                "kill -KILL %llu  # ends it and its services; they are started again by a new one",
                (unsigned long long)tenant->supervisor.host_pid);
        return text;
    }
    switch (service_state_shown(service)) {
    case SERVICE_building:
        add(text, "soloctl wait %s --for running  # answers when it is, or its build has failed",
            key);
        add(text, "soloctl kill %s  # ends the build", key);
        break;
    case SERVICE_starting:
        add(text, "soloctl wait %s --for ready  # answers when it is, or has failed", key);
        add_logs(key, text);
        break;
    case SERVICE_backoff:
        add_logs(key, text);
        add(text, "soloctl restart %s  # does not wait for its delay", key);
        break;
    case SERVICE_parked:
        add_logs(key, text);
        add(text, "soloctl restart %s  # when the reason above is gone", key);
        break;
    case SERVICE_waiting_for_secret:
        add(text, "soloctl vault status  # whether it is open, and what opens it");
        add(text, "soloctl secret list --tenant %s  # whether there is one of that name",
            tenant->name);
        break;
    case SERVICE_stopping:
        while_stopping(service, text);
        break;
    case SERVICE_failed:
        after_failure(service, text);
        break;
    case SERVICE_wanted:
        add(text, "soloctl restart %s  # starts it now", key);
        add(text, "recoveryd --dry-run  # says what is due, and why");
        break;
    case SERVICE_completed:
        add_logs(key, text);
        add(text, "soloctl kill %s  # forgets it; a new deploy runs it again", key);
        break;
    case SERVICE_running:
    case SERVICE_STATES:
        break;
    }
    return text;
}
