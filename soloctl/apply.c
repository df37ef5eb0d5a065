/* apply: many services from a file. First every spec is read and checked here, then deployd is
 * asked what it has against each (is its program there?): when any is bad all problems are told and
 * nothing is deployed. Then the deploys go out, some in flight at once, and each result is told in
 * the order of the file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/spec/spec.h"
#include "common/spec/spec_json.h"
#include "soloctl/commands.h"
#include "soloctl/deployment.h"
#include "soloctl/input.h"
#include "soloctl/output.h"
#include "soloctl/progress.h"
#include "soloctl/totals.h"

enum {
    APPLY_BYTES_MAX = 256 * 1024 * 1024,
    APPLY_IN_FLIGHT_MAX = 64,
    APPLY_PROBLEMS_SHOWN_MAX = 100,
    SPEC_ARENA_BYTES = 2 * 1024 * 1024,
    PLACE_BYTES = 48,
};

struct application {
    struct apply *apply;
    struct target target;
    char place[PLACE_BYTES]; /* in the file: "[3]" or "line 4"; "" when it is alone */
    size_t offset, size;     /* of its packed spec */
    struct uuid request_id;
    uint64_t timeout_ms;
    bool is_done;
    enum status status;
    struct problem problem;
    struct service_deploy_reply reply; /* state and isolation point into the next two */
    char state[33], isolation[65];
};

struct apply {
    struct session *session;
    const struct arguments *arguments;
    struct rpc_client *client;
    struct buffer specs;
    struct arena arena;
    struct application *services;
    size_t count, capacity;
    bool is_validating;      /* nothing is changed yet */
    size_t sent, done, told; /* of this pass over them */
    struct progress progress;
    struct totals totals; /* that the specs would come to, as deployd foresees it */
    size_t total, bad;    /* specs of the file, and those that are refused */
    bool is_read;         /* the file itself was readable */
    bool has_exceeded;    /* they are more than a tenant is allowed */
    uint64_t timeout_ms;  /* of --timeout, 0 without */
    struct list_output list;
    int exit_code;
};

static void apply_close(struct apply *apply)
{
    buffer_close(&apply->specs);
    arena_close(&apply->arena);
    list_close(&apply->list);
    totals_close(&apply->totals);
    free(apply->services);
}

static void tell_bad_spec(struct apply *apply, const char *place, enum status status,
                          struct problem *problem)
{
    apply->bad++;
    if (apply->bad > APPLY_PROBLEMS_SHOWN_MAX)
        return;
    if (place[0] != '\0')
        problem_prefix(problem, place);
    int exit_code =
        session_fail(apply->session, apply->arguments->value[FLAG_file], status, problem);
    if (exit_code > apply->exit_code)
        apply->exit_code = exit_code;
}

static enum status remember(struct apply *apply, const struct spec *spec, struct span map,
                            const char *place, struct problem *problem)
{
    if (apply->count == SERVICES_MAX)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "more than %d services",
                           SERVICES_MAX);
    if (apply->count == apply->capacity) {
        size_t capacity = apply->capacity == 0 ? 64 : 2 * apply->capacity;
        void *grown = realloc(apply->services, capacity * sizeof *apply->services);
        if (grown == NULL)
            return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
        apply->services = grown;
        apply->capacity = capacity;
    }
    struct application *service = &apply->services[apply->count];
    *service = (struct application){
        .offset = apply->specs.size,
        .size = map.size,
        .request_id = uuid_draw(),
        .timeout_ms = apply->timeout_ms != 0 ? apply->timeout_ms
                                             : DEPLOY_TIMEOUT_MS + spec->ready.timeout_ms +
                                                   (spec_is_built(spec) ? BUILD_MS_MAX : 0),
    };
    snprintf(service->target.tenant, sizeof service->target.tenant, "%s", spec->tenant);
    snprintf(service->target.name, sizeof service->target.name, "%s", spec->name);
    service_key(service->target.key, spec->tenant, spec->name);
    snprintf(service->place, sizeof service->place, "%s", place);
    if (buffer_append(&apply->specs, map.data, map.size) != STATUS_OK)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "more than %d bytes of specs",
                           APPLY_BYTES_MAX);
    apply->count++;
    return STATUS_OK;
}

/* Takes one spec of the file; what is wrong with it does not end the reading. */
static enum status take_spec(void *context, struct span map, const char *place,
                             struct problem *problem)
{
    struct apply *apply = context;
    struct spec spec;
    apply->total++;
    arena_reset(&apply->arena);
    enum status status = spec_decode(map, &apply->arena, &spec, problem);
    if (status == STATUS_OK && apply->session->tenant[0] != '\0' &&
        strcmp(spec.tenant, apply->session->tenant) != 0)
        status = problem_set(problem, STATUS_INVALID_ARGUMENT, "tenant", "is %s, not that of -t %s",
                             spec.tenant, apply->session->tenant);
    if (status == STATUS_OK)
        status = remember(apply, &spec, map, place, problem);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return status;
    if (status != STATUS_OK)
        tell_bad_spec(apply, place, status, problem);
    return STATUS_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const struct application *const *first = a, *const *second = b;
    return strcmp((*first)->target.key, (*second)->target.key);
}

