/* Builds, before a commit and before a start. Before the commit a failure is the caller's answer,
 * and all who sent the same request get it; afterwards it is that of the start. */
#include "deployd/operation_build.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/wire/reader.h"
#include "deployd/operation_failure.h"
#include "deployd/supervisors.h"

bool spec_has_build(struct span canonical)
{
    struct reader value;
    return map_find(canonical, "build", &value) == STATUS_OK;
}

/* A repeat that came while it was being built has the one outcome; it would try again otherwise. */
static void refuse_repeats(const struct operation *operation)
{
    for (struct operation *next, *repeat = operation->service->queue; repeat != NULL;
         repeat = next) {
        next = repeat->next;
        if (repeat == operation || repeat->state != OPERATION_QUEUED ||
            repeat->kind != OPERATION_DEPLOY || !repeat->has_request_id ||
            memcmp(&repeat->request_id, &operation->request_id, sizeof repeat->request_id) != 0 ||
            !hash_equal(&repeat->body_hash, &operation->body_hash))
            continue;
        repeat->problem = operation->problem;
        operation_end(repeat, repeat->problem.code);
    }
}

static void refuse(struct operation *operation, enum status status, const struct problem *problem)
{
    if (problem != NULL)
        operation->problem = *problem;
    else
        problem_set(&operation->problem, status, "build", "%s", status_text(status));
    operation->problem.code = status;
    if (operation->has_request_id)
        refuse_repeats(operation);
    operation_end(operation, status);
}

void operation_build_killed(struct operation *operation)
{
    struct problem problem = operation->problem;
    if (problem.message[0] == '\0') /* else its caller was told already why it is not deployed */
        problem_set(&problem, STATUS_ABORTED, "build",
                    "%s was killed while this was being built; it was not deployed",
                    operation->service->key);
    refuse(operation, problem.code, &problem);
}

static void on_built(void *context, enum status status, const struct problem *problem,
                     const void *reply)
{
    (void)reply;
    struct operation *operation = context;
    bool is_uncommitted = operation_is_uncommitted(operation);
    if (operation->is_killed) {
        operation_build_killed(operation);
        return;
    }
    if (operation_is_broken(status)) {
        operation_await_supervisor(operation);
        return;
    }
    if (status == STATUS_OK) {
        operation->is_built = true;
        operation->attempts--; /* only what came to nothing counts */
        if (is_uncommitted)
            catalog_mark(&operation->owner->catalog, operation->service);
        else
            operation_await_supervisor(operation);
    } else if (is_uncommitted) {
        refuse(operation, status, problem);
    } else if (status == STATUS_ABORTED) {
        operation_await_supervisor(operation); /* killed meanwhile: the log says so */
    } else {
        /* It was built before: its reason says what was being done. */
        struct problem said;
        problem_set(&said, status, problem == NULL ? "build" : problem->field,
                    "its build failed: %s",
                    problem == NULL ? status_text(status) : problem->message);
        operation_start_failed(operation, status, &said);
    }
}

void operation_ask_build(struct operation *operation, struct span spec)
{
    struct service *service = operation->service;
    const struct supervisor_build_request request = { .name = service_name(service), .spec = spec };
    ev_timer_stop(operation->owner->loop, &operation->timer);
    operation_move(operation, OPERATION_BUILDING);
    /* A kill behind it may begin. */
    catalog_mark(&operation->owner->catalog, service);
    enum status status = supervisor_call(&service->tenant->supervisor, &method_supervisor_build,
                                         &request, SUPERVISOR_ACT_MS_MAX, on_built, operation);
    if (status == STATUS_OK) {
        service->building_since_ns = clock_wall_ns(); /* operation_move ends it */
        catalog_touch(&operation->owner->catalog, service);
    }
    operation_asked(operation, status);
}
