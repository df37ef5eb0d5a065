/* logs: what a service wrote to its standard output and standard error. For programs the bytes as
 * they are; on a terminal with control characters escaped, because they are a tenant's. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/target.h"
#include "soloctl/text.h"

enum { RETRY_PAUSE_MS = 100 };

struct reading {
    struct session *session;
    struct target target;
    struct list_output list;
    bool is_terminal;
    bool is_line_open; /* the last piece was not the end of its line */
    bool has_begun;    /* deployd has answered */
    bool is_answered;  /* the same for this attempt */
    uint64_t began_ns; /* wall clock */
    uint64_t last_ns;  /* of the newest line, 0 for none: a broken stream resumes after it */
    uint64_t at_last;  /* lines of that very nanosecond that were shown */
    uint64_t to_skip;  /* of those, when resumed */
};

static struct span text_of(struct span line)
{
    struct reader value;
    struct span text = { 0 };
    if (map_find(line, "text", &value) == STATUS_OK && reader_str(&value, &text) != STATUS_OK)
        reader_bin(&value, &text);
    return text;
}

static void print_line(struct reading *reading, uint64_t time_ns, const char *stream,
                       bool is_partial, struct span text)
{
    char time[TIME_TEXT_BYTES];
    time_text(time, time_ns);
    if (reading->session->format == FORMAT_JSON || reading->session->format == FORMAT_JSONL) {
        AUTO(item_close) struct item item = ITEM_EMPTY;
        AUTO(buffer_close) struct buffer copy = { .limit = 2 * LOG_LINE_BYTES_MAX };
        buffer_append(&copy, text.data, text.size);
        buffer_append(&copy, "", 1);
        item_text(&item, "time", time);
        item_text(&item, "stream", stream);
        item_bool(&item, "partial", is_partial);
        item_text(&item, "text", copy.is_exhausted ? "" : (const char *)copy.data);
        list_add(&reading->list, &item, "");
        return;
    }
    if (reading->session->format == FORMAT_WIDE && !reading->is_line_open)
        printf("%s %s ", time, strcmp(stream, "stderr") == 0 ? "err" : "out");
    if (reading->is_terminal)
        text_print_span(stdout, text, true);
    else
        fwrite(text.data, 1, text.size, stdout);
    if (!is_partial)
        printf("\n");
    reading->is_line_open = is_partial;
}

/* A line of Solo's own: what is missing. */
static void print_note(struct reading *reading, struct span text)
{
    bool is_for_programs =
        reading->session->format == FORMAT_JSON || reading->session->format == FORMAT_JSONL;
    if (reading->is_line_open && !is_for_programs)
        printf("\n");
    reading->is_line_open = false;
    print_line(reading, reading->last_ns, "solo", false, text);
}

static void show_line(struct reading *reading, struct span line)
{
    static const char passed[] =
        "solo: lines may be missing here: they were removed before they were read";
    char stream[16];
    uint64_t time_ns = map_u64(line, "time", 0);
    if (map_bool(line, "note", false)) {
        print_note(reading, text_of(line));
        return;
    }
    if (time_ns == reading->last_ns && reading->to_skip > 0) {
        reading->to_skip--;
        return;
    }
    /* What was shown last is not kept any more, so what followed it may not be either. */
    if (time_ns != reading->last_ns && reading->to_skip == reading->at_last && reading->to_skip > 0)
        print_note(reading, span_of_text(passed));
    reading->to_skip = 0;
    reading->at_last = time_ns == reading->last_ns ? reading->at_last + 1 : 1;
    reading->last_ns = time_ns;
    map_text(line, "stream", stream, sizeof stream);
    print_line(reading, time_ns, stream, map_bool(line, "partial", false), text_of(line));
}

static void on_lines(void *context, const char *method, struct span params)
{
    struct reading *reading = context;
    struct reader lines;
    uint32_t count = 0;
    (void)method;
    reading->has_begun = reading->is_answered = true;
    if (map_find(params, "lines", &lines) != STATUS_OK || reader_array(&lines, &count) != STATUS_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct span line;
        if (reader_any(&lines, &line) != STATUS_OK)
            return;
        show_line(reading, line);
    }
    if (!output_flush())
        exit(0); /* whoever read this has gone */
}