/* Two specs of one service: which of them is meant? */
static enum status find_duplicates(struct apply *apply, struct problem *problem)
{
    struct application **sorted = calloc(apply->count + 1, sizeof *sorted);
    if (sorted == NULL)
        return problem_set(problem, STATUS_RESOURCE_EXHAUSTED, "", "out of memory");
    for (size_t i = 0; i < apply->count; i++)
        sorted[i] = &apply->services[i];
    qsort(sorted, apply->count, sizeof *sorted, compare_keys);
    for (size_t i = 1; i < apply->count; i++) {
        if (strcmp(sorted[i - 1]->target.key, sorted[i]->target.key) != 0)
            continue;
        problem_set(problem, STATUS_INVALID_ARGUMENT, "name", "%s is in the file twice",
                    sorted[i]->target.key);
        tell_bad_spec(apply, "", STATUS_INVALID_ARGUMENT, problem);
    }
    free(sorted);
    return STATUS_OK;
}

static enum status read_specs(struct apply *apply, struct problem *problem)
{
    AUTO(buffer_close) struct buffer text = { .limit = APPLY_BYTES_MAX };
    const char *path = apply->arguments->value[FLAG_file];
    if (path == NULL)
        return problem_set(problem, STATUS_USAGE, "", "needs -f FILE, or -f - for standard input");
    if (apply->session->is_repeated)
        return problem_set(
            problem, STATUS_USAGE, "",
            "--request-id: names one request, apply makes many; repeating it is safe "
            "without");
    TRY(arguments_duration(apply->arguments, FLAG_timeout, 0, &apply->timeout_ms, problem));
    TRY(input_read("-f", path, &text, problem));
    apply->is_read = true;
    TRY(specs_from_json(buffer_span(&text), take_spec, apply, problem));
    return find_duplicates(apply, problem);
}

static void tell_result(struct apply *apply, const struct application *service)
{
    struct session *session = apply->session;
    bool is_done = service->status == STATUS_OK;
    if (is_done && !session_is_for_programs(session))
        deployment_print(service->target.key, &service->reply);
    int exit_code =
        is_done ? deployment_exit_code(service->target.key, &service->reply,
                                       arguments_has(apply->arguments, FLAG_wait))
                : session_fail(session, service->target.key, service->status, &service->problem);
    if (exit_code > apply->exit_code)
        apply->exit_code = exit_code;
    if (!session_is_for_programs(session) ||
        (session->format == FORMAT_NAME && service->status != STATUS_OK))
        return;
    AUTO(item_close) struct item item = ITEM_EMPTY;
    if (service->status == STATUS_OK) {
        deployment_item(&service->target, &service->reply, &item);
        item_text(&item, "result", service->reply.unchanged ? "unchanged" : "deployed");
    } else {
        item_text(&item, "kind", "deployment");
        item_text(&item, "tenant", service->target.tenant);
        item_text(&item, "name", service->target.name);
        item_text(&item, "result", "failed");
        item_text(&item, "code", status_name(service->status));
        item_text_or_null(&item, "field", service->problem.field);
        item_text(&item, "message", service->problem.message);
    }
    list_add(&apply->list, &item, service->target.key);
}

static void on_reply(void *context, enum status status, const struct problem *problem,
                     const void *reply);

static enum status send_one(struct apply *apply, struct application *service)
{
    struct span spec = span_of(apply->specs.data + service->offset, service->size);
    struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = apply->is_validating ? READ_TIMEOUT_MS : service->timeout_ms,
        .request_id = apply->is_validating ? NULL : &service->request_id,
        .on_reply = on_reply,
        .context = service,
    };
    const struct service_validate_request validation = { .spec = spec };
    const struct service_deploy_request deploy = {
        .spec = spec,
        .wait = arguments_has(apply->arguments, FLAG_wait),
        .only_if_changed = true,
    };
    return apply->is_validating
               ? rpc_client_call(apply->client, &method_service_validate, &validation, &options,
                                 NULL)
               : rpc_client_call(apply->client, &method_service_deploy, &deploy, &options, NULL);
}

static void tell(struct apply *apply, struct application *service)
{
    if (!apply->is_validating) {
        progress_hide(&apply->progress);
        tell_result(apply, service);
    } else if (service->status != STATUS_OK) {
        progress_hide(&apply->progress);
        problem_prefix(&service->problem, service->target.key);
        tell_bad_spec(apply, service->place, service->status, &service->problem);
    }
}

