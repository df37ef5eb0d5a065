/* eventd does it: nobody else writes the log. */
#include "recoveryd/resolve_command.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "recoveryd/peer.h"

enum { ANSWER_MS_MAX = 30 * 1000 };

static enum status resolve(const struct settings *settings, const struct options *options)
{
    AUTO(peer_close) struct peer eventd = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = FRAME_BYTES_SMALL };
    const struct event_resolve_request request = {};
    struct event_resolve_reply reply = { 0 };
    struct problem problem = { 0 };
    enum status status = peer_open_daemon(&eventd, settings->run_dir, "eventd");
    if (status != STATUS_OK)
        return log_failure(status, "resolve", "reason", "eventd does not answer: start Solo");
    status =
        peer_ask(&eventd, ANSWER_MS_MAX, &method_event_resolve, &request, &arena, &reply, &problem);
    if (status != STATUS_OK)
        return log_failure(status, "resolve", "reason",
                           problem.message[0] == '\0' ? status_text(status) : problem.message);
    if (options->output == OUTPUT_JSON)
        printf("{\"kind\": \"resolve\", \"keep\": \"log\", \"event_id\": %" PRIu64 "}\n",
               reply.event_id);
    else
        printf("The log is kept as it is (event %" PRIu64 "). `recoveryd --dry-run` says what is "
               "due by it, `recoveryd` carries it out; what runs and is newer than this log is "
               "replaced by a restart of Solo.\n",
               reply.event_id);
    return STATUS_OK;
}

int resolve_command(const struct settings *settings, const struct options *options)
{
    return status_exit_code(resolve(settings, options));
}
