/* events: the log, oldest first, page by page; with -f it goes on live. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/event_view.h"
#include "soloctl/output.h"
#include "soloctl/target.h"

struct story {
    struct session *session;
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
    const char *type;
    uint64_t after; /* the last event that was shown or passed over */
    bool has_heading;
    struct list_output list;
};

static enum status show(void *context, const struct event_item *event)
{
    struct story *story = context;
    char name[24];
    if (!session_is_for_programs(story->session)) {
        if (!story->has_heading)
            event_print_heading(stdout);
        story->has_heading = true;
        event_print(stdout, event, story->session->format == FORMAT_WIDE);
    } else {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        event_item_build(event, &item);
        snprintf(name, sizeof name, "%llu", (unsigned long long)event->id);
        list_add(&story->list, &item, name);
    }
    story->after = event->id;
    return STATUS_OK;
}

static struct event_query_request query_of(const struct story *story)
{
    return (struct event_query_request){ .tenant = story->session->tenant,
                                         .type = story->type,
                                         .subject = story->subject,
                                         .after = story->after,
                                         .limit = QUERY_LIMIT_MAX };
}

/* Where the last `lines` events begin: pages from the end of the log until there are that many. */
static enum status find_start(struct story *story, uint64_t lines, struct problem *problem)
{
    struct event_query_request request = query_of(story);
    request.newest_first = true;
    request.after = 0;
    uint64_t start = 0;
    if (lines == 0) {
        struct event_query_reply reply = { 0 };
        request.limit = 1;
        TRY(session_call(story->session, PEER_EVENTD, &method_event_query, &request,
                         READ_TIMEOUT_MS, &reply, problem));
        if (reply.last_id > story->after)
            story->after = reply.last_id;
        return STATUS_OK;
    }
    for (uint64_t left = lines; left > 0;) {
        struct event_query_reply reply = { 0 };
        request.limit = left < QUERY_LIMIT_MAX ? left : QUERY_LIMIT_MAX;
        TRY(session_call(story->session, PEER_EVENTD, &method_event_query, &request,
                         READ_TIMEOUT_MS, &reply, problem));
        struct reader reader = reader_of(reply.events);
        uint32_t count = 0;
        if (reply.events.size > 0)
            TRY(reader_array(&reader, &count));
        left -= count < left ? count : left;
        for (uint32_t i = 0; i < count; i++) {
            struct span map;
            TRY(reader_any(&reader, &map));
            start = map_u64(map, "id", start);
        }
        if (reply.next == 0)
            break;
        request.before = reply.next;
    }
    if (start > 0 && start - 1 > story->after)
        story->after = start - 1;
    return STATUS_OK;
}

/* Of what was asked for, some is not in the log any more. */
static void tell_begin(const struct story *story, const struct event_query_reply *reply)
{
    if (reply->first_id > story->after + 1)
        fprintf(stderr,
                "the log begins at event %llu; older ones were archived: `recoveryd log --archive "
                "FILE` reads them\n",
                (unsigned long long)reply->first_id);
}

static enum status show_past(struct story *story, struct problem *problem)
{
    for (bool is_begun = false;; is_begun = true) {
        struct event_query_request request = query_of(story);
        struct event_query_reply reply = { 0 };
        TRY(session_call(story->session, PEER_EVENTD, &method_event_query, &request,
                         READ_TIMEOUT_MS, &reply, problem));
        if (!is_begun)
            tell_begin(story, &reply);
        TRY(events_each(reply.events, &story->session->arena, show, story, problem));
        if (!output_flush())
            return STATUS_CANCELLED;
        if (reply.next == 0) {
            /* The tail then begins where this answer ended, also when it showed nothing. */
            if (reply.last_id > story->after)
                story->after = reply.last_id;
            return STATUS_OK;
        }
        story->after = reply.next;
    }
}

struct tail {
    struct story *story;
    struct arena arena;
    enum status status;
};

static void tail_close(struct tail *tail)
{
    arena_close(&tail->arena);
}

static void on_batch(void *context, const char *method, struct span params)
{
    struct tail *tail = context;
    struct problem problem = { 0 };
    struct reader value;
    struct span list;
    (void)method;
    arena_reset(&tail->arena);
    if (map_find(params, "events", &value) == STATUS_OK && reader_any(&value, &list) == STATUS_OK)
        tail->status = events_each(list, &tail->arena, show, tail->story, &problem);
    uint64_t last_id = map_u64(params, "last_id", 0);
    if (last_id > tail->story->after)
        tail->story->after = last_id;
    if (!output_flush())
        exit(0); /* whoever read this has gone */
}

/* A watch that was cut off for being slow, or broken by a restart of eventd, is resumed after the
 * last event: nothing is missed, nothing shown twice. What was archived meanwhile is told. */
static enum status show_tail(struct story *story, struct problem *problem)
{
    AUTO(tail_close) struct tail tail = { .story = story, .arena = { .limit = REPLY_BYTES_MAX } };
    for (;;) {
        struct daemon_health_request health = {};
        struct daemon_health_reply healthy = { 0 };
        struct event_watch_request request = { .tenant = story->session->tenant,
                                               .type = story->type,
                                               .subject = story->subject,
                                               .after = story->after };
        struct event_watch_reply reply = { 0 };
        TRY(session_call(story->session, PEER_EVENTD, &method_daemon_health, &health,
                         READ_TIMEOUT_MS, &healthy, problem));
        enum status status = session_stream(story->session, PEER_EVENTD, &method_event_watch,
                                            &request, on_batch, &tail, &reply, problem);
        if (status == STATUS_OUT_OF_RANGE)
            status = show_past(story, problem);
        if (status != STATUS_OK && status != STATUS_RESOURCE_EXHAUSTED &&
            status != STATUS_UNAVAILABLE && status != STATUS_UNKNOWN)
            return status;
    }
}

static enum status tell(struct story *story, const struct arguments *arguments,
                        struct problem *problem)
{
    struct session *session = story->session;
    uint64_t lines;
    bool follows = arguments_has(arguments, FLAG_follow) || arguments_has(arguments, FLAG_watch);
    TRY(arguments_number(arguments, FLAG_after, 0, &story->after, problem));
    TRY(arguments_number(arguments, FLAG_lines, UINT64_MAX, &lines, problem));
    if (follows && session->format == FORMAT_JSON)
        return problem_set(problem, STATUS_USAGE, "",
                           "a stream is no single document; use -o jsonl");
    if (arguments_has(arguments, FLAG_service)) {
        struct target target;
        TRY(target_parse(arguments->value[FLAG_service], session->tenant, &target, problem));
        snprintf(story->subject, sizeof story->subject, "service/%s", target.key);
    }
    if (arguments_has(arguments, FLAG_lines))
        TRY(find_start(story, lines, problem));
    TRY(list_begin(&story->list, session->format, "events", problem));
    TRY(show_past(story, problem));
    if (!session_is_for_programs(session) && !story->has_heading && !follows)
        fprintf(stderr, "no events\n");
    list_end(&story->list);
    return follows ? show_tail(story, problem) : STATUS_OK;
}

int command_events(struct session *session, const struct arguments *arguments)
{
    const char *type = arguments->value[FLAG_type];
    struct story story = { .session = session, .type = type == NULL ? "" : type };
    struct problem problem = { 0 };
    enum status status = tell(&story, arguments, &problem);
    list_close(&story.list);
    if (status == STATUS_CANCELLED && !output_flush())
        return 0;
    return status == STATUS_OK ? 0 : session_fail(session, "", status, &problem);
}
