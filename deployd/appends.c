/* event.append as deployd uses it: pipelined, repeated after a reconnect, answered after the
 * commit. */
#include "deployd/appends.h"

enum status append_send(struct deployd *deployd, const struct event_append_request *request,
                        const struct uuid *request_id, uint64_t timeout_ms, rpc_on_reply on_reply,
                        void *context)
{
    struct uuid drawn;
    if (request_id == NULL && request->source_number == 0) {
        drawn = uuid_draw();
        request_id = &drawn;
    }
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = timeout_ms,
        .request_id = request_id,
        .on_reply = on_reply,
        .context = context,
    };
    return rpc_client_call(deployd->eventd, &method_event_append, request, &options, NULL);
}

enum status append_send_batch(struct deployd *deployd, struct span events,
                              const struct uuid *request_id, uint64_t timeout_ms,
                              rpc_on_reply on_reply, void *context)
{
    const struct uuid drawn = uuid_draw();
    const struct event_append_batch_request request = { .events = events };
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = timeout_ms,
        .request_id = request_id == NULL ? &drawn : request_id,
        .on_reply = on_reply,
        .context = context,
    };
    return rpc_client_call(deployd->eventd, &method_event_append_batch, &request, &options, NULL);
}

enum status append_problem(enum status status, const struct problem *said, const char *what,
                           struct problem *problem)
{
    const char *message =
        said != NULL && said->message[0] != '\0' ? said->message : status_text(status);
    uint64_t retry_after_ms = said == NULL ? 0 : said->retry_after_ms;
    if (rpc_effect_of(status) == RPC_UNKNOWN)
        problem_set(problem, STATUS_UNKNOWN, "",
                    "whether %s is recorded is not known (%s); repeat with the same request_id",
                    what, message);
    else if (status == STATUS_UNAVAILABLE)
        problem_set(problem, STATUS_UNAVAILABLE, "",
                    "%s was not recorded: the event log cannot be reached (%s)", what, message);
    else
        problem_set(problem, status, said == NULL ? "" : said->field,
                    "%s was not recorded: the event log refused: %s", what, message);
    problem->retry_after_ms = retry_after_ms;
    return problem->code;
}
