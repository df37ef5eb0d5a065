/* Printing the log. It is read in slices; what a slice holds is printed only after it is certain
 * that the file has not changed under a reader without locks. */
#include "recoveryd/log_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/spec/printable.h"
#include "common/spec/spec_json.h"
#include "recoveryd/event_store.h"

enum {
    SLICE_EVENTS = 1000,
    SLICE_BYTES = 4 * 1024 * 1024,
    SLICE_BYTES_MAX = SLICE_BYTES + 8 * EVENT_RECORD_BYTES_MAX,
    EVENT_ARENA_BYTES = 16 * 1024,
    PAYLOAD_SHOWN_BYTES = 240,
    READ_ATTEMPTS_MAX = 10,
};

struct listing {
    const struct settings *settings;
    const struct options *options;
    uint64_t next;  /* event */
    uint64_t first; /* with -n and without --after: found by walking back; 0 until then */
    uint64_t left;  /* to print */
    struct buffer text;
};

static void listing_close(struct listing *listing)
{
    buffer_close(&listing->text);
}

static bool is_wanted(const struct options *options, const struct event *event)
{
    return (options->type == NULL || strcmp(options->type, event->type) == 0) &&
           (options->tenant == NULL || strcmp(options->tenant, event->tenant) == 0);
}

static enum status show_json(const struct event *event, struct buffer *text)
{
    struct event_item item = { 0 };
    char request_id[UUID_TEXT_BYTES], time[TIME_TEXT_BYTES], hash[HASH_TEXT_BYTES];
    event_to_item(event, &item, request_id);
    AUTO(buffer_close) struct buffer payload = { .limit = SLICE_BYTES_MAX };
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

static enum status show_text(const struct event *event, struct buffer *text)
{
    char time[TIME_TEXT_BYTES], type[4 * EVENT_TYPE_BYTES_MAX + 1];
    char subject[4 * EVENT_SUBJECT_BYTES_MAX + 1];
    AUTO(buffer_close) struct buffer payload = { .limit = SLICE_BYTES_MAX };
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

/* The number from which -n events that match remain. */
static enum status find_first(struct listing *listing, struct db_txn *txn, uint64_t last)
{
    AUTO(arena_close) struct arena arena = { .limit = EVENT_ARENA_BYTES };
    uint64_t found = 0, id = last + 1;
    while (id > 1 && found < listing->options->count) {
        struct event event;
        id--;
        TRY(event_log_read(txn, id, &arena, &event));
        found += is_wanted(listing->options, &event) ? 1 : 0;
        arena_reset(&arena);
    }
    listing->first = id;
    return STATUS_OK;
}

static enum status read_slice(struct listing *listing, struct db *db, uint64_t *next, bool *is_end)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(arena_close) struct arena arena = { .limit = EVENT_ARENA_BYTES };
    uint64_t last, left = listing->left;
    TRY(db_begin_read(db, &txn));
    TRY(event_log_last(&txn, &last));
    if (listing->first == 0 && listing->options->has_count && !listing->options->has_after)
        TRY(find_first(listing, &txn, last));
    *next = listing->next > listing->first ? listing->next : listing->first;
    for (int i = 0; i < SLICE_EVENTS && *next <= last && left > 0; i++, ++*next) {
        struct event event;
        enum status status = event_log_read(&txn, *next, &arena, &event);
        if (status == STATUS_NOT_FOUND)
            return log_failure(STATUS_DATA_LOSS, "read event", "event", NUMBER(*next), "reason",
                               "it is missing");
        TRY(status);
        if (is_wanted(listing->options, &event)) {
            TRY(listing->options->output == OUTPUT_JSONL ? show_json(&event, &listing->text)
                                                         : show_text(&event, &listing->text));
            left--;
        }
        arena_reset(&arena);
        if (listing->text.size > SLICE_BYTES) {
            ++*next;
            break;
        }
    }
    listing->left = left;
    *is_end = *next > last || left == 0;
    return STATUS_OK;
}

/* OK and *is_end false when the store was changed and has to be opened again. */
static enum status print_store(struct listing *listing, bool *is_end)
{
    AUTO(event_store_close) struct event_store store = { 0 };
    TRY(event_store_open(&store, listing->settings->data_dir));
    for (*is_end = false; !*is_end;) {
        uint64_t next = listing->next, left = listing->left;
        bool is_settled;
        buffer_clear(&listing->text);
        enum status status = read_slice(listing, &store.db, &next, is_end);
        TRY(event_store_is_settled(&store, &is_settled));
        if (!is_settled) {
            *is_end = false;
            listing->left = left;
            return STATUS_OK;
        }
        if (listing->text.is_exhausted)
            return STATUS_RESOURCE_EXHAUSTED;
        TRY(fd_write_all(STDOUT_FILENO, buffer_span(&listing->text)));
        TRY(status);
        listing->next = next;
    }
    return STATUS_OK;
}

enum status log_command(const struct settings *settings, const struct options *options)
{
    AUTO(listing_close)
    struct listing listing = {
        .settings = settings,
        .options = options,
        .next = options->after + 1,
        .left = options->has_count ? options->count : UINT64_MAX,
        .text = { .limit = SLICE_BYTES_MAX },
    };
    if (options->after == UINT64_MAX)
        return STATUS_OK;
    bool is_end = false;
    for (int attempt = 0; attempt < READ_ATTEMPTS_MAX && !is_end; attempt++) {
        enum status status = print_store(&listing, &is_end);
        if (status == STATUS_NOT_FOUND)
            return STATUS_OK;
        TRY(status);
    }
    return is_end ? STATUS_OK
                  : log_failure(STATUS_ABORTED, "read the event store", "reason",
                                "it kept changing while no writer held it");
}
