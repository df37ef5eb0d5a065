/* archive: has eventd write the oldest events into a verified archive and begin the log after them.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/text.h"

enum { ARCHIVE_MS_MAX = 60 * 60 * 1000 };

static enum status ask(struct session *session, const struct arguments *arguments,
                       struct event_archive_reply *reply, struct problem *problem)
{
    struct event_archive_request request = { 0 };
    uint64_t timeout_ms;
    TRY(arguments_duration(arguments, FLAG_timeout, ARCHIVE_MS_MAX, &timeout_ms, problem));
    TRY(arguments_number(arguments, FLAG_keep_events, 0, &request.keep_events, problem));
    TRY(arguments_duration(arguments, FLAG_older_than, 0, &request.keep_ms, problem));
    if (arguments_has(arguments, FLAG_keep_events) && request.keep_events == 0)
        return problem_set(problem, STATUS_USAGE, "", "--keep takes a number from 1 on");
    return session_call(session, PEER_EVENTD, &method_event_archive, &request, timeout_ms, reply,
                        problem);
}

int command_archive(struct session *session, const struct arguments *arguments)
{
    struct event_archive_reply reply = { 0 };
    struct problem problem = { 0 };
    AUTO(item_close) struct item item = ITEM_EMPTY;
    enum status status = ask(session, arguments, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "the log", status, &problem);
    if (session_is_for_programs(session)) {
        item_text(&item, "kind", "archive");
        item_number(&item, "events", reply.events);
        item_number_or_null(&item, "first", reply.first);
        item_number_or_null(&item, "last", reply.last);
        item_text_or_null(&item, "folder", reply.folder);
        item_text_or_null(&item, "key", reply.key);
        document_print(session->format, &item, reply.folder);
        return 0;
    }
    if (reply.events == 0) {
        printf("nothing was archived: no event is that old, or beyond that number\n");
        return 0;
    }
    printf("events %" PRIu64 " to %" PRIu64 " are archived in ", reply.first, reply.last);
    text_print(stdout, reply.folder);
    printf(", verified, and removed from the log; checkpoints are signed by %s\n", reply.key);
    return 0;
}
