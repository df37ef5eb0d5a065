/* describe: everything known about one service on one page. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/spec/spec.h"
#include "common/wire/writer.h"
#include "soloctl/commands.h"
#include "soloctl/event_view.h"
#include "soloctl/output.h"
#include "soloctl/page.h"
#include "soloctl/service_view.h"
#include "soloctl/target.h"
#include "soloctl/text.h"

enum { EVENTS_SHOWN = 10 };

struct description {
    struct target target;
    struct service_describe_reply reply;
    struct service_row row;
    struct exit_list exits;
    struct spec spec;
    bool has_row, has_spec;
    struct arena arena; /* of all that; the session's is reused by the next call */
};

static void description_close(struct description *description)
{
    arena_close(&description->arena);
}

static struct span keep(struct arena *arena, struct span bytes)
{
    void *copy = arena_alloc(arena, bytes.size + 1);
    if (copy == NULL || bytes.size == 0)
        return (struct span){ 0 };
    memcpy(copy, bytes.data, bytes.size);
    return span_of(copy, bytes.size);
}

static enum status load(struct session *session, struct description *description,
                        struct problem *problem)
{
    struct arena *arena = &description->arena;
    struct service_describe_reply *reply = &description->reply;
    struct service_describe_request request = { .tenant = description->target.tenant,
                                                .name = description->target.name };
    TRY(session_call(session, PEER_DEPLOYD, &method_service_describe, &request, READ_TIMEOUT_MS,
                     reply, problem));
    reply->service = keep(arena, reply->service);
    reply->spec = keep(arena, reply->spec);
    reply->next_step = arena_text(arena, span_of_text(reply->next_step));
    if (reply->service.size > 0) {
        TRY(fields_decode(&record_service_row, reply->service, arena, &description->row, problem));
        TRY(service_exits(&description->row, arena, &description->exits, problem));
        description->has_row = true;
    }
    struct problem spec_problem = { 0 };
    description->has_spec =
        reply->spec.size > 0 &&
        spec_decode(reply->spec, arena, &description->spec, &spec_problem) == STATUS_OK;
    return STATUS_OK;
}

/* The last events about it, oldest first; eventd being away only costs these. */
static enum status load_events(struct session *session, const struct description *description,
                               struct event_query_reply *reply)
{
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
    struct problem problem = { 0 };
    snprintf(subject, sizeof subject, "service/%s", description->target.key);
    struct event_query_request request = { .tenant = description->target.tenant,
                                           .type = "",
                                           .subject = subject,
                                           .limit = EVENTS_SHOWN,
                                           .newest_first = true };
    return session_call(session, PEER_EVENTD, &method_event_query, &request, 5000, reply, &problem);
}

/* -- as a page -- */

static void line_number(const char *name, uint64_t number)
{
    page_label(name);
    if (number == 0)
        printf("-\n");
    else
        printf("%" PRIu64 "\n", number);
}

static void print_exits(const struct exit_list *exits)
{
    char time[TIME_TEXT_BYTES], text[EXIT_TEXT_BYTES], ran[DURATION_TEXT_BYTES];
    if (exits->count > 0)
        printf("\nLast exits, newest first\n");
    for (size_t i = 0; i < exits->count; i++) {
        const struct exit_row *exit = &exits->rows[i];
        printf("  %s  ", time_text(time, exit->wall_ns));
        text_print(stdout, exit->reason[0] != '\0' ? exit->reason : exit_text(text, exit));
        printf(", ran %s\n", duration_text(ran, exit->ran_ms));
        for (const char *rest = exit->output; *rest != '\0';) {
            size_t size = strcspn(rest, "\n");
            printf("      | ");
            text_print_span(stdout, span_of(rest, size), true);
            printf("\n");
            rest += size + (rest[size] == '\n');
        }
    }
}

struct newest_events {
    struct event_item events[EVENTS_SHOWN];
    size_t count;
};

static enum status collect(void *context, const struct event_item *event)
{
    struct newest_events *newest = context;
    if (newest->count < EVENTS_SHOWN)
        newest->events[newest->count++] = *event;
    return STATUS_OK;
}

