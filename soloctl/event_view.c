/* One place that knows how an event is shown. */
#include "soloctl/event_view.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/spec/spec_json.h"
#include "common/wire/reader.h"
#include "soloctl/text.h"

enum { VALUE_BYTES_SHOWN = 96 };

void event_item_build(const struct event_item *event, struct item *item)
{
    item_number(item, "id", event->id);
    item_time(item, "time", event->wall_ns);
    item_text(item, "type", event->type);
    item_text_or_null(item, "tenant", event->tenant);
    item_text_or_null(item, "subject", event->subject);
    item_number_or_null(item, "causation_id", event->causation_id);
    item_text_or_null(item, "request_id", event->request_id);
    item_object(item, "payload", event->payload);
    item_hash(item, "hash", &event->hash);
}

static void print_value(FILE *out, struct reader value, bool is_wide)
{
    AUTO(buffer_close) struct buffer json = { .limit = FRAME_BYTES_MAX };
    struct span object, text;
    struct reader again = value;
    if (reader_any(&value, &object) != STATUS_OK)
        return;
    if (reader_str(&again, &text) == STATUS_OK && memchr(text.data, ' ', text.size) == NULL &&
        text.size > 0) {
        size_t shown = text.size > VALUE_BYTES_SHOWN && !is_wide ? VALUE_BYTES_SHOWN : text.size;
        text_print_span(out, span_of(text.data, shown), false);
        fprintf(out, shown < text.size ? "..." : "");
        return;
    }
    if (json_from_wire(object, &json) == STATUS_OK)
        fwrite(json.data, 1, json.size, out);
}

/* The map of a map is shown in place (a report), one deeper no more; a spec is for `describe`. */
static void print_pairs(FILE *out, struct span map, bool is_wide, bool is_inner, const char **gap)
{
    struct reader reader = reader_of(map);
    uint32_t count = 0;
    if (map.size == 0 || reader_map(&reader, &count) != STATUS_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct span key, object;
        if (reader_str(&reader, &key) != STATUS_OK)
            return;
        struct reader value = reader;
        enum wire_type type = reader_peek(&reader);
        if (reader_any(&reader, &object) != STATUS_OK)
            return;
        if (type == WIRE_MAP && !is_inner && !span_equal(key, span_of_text("spec")))
            print_pairs(out, object, is_wide, true, gap);
        if (type == WIRE_MAP || type == WIRE_ARRAY || (type == WIRE_BIN && !is_wide))
            continue;
        fprintf(out, "%s", *gap);
        text_print_span(out, key, false);
        fprintf(out, "=");
        print_value(out, value, is_wide);
        *gap = " ";
    }
}

void payload_print(FILE *out, struct span payload, bool is_wide)
{
    const char *gap = "";
    print_pairs(out, payload, is_wide, false, &gap);
}

void event_print_heading(FILE *out)
{
    fprintf(out, "%8s  %-24s  %-25s  %-22s  %s\n", "ID", "TIME", "TYPE", "SUBJECT", "DETAILS");
}

/* Pads by bytes: names and types are ASCII. */
static void print_padded(FILE *out, const char *text, int width)
{
    text_print(out, text);
    fprintf(out, "%*s", (int)strlen(text) < width ? width - (int)strlen(text) : 0, "");
}

void event_print(FILE *out, const struct event_item *event, bool is_wide)
{
    char time[TIME_TEXT_BYTES];
    fprintf(out, "%8" PRIu64 "  %-24s  ", event->id, time_text(time, event->wall_ns));
    print_padded(out, event->type, 25);
    fprintf(out, "  ");
    print_padded(out, event->subject[0] == '\0' ? "-" : event->subject, 22);
    fprintf(out, "  ");
    if (event->causation_id != 0)
        fprintf(out, "<-%" PRIu64 " ", event->causation_id);
    payload_print(out, event->payload, is_wide);
    if (is_wide && event->request_id[0] != '\0') {
        fprintf(out, " request_id=");
        text_print(out, event->request_id);
    }
    fprintf(out, "\n");
}

enum status events_each(struct span list, struct arena *arena,
                        enum status (*take)(void *context, const struct event_item *event),
                        void *context, struct problem *problem)
{
    struct reader reader = reader_of(list);
    uint32_t count = 0;
    if (list.size == 0)
        return STATUS_OK;
    TRY(reader_array(&reader, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct span map;
        struct event_item event = { 0 };
        TRY(reader_any(&reader, &map));
        TRY(fields_decode(&record_event_item, map, arena, &event, problem));
        TRY(take(context, &event));
    }
    return STATUS_OK;
}
