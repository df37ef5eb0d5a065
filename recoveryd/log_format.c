/* One event as a line. What others named is made printable. */
#include "recoveryd/log_format.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/spec/printable.h"
#include "common/spec/spec_json.h"

enum { PAYLOAD_TEXT_BYTES_MAX = 8 * EVENT_RECORD_BYTES_MAX, PAYLOAD_SHOWN_BYTES = 240 };

enum status log_show_json(const struct event *event, struct buffer *text)
{
    struct event_item item = { 0 };
    char request_id[UUID_TEXT_BYTES], time[TIME_TEXT_BYTES], hash[HASH_TEXT_BYTES];
    event_to_item(event, &item, request_id);
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_TEXT_BYTES_MAX };
    if (item.payload.size == 0)
        buffer_append_text(&payload, "{}");
    else
        TRY(json_from_wire(item.payload, &payload));
    buffer_append_format(text, "{\"id\": %" PRIu64 ", \"time\": \"%s\", ", event->id,
                         time_text(time, event->wall_ns));
    /* Types, tenants and subjects of a foreign daemon are text like any other. */
    const char *const texts[][2] = { { "type", event->type },
                                     { "tenant", event->tenant },
                                     { "subject", event->subject },
                                     { "request_id", item.request_id } };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char shown[4 * (EVENT_SUBJECT_BYTES_MAX + 1)];
        text_printable(shown, sizeof shown, span_of_text(texts[i][1] == NULL ? "" : texts[i][1]));
        buffer_append_format(text, "\"%s\": \"%s\", ", texts[i][0], shown);
    }
    buffer_append_format(
        text, "\"causation_id\": %" PRIu64 ", \"hash\": \"%s\", \"payload\": ", event->causation_id,
        hex_text(hash, event->hash.bytes, sizeof event->hash.bytes));
    buffer_append(text, payload.data, payload.size);
    buffer_append_text(text, "}\n");
    return STATUS_OK;
}

enum status log_show_text(const struct event *event, struct buffer *text)
{
    char time[TIME_TEXT_BYTES], type[4 * EVENT_TYPE_BYTES_MAX + 1];
    char subject[4 * EVENT_SUBJECT_BYTES_MAX + 1];
    AUTO(buffer_close) struct buffer payload = { .limit = PAYLOAD_TEXT_BYTES_MAX };
    if (event->payload.size > 0)
        TRY(json_from_wire(event->payload, &payload));
    size_t shown = payload.size < PAYLOAD_SHOWN_BYTES ? payload.size : PAYLOAD_SHOWN_BYTES;
    while (shown < payload.size && shown > 0 && (payload.data[shown] & 0xc0) == 0x80)
        shown--;
    buffer_append_format(text, "%8" PRIu64 "  %s  %-26s  %-28s  %.*s%s\n", event->id,
                         time_text(time, event->wall_ns),
                         text_printable(type, sizeof type, span_of_text(event->type)),
                         text_printable(subject, sizeof subject, span_of_text(event->subject)),
                         (int)shown, payload.size == 0 ? "" : (const char *)payload.data,
                         shown < payload.size ? "..." : "");
    return STATUS_OK;
}