static void print_row(const struct description *description)
{
    const struct service_row *row = &description->row;
    const struct exit_list *exits = &description->exits;
    char started[TIME_TEXT_BYTES], age[AGE_BYTES], due[TIME_TEXT_BYTES];
    char usage[USAGE_TEXT_BYTES], hash[HASH_TEXT_BYTES];
    page_line("State", row->state);
    page_line("Reason", row->reason);
    line_number("Generation", row->generation);
    line_number("Since event", row->since);
    if (!hash_is_zero(&row->spec_hash))
        page_line("Spec hash", hex_text(hash, row->spec_hash.bytes, HASH_BYTES));
    line_number("Pid", row->pid);
    if (row->pid != 0 && row->started_ns != 0) {
        page_label("Started");
        printf("%s (%s ago)\n", time_text(started, row->started_ns),
               age_text(age, row->started_ns, clock_wall_ns()));
    }
    if (row->limits[0] != '\0') /* how each is held, which only a process can tell */
        page_line("Limits", row->limits);
    if (usage_text(usage, row)[0] != '\0')
        page_line(row->is_usage_high ? "Usage (high)" : "Usage", usage);
    if (row->breaches != 0) {
        page_label("Breaches");
        printf("%" PRIu64 ", the last: ", row->breaches);
        text_print(stdout, row->breach);
        printf("\n");
    }
    page_line("Ready", row->is_ready ? "yes" : "no");
    page_label("Restarts");
    printf("%" PRIu64 "\n", row->restarts);
    if (row->due_ns != 0) {
        uint64_t now_ns = clock_wall_ns();
        page_label(strcmp(row->state, "stopping") == 0   ? "Killed at"
                   : strcmp(row->state, "starting") == 0 ? "Ready until"
                                                         : "Next start");
        printf("%s (%s%s)\n", time_text(due, row->due_ns), row->due_ns > now_ns ? "in " : "",
               row->due_ns > now_ns ? age_text(age, now_ns, row->due_ns) : "now");
    }
    if (strcmp(row->state, "parked") == 0 && exits->count > 0) {
        page_label("Parked since");
        printf("%s (%s ago)\n", time_text(due, exits->rows[0].wall_ns),
               age_text(age, exits->rows[0].wall_ns, clock_wall_ns()));
    }
}

/* A command per line, to be pasted. */
static void print_next_step(const char *text)
{
    if (text[0] != '\0')
        printf("\n");
    for (bool is_first = true; *text != '\0'; is_first = false) {
        size_t size = strcspn(text, "\n");
        page_label(is_first ? "Next step" : "");
        text_print_span(stdout, span_of(text, size), false);
        printf("\n");
        text += size + (text[size] == '\n');
    }
}

static void print_page(struct session *session, const struct description *description)
{
    struct event_query_reply events = { 0 };
    struct newest_events newest = { .count = 0 };
    struct problem problem = { 0 };
    page_line("Name", description->target.key);
    if (description->has_row)
        print_row(description);
    line_number("Wanted", description->reply.wanted_generation);
    if (description->has_spec)
        page_spec(&description->spec, !description->has_row || description->row.limits[0] == '\0');
    print_exits(&description->exits);
    if (load_events(session, description, &events) != STATUS_OK)
        printf("\nIts events cannot be read: eventd does not answer\n");
    else if (events_each(events.events, &session->arena, collect, &newest, &problem) == STATUS_OK &&
             newest.count > 0) {
        printf("\nLast events\n");
        for (size_t i = newest.count; i-- > 0;)
            event_print(stdout, &newest.events[i], session->format == FORMAT_WIDE);
    }
    print_next_step(description->reply.next_step);
}

/* -- as a document -- */

static void print_document(struct session *session, const struct description *description)
{
    const struct exit_list *exits = &description->exits;
    AUTO(item_close) struct item item = ITEM_EMPTY;
    AUTO(buffer_close) struct buffer list = { .limit = ITEM_BYTES_MAX };
    item_text(&item, "kind", "service");
    if (description->has_row) {
        service_item(&description->row, exits, &item);
    } else {
        item_text(&item, "tenant", description->target.tenant);
        item_text(&item, "name", description->target.name);
    }
    item_number_or_null(&item, "wanted_generation", description->reply.wanted_generation);
    item_text_or_null(&item, "next_step", description->reply.next_step);
    write_array(&list, exits->count);
    for (size_t i = 0; i < exits->count; i++) {
        AUTO(item_close) struct item exit = ITEM_EMPTY;
        exit_item(&exits->rows[i], &exit);
        item_pack(&exit, &list);
    }
    item_object(&item, "exits", buffer_span(&list));
    item_object(&item, "spec", description->reply.spec);
    document_print(session->format, &item, description->target.key);
}

int command_describe(struct session *session, const struct arguments *arguments)
{
    AUTO(description_close)
    struct description description = { .arena = { .limit = 2 * REPLY_BYTES_MAX } };
    struct problem problem = { 0 };
    enum status status =
        target_parse(arguments->operands[0], session->tenant, &description.target, &problem);
    if (status == STATUS_OK)
        status = load(session, &description, &problem);
    if (status != STATUS_OK)
        return session_fail(session, arguments->operands[0], status, &problem);
    if (session_is_for_programs(session))
        print_document(session, &description);
    else
        print_page(session, &description);
    return 0;
}