static void send_next(struct apply *apply)
{
    while (apply->sent < apply->count && apply->sent - apply->done < APPLY_IN_FLIGHT_MAX) {
        struct application *service = &apply->services[apply->sent++];
        service->apply = apply;
        service->status = send_one(apply, service);
        if (service->status != STATUS_OK) {
            service->is_done = true;
            apply->done++;
        }
    }
    /* In the order of the file, each as soon as all before it are known. */
    while (apply->told < apply->count && apply->services[apply->told].is_done)
        tell(apply, &apply->services[apply->told++]);
    output_flush();
    progress_show(&apply->progress, apply->is_validating ? "checked" : "deployed", apply->done,
                  apply->count);
    if (apply->done == apply->count)
        ev_break(apply->session->loops[PEER_DEPLOYD], EVBREAK_ALL);
}

static void on_reply(void *context, enum status status, const struct problem *problem,
                     const void *reply)
{
    struct application *service = context;
    struct apply *apply = service->apply;
    service->status = status;
    service->is_done = true;
    apply->done++;
    if (status != STATUS_OK) {
        service->problem = *problem;
    } else if (apply->is_validating) {
        const struct service_validate_reply *valid = reply;
        service->status = totals_add(&apply->totals, service->target.tenant, valid->totals);
        if (service->status != STATUS_OK)
            problem_set(&service->problem, service->status, "", "deployd's answer: %s",
                        status_text(service->status));
    } else {
        service->reply = *(const struct service_deploy_reply *)reply;
        snprintf(service->state, sizeof service->state, "%s", service->reply.state);
        snprintf(service->isolation, sizeof service->isolation, "%s", service->reply.isolation);
        service->reply.state = service->state;
        service->reply.isolation = service->isolation;
    }
    send_next(apply);
}

/* Sends all of them, and returns when all are answered and told. */
static void pass(struct apply *apply, bool is_validating)
{
    apply->is_validating = is_validating;
    apply->sent = apply->done = apply->told = 0;
    for (size_t i = 0; i < apply->count; i++)
        apply->services[i].is_done = false;
    send_next(apply);
    if (apply->done < apply->count)
        ev_run(apply->session->loops[PEER_DEPLOYD], 0);
    progress_hide(&apply->progress);
}

/* Each fits by itself; together they may not. */
static void refuse_exceeded(struct apply *apply)
{
    struct problem problem = { 0 };
    enum status status;
    for (size_t at = 0;
         (status = totals_next_exceeded(&apply->totals, &at, &problem)) != STATUS_OK;) {
        apply->has_exceeded = true;
        int exit_code =
            session_fail(apply->session, apply->arguments->value[FLAG_file], status, &problem);
        if (exit_code > apply->exit_code)
            apply->exit_code = exit_code;
    }
}

static int nothing_deployed(const struct apply *apply)
{
    if (apply->bad == 0)
        fprintf(stderr, "soloctl: nothing was deployed\n");
    else
        fprintf(stderr, "soloctl: nothing was deployed: %zu of %zu specs are refused\n", apply->bad,
                apply->total);
    return apply->exit_code;
}

/* What only the attempt can show has failed for some of them: then how many are as the file says.
 */
static void tell_failures(const struct apply *apply)
{
    size_t failed = 0;
    for (size_t i = 0; i < apply->count; i++)
        failed += apply->services[i].status != STATUS_OK;
    if (failed > 0 && failed < apply->count)
        fprintf(stderr,
                "soloctl: %zu of %zu specs failed, the others are deployed; the same file again "
                "leaves those alone\n",
                failed, apply->count);
}

int command_apply(struct session *session, const struct arguments *arguments)
{
    AUTO(apply_close)
    struct apply apply = {
        .session = session,
        .arguments = arguments,
        .specs = { .limit = APPLY_BYTES_MAX },
        .arena = { .limit = SPEC_ARENA_BYTES },
    };
    struct problem problem = { 0 };
    enum status status = read_specs(&apply, &problem);
    if (status != STATUS_OK) {
        const char *subject = apply.is_read ? arguments->value[FLAG_file] : "";
        return session_fail(session, subject, status, &problem);
    }
    if (apply.bad > 0)
        return nothing_deployed(&apply);
    status = session_client(session, PEER_DEPLOYD, &apply.client, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    pass(&apply, true);
    refuse_exceeded(&apply);
    if (apply.bad > 0 || apply.has_exceeded)
        return nothing_deployed(&apply);
    status = list_begin(&apply.list, session->format, "deployments", &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    pass(&apply, false);
    list_end(&apply.list);
    tell_failures(&apply);
    if (apply.count == 0 && !session_is_for_programs(session))
        printf("0 services: nothing was deployed\n");
    for (size_t i = 0; i < apply.count && !session_is_for_programs(session); i++)
        if (apply.services[i].isolation[0] != '\0') {
            deployment_isolation_note(apply.services[i].isolation);
            break;
        }
    return apply.exit_code;
}