static enum status request_make(struct session *session, const struct arguments *arguments,
                                struct reading *reading, struct service_logs_request *request,
                                struct problem *problem)
{
    const char *since = arguments->value[FLAG_since], *stream = arguments->value[FLAG_stream];
    TRY(target_parse(arguments->operands[0], session->tenant, &reading->target, problem));
    *request = (struct service_logs_request){ .tenant = reading->target.tenant,
                                              .name = reading->target.name,
                                              .stream = "",
                                              .follow = arguments_has(arguments, FLAG_follow) };
    TRY(arguments_number(arguments, FLAG_lines, 0, &request->lines, problem));
    if (request->lines > 100000)
        return problem_set(problem, STATUS_USAGE, "", "--lines: at most 100000");
    request->only_new = arguments_has(arguments, FLAG_lines) && request->lines == 0;
    if (since != NULL && time_parse(since, clock_wall_ns(), &request->since_ns) != STATUS_OK)
        return problem_set(problem, STATUS_USAGE, "",
                           "--since: must be like 10m, 2026-11-21T20:58:17Z or @SECONDS, is \"%s\"",
                           since);
    if (stream != NULL && strcmp(stream, "out") != 0 && strcmp(stream, "err") != 0)
        return problem_set(problem, STATUS_USAGE, "", "--stream: must be out or err, is \"%s\"",
                           stream);
    if (stream != NULL)
        request->stream = strcmp(stream, "out") == 0 ? "stdout" : "stderr";
    if (request->follow && session->format == FORMAT_JSON)
        return problem_set(problem, STATUS_USAGE, "",
                           "--follow: a stream is no single document; use -o jsonl");
    return list_begin(&reading->list,
                      session->format == FORMAT_NAME ? FORMAT_TABLE : session->format, "log",
                      problem);
}

static void resume(struct reading *reading, struct service_logs_request *request)
{
    if (!reading->has_begun && !request->only_new)
        return; /* all over again */
    request->lines = 0;
    if (reading->last_ns != 0)
        request->since_ns = reading->last_ns;
    else if (request->only_new && request->since_ns < reading->began_ns)
        request->since_ns = reading->began_ns;
    request->only_new = false;
    reading->to_skip = reading->at_last;
}

static enum status read_log(struct session *session, struct reading *reading,
                            struct service_logs_request *request, struct problem *problem)
{
    for (;;) {
        struct service_logs_reply reply = { 0 };
        reading->is_answered = false;
        enum status status = session_stream(session, PEER_DEPLOYD, &method_service_logs, request,
                                            on_lines, reading, &reply, problem);
        bool is_broken = status == STATUS_UNAVAILABLE || status == STATUS_UNKNOWN ||
                         (status == STATUS_RESOURCE_EXHAUSTED && reading->is_answered);
        if (!is_broken || !request->follow || session->is_unreachable)
            return status;
        /* deployd restarts, or we were too slow: go on where we were. */
        struct daemon_health_request health = {};
        struct daemon_health_reply healthy = { 0 };
        if (!reading->is_answered)
            poll(NULL, 0, RETRY_PAUSE_MS);
        TRY(session_call(session, PEER_DEPLOYD, &method_daemon_health, &health, READ_TIMEOUT_MS,
                         &healthy, problem));
        resume(reading, request);
    }
}

int command_logs(struct session *session, const struct arguments *arguments)
{
    struct reading reading = { .session = session,
                               .is_terminal = isatty(STDOUT_FILENO),
                               .began_ns = clock_wall_ns() };
    struct service_logs_request request;
    struct problem problem = { 0 };
    enum status status = request_make(session, arguments, &reading, &request, &problem);
    if (status == STATUS_OK)
        status = read_log(session, &reading, &request, &problem);
    if (status == STATUS_OK)
        list_end(&reading.list);
    list_close(&reading.list);
    return status == STATUS_OK ? 0
                               : session_fail(session, arguments->operands[0], status, &problem);
}
