/* The rules for one event, in the order in which a refusal helps most: its type, who may write
 * that, whose it is, what it is about, and what its type demands. */
#include "eventd/admission.h"

#include <string.h>

#include "common/access/access.h"
#include "common/base/auto.h"
#include "eventd/projection.h"
#include "eventd/sources.h"

enum { RETRY_AFTER_FULL_MS = 5000 };

static bool is_daemon(const struct caller *caller)
{
    return caller->kind == CALLER_DAEMON;
}

/* app. and then what a name may have. */
static bool app_type_is_valid(const char *type)
{
    for (const char *p = type + strlen("app."); *p != '\0'; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr("._-", *p) != NULL))
            return false;
    return true;
}

static enum status check_type(const struct caller *caller, const char *name, enum event_type *type,
                              struct problem *problem)
{
    *type = event_type_parse(name);
    if (*type == EVENT_UNKNOWN)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "type",
                           "must be one of Solo's types or begin with app.");
    if (*type == EVENT_APP)
        return app_type_is_valid(name) ? STATUS_OK
                                       : problem_set(problem, STATUS_INVALID_ARGUMENT, "type",
                                                     "must match app.[a-z0-9._-]+");
    if (is_daemon(caller) && event_type_is_written_by(*type, caller->daemon))
        return STATUS_OK;
    return problem_set(problem, STATUS_PERMISSION_DENIED, "type",
                       "%s is written by %s only; yours begin with app.", name,
                       event_type_writer(*type));
}

/* Without space, what is left is for ending things and for bringing back what is wanted already: a
 * kill or a recovery must not be refused because a disk is full. What grows is refused, unless a
 * source numbered it: behind its refusal the source's next reports, which end things, could not
 * come. */
static enum status check_space(const struct event_store *store, enum event_type type,
                               bool has_source, struct problem *problem)
{
    if (!store->db.is_short_of_space || has_source)
        return STATUS_OK;
    switch (type) {
    case EVENT_APP:
    case EVENT_tenant_created:
    case EVENT_service_deployed:
    case EVENT_capability_granted:
    case EVENT_capability_denied:
    case EVENT_secret_stored:
    case EVENT_secret_access_denied:
        problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "",
                    "the disk of the event store is full: nothing new is taken until there is "
                    "space; kills, revocations, recovery and a shutdown are");
        problem->retry_after_ms = RETRY_AFTER_FULL_MS;
        return STATUS_RESOURCE_EXHAUSTED;
    default:
        return STATUS_OK;
    }
}

/* By a log that others know to be of yesterday nothing new is begun. */
static enum status check_branch(const struct event_store *store, enum event_type type,
                                struct problem *problem)
{
    char text[LOG_FORK_TEXT_BYTES];
    if (!store->branch.now.is_forked ||
        (type != EVENT_service_deployed && type != EVENT_tenant_created &&
         type != EVENT_recovery_started))
        return STATUS_OK;
    return problem_set(problem, STATUS_FAILED_PRECONDITION, "",
                       "the log is FORKED: %s. Stop Solo and put the newer store back, or keep "
                       "this log with `recoveryd resolve --keep log`",
                       log_branch_text(&store->branch.now, text));
}

/* What only a daemon may say: it speaks for others, whose requests and numbers it passes on. */
static enum status check_daemon_fields(const struct event_append_request *item,
                                       struct problem *problem)
{
    const char *field = item->source[0] != '\0'           ? "source"
                        : item->incarnation.size > 0      ? "incarnation"
                        : item->source_number != 0        ? "source_number"
                        : item->intent[0] != '\0'         ? "intent"
                        : item->causation_id != 0         ? "causation_id"
                        : !hash_is_zero(&item->body_hash) ? "body_hash"
                                                          : NULL;
    return field == NULL ? STATUS_OK
                         : problem_set(problem, STATUS_PERMISSION_DENIED, field,
                                       "is for Solo's daemons only");
}

static enum status check_source(const struct event_append_request *item, struct problem *problem)
{
    bool has_source = item->source[0] != '\0';
    if (!has_source && (item->incarnation.size > 0 || item->source_number != 0))
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "source",
                           "must be named when an incarnation or number is");
    if (has_source && item->incarnation.size != SOURCE_INCARNATION_BYTES)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "incarnation",
                           "must be %d bytes with a source", SOURCE_INCARNATION_BYTES);
    if (has_source && item->source_number == 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "source_number",
                           "must be at least 1 with a source");
    return STATUS_OK;
}

enum status admission_tenant(const struct caller *caller, const char *named, const char **tenant,
                             struct problem *problem)
{
    bool is_own = caller->kind == CALLER_TOKEN && named[0] == '\0';
    *tenant = is_own ? caller->tenant : named;
    return access_check_tenant(caller, *tenant, problem);
}

/* Solo's own subjects say whose they are. An app's event about another tenant's service would move
 * that service's newest event, which others compare. */
static enum status check_subject(const char *subject, const char *tenant, struct problem *problem)
{
    static const char *const kinds[] = { "service/", "secret/" };
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        size_t size = strlen(kinds[i]), tenant_size = strlen(tenant);
        if (strncmp(subject, kinds[i], size) != 0)
            continue;
        if (tenant_size > 0 && strncmp(subject + size, tenant, tenant_size) == 0 &&
            subject[size + tenant_size] == '/')
            return STATUS_OK;
        return problem_set(problem, STATUS_PERMISSION_DENIED, "subject",
                           "must be %sTENANT/... of the event's own tenant", kinds[i]);
    }
    if (strncmp(subject, "token/", strlen("token/")) == 0 || strcmp(subject, "system") == 0)
        return problem_set(problem, STATUS_PERMISSION_DENIED, "subject", "is for Solo's daemons");
    return STATUS_OK;
}

/* What looks like a record salvage takes for one, wherever it lies. */
static enum status check_payload(struct span payload, struct problem *problem)
{
    return event_begins_in(payload)
               ? problem_set(problem, STATUS_INVALID_ARGUMENT, "payload",
                             "must not hold the bytes with which a record of the log begins (%s)",
                             EVENT_MAGIC)
               : STATUS_OK;
}

enum status admission_check(struct event_store *store, const struct caller *caller,
                            const struct event_append_request *item, struct event *event,
                            enum event_type *type, struct problem *problem)
{
    const char *tenant;
    TRY(check_type(caller, item->type, type, problem));
    TRY(check_space(store, *type, is_daemon(caller) && item->source[0] != '\0', problem));
    TRY(check_branch(store, *type, problem));
    TRY(admission_tenant(caller, item->tenant, &tenant, problem));
    if (is_daemon(caller)) {
        TRY(check_source(item, problem));
    } else {
        TRY(check_daemon_fields(item, problem));
        TRY(check_subject(item->subject, tenant, problem));
        TRY(check_payload(item->payload, problem));
    }
    if (item->causation_id > store->last_id)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "causation_id",
                           "names event %llu, but the log ends at %llu",
                           (unsigned long long)item->causation_id,
                           (unsigned long long)store->last_id);
    *event = (struct event){
        .type = item->type,
        .tenant = tenant,
        .subject = item->subject,
        .causation_id = item->causation_id,
        .source = item->source,
        .source_number = item->source_number,
        .payload = item->payload,
    };
    if (item->source[0] != '\0')
        memcpy(event->incarnation, item->incarnation.data, sizeof event->incarnation);
    return projection_admits(&store->txn, *type, event, problem);
}
