/* deploy: one service from the flags of one command line. */
#include <stdio.h>

#include "common/base/auto.h"
#include "soloctl/commands.h"
#include "soloctl/deployment.h"
#include "soloctl/input.h"
#include "soloctl/output.h"

static enum status deploy(struct session *session, const struct arguments *arguments,
                          struct target *target, struct service_deploy_reply *reply,
                          struct problem *problem)
{
    AUTO(buffer_close) struct buffer code = { .limit = SPEC_CODE_BYTES_MAX };
    AUTO(buffer_close) struct buffer spec = { .limit = SPEC_BYTES_MAX };
    uint64_t timeout_ms, if_event;
    TRY(target_parse(arguments->operands[0], session->tenant, target, problem));
    TRY(arguments_number(arguments, FLAG_if_event, 0, &if_event, problem));
    uint64_t build_ms = arguments_has(arguments, FLAG_build) ? BUILD_MS_MAX : 0;
    TRY(arguments_duration(arguments, FLAG_timeout,
                           DEPLOY_TIMEOUT_MS + DEPLOY_READY_DEFAULT_MS + build_ms, &timeout_ms,
                           problem));
    if (arguments->rest_count == 0 && !arguments_has(arguments, FLAG_code))
        return problem_set(problem, STATUS_USAGE, "",
                           "nothing to run: put -- PROGRAM ARGUMENTS at the end, or use --code");
    if (arguments_has(arguments, FLAG_build) && !arguments_has(arguments, FLAG_code))
        return problem_set(problem, STATUS_USAGE, "",
                           "--build needs the source file: add --code FILE");
    if (arguments_has(arguments, FLAG_build) && arguments->rest_count == 0)
        return problem_set(problem, STATUS_USAGE, "",
                           "nothing to run of what is built: put -- '{out}' ARGUMENTS at the end");
    if (arguments_has(arguments, FLAG_code))
        TRY(input_read("--code", arguments->value[FLAG_code], &code, problem));
    if (arguments_has(arguments, FLAG_code) && code.size == 0)
        return problem_set(problem, STATUS_INVALID_ARGUMENT, "",
                           "--code %s: is empty: there is nothing to run",
                           arguments->value[FLAG_code]);
    TRY(deployment_pack(arguments, target, buffer_span(&code), &spec, problem));
    struct service_deploy_request request = { .spec = buffer_span(&spec),
                                              .wait = arguments_has(arguments, FLAG_wait),
                                              .if_event = if_event };
    return session_call(session, PEER_DEPLOYD, &method_service_deploy, &request, timeout_ms, reply,
                        problem);
}

int command_deploy(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct target target = { 0 };
    struct service_deploy_reply reply = { 0 };
    enum status status = deploy(session, arguments, &target, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (!session_is_for_programs(session)) {
        deployment_print(target.key, &reply);
        deployment_isolation_note(reply.isolation);
    } else {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        deployment_item(&target, &reply, &item);
        document_print(session->format, &item, target.key);
    }
    return deployment_exit_code(target.key, &reply, arguments_has(arguments, FLAG_wait));
}
