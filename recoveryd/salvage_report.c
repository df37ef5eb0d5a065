/* Lists are cut after the first few: the counts are of all. */
#include "recoveryd/salvage_report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum { REVIEWS_SHOWN_MAX = 20, TEXT_BYTES_MAX = 1024 * 1024 };

/* --- text --- */

static void write_ranges(struct buffer *text, const char *name, const struct event_ranges *ranges,
                         const char *words)
{
    if (ranges->events == 0)
        return;
    buffer_append_format(text, "%-11s%" PRIu64 " event%s: ", name, ranges->events,
                         ranges->events == 1 ? "" : "s");
    for (size_t i = 0; i < ranges->count && i < RANGES_SHOWN_MAX; i++) {
        const struct event_range *range = &ranges->items[i];
        buffer_append_format(text, "%s%" PRIu64, i == 0 ? "" : ", ", range->first);
        if (range->last != range->first)
            buffer_append_format(text, " to %" PRIu64, range->last);
    }
    buffer_append_format(text, "%s; %s\n", ranges->count > RANGES_SHOWN_MAX ? ", ..." : "", words);
}

static void write_reviews(struct buffer *text, const struct salvage_losses *losses)
{
    size_t shown = 0;
    if (losses->review_count == 0)
        return;
    buffer_append_format(text, "%-11s%zu service%s: ", "Review", losses->review_count,
                         losses->review_count == 1 ? "" : "s");
    for (size_t i = 0; i < losses->service_count && shown < REVIEWS_SHOWN_MAX; i++)
        if (losses->services[i].is_needed)
            buffer_append_format(text, "%s%s", shown++ == 0 ? "" : ", ", losses->services[i].key);
    buffer_append_text(text, shown < losses->review_count ? ", ...\n" : "\n");
    buffer_append_text(text, "           a deploy or kill of them may be lost: none is started "
                             "until you deploy it again; `soloctl kill` ends it for good\n");
}

static void write_behind(struct buffer *text, const struct salvage_behind *behind)
{
    size_t shown = 0;
    if (behind->wanted_count == 0)
        return;
    buffer_append_format(text, "%-11s%zu service%s: ", "Behind", behind->wanted_count,
                         behind->wanted_count == 1 ? "" : "s");
    for (size_t i = 0; i < behind->count && shown < REVIEWS_SHOWN_MAX; i++)
        if (behind->services[i].is_wanted)
            buffer_append_format(text, "%s%s (event %" PRIu64 ")", shown++ == 0 ? "" : ", ",
                                 behind->services[i].key, behind->services[i].row.generation);
    buffer_append_text(text, shown < behind->wanted_count ? ", ...\n" : "\n");
    buffer_append_text(text, "           wanted by what is unlinked, which proves nothing: deploy "
                             "again what is right\n");
}

static void write_text(const struct salvage_report *report, struct buffer *text)
{
    const struct salvage_losses *losses = report->losses;
    buffer_append_format(text, "%-11sevents 1 to %" PRIu64 " are proven, and are the log now\n",
                         "Salvaged", losses->until);
    write_ranges(text, "Lost", &losses->lost, "nothing is left of them");
    write_ranges(text, "Unlinked", &losses->unlinked, "whole, but what they follow is lost");
    if (report->scan->unreadable_bytes > 0)
        buffer_append_format(text, "%-11s%" PRIu64 " bytes were not given by the disk\n",
                             "Unreadable", report->scan->unreadable_bytes);
    bool is_contradicted = record_scan_is_contradicted(report->scan);
    if (is_contradicted)
        buffer_append_format(text,
                             "%-11sevent %" PRIu64 " is another one than DATA/" LOG_ANCHOR_FILE
                             " named: this is another story than the last one that was told here; "
                             "compare it before you start Solo\n",
                             "Other", report->scan->witness.id);
    write_reviews(text, losses);
    write_behind(text, &losses->behind);
    buffer_append_format(text, "%-11s%s: the damaged store, as it was\n", "Kept",
                         report->quarantine);
    buffer_append_format(text, "%-11s%s.json: this report\n", "", report->quarantine);
    if (losses->lost.events > 0)
        buffer_append_text(text, "If archives or backups have what is lost: put the kept store "
                                 "back as DATA/events, and run this again with them.\n");
    buffer_append_text(text, salvage_losses_need_a_person(losses) || is_contradicted
                                 ? "Next: `recoveryd --dry-run`, then start Solo.\n"
                                 : "Nothing is lost. Start Solo.\n");
}

/* --- JSON --- */

static json_t *ranges_json(const struct event_ranges *ranges)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ranges->count && i < RANGES_SHOWN_MAX; i++)
        json_array_append_new(list,
                              json_pack("{s:I, s:I}", "first", (json_int_t)ranges->items[i].first,
                                        "last", (json_int_t)ranges->items[i].last));
    return json_pack("{s:I, s:b, s:o}", "events", (json_int_t)ranges->events, "is_cut",
                     ranges->count > RANGES_SHOWN_MAX, "ranges", list);
}

static json_t *behind_json(const struct salvage_behind *behind)
{
    json_t *list = json_array();
    for (size_t i = 0; i < behind->count; i++)
        if (behind->services[i].is_wanted)
            json_array_append_new(list, json_pack("{s:s, s:I}", "service", behind->services[i].key,
                                                  "event",
                                                  (json_int_t)behind->services[i].row.generation));
    return list;
}

static json_t *report_json(const struct salvage_report *report)
{
    const struct salvage_losses *losses = report->losses;
    json_t *review = json_array();
    for (size_t i = 0; i < losses->service_count; i++)
        if (losses->services[i].is_needed)
            json_array_append_new(review, json_string(losses->services[i].key));
    return json_pack("{s:s, s:i, s:I, s:I, s:b, s:o, s:o, s:o, s:o, s:I, s:s}", "kind",
                     "salvage_report", "schema", 1, "salvaged", (json_int_t)losses->until,
                     "known_last", (json_int_t)losses->known_last, "is_contradicted",
                     record_scan_is_contradicted(report->scan), "lost", ranges_json(&losses->lost),
                     "unlinked", ranges_json(&losses->unlinked), "needs_review", review, "behind",
                     behind_json(&losses->behind), "unreadable_bytes",
                     (json_int_t)report->scan->unreadable_bytes, "quarantine", report->quarantine);
}

static enum status print_json(json_t *document)
{
    bool is_done = document != NULL && json_dumpf(document, stdout, 0) == 0 && puts("") >= 0;
    json_decref(document);
    return is_done ? STATUS_OK : log_failure(STATUS_RESOURCE_EXHAUSTED, "print the report");
}

static void free_text(char **text)
{
    free(*text);
}

enum status salvage_report_keep(const struct salvage_report *report)
{
    char path[4096 + 8];
    json_t *document = report_json(report);
    AUTO(free_text) char *text = document == NULL ? NULL : json_dumps(document, 0);
    json_decref(document);
    if (text == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "keep the report");
    snprintf(path, sizeof path, "%s.json", report->quarantine);
    return file_write_durably(path, span_of_text(text), 0600);
}

enum status salvage_report_print(const struct salvage_report *report, bool is_json)
{
    AUTO(buffer_close) struct buffer text = { .limit = TEXT_BYTES_MAX };
    if (is_json)
        return print_json(report_json(report));
    write_text(report, &text);
    if (text.is_exhausted)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "print the report");
    return fd_write_all(STDOUT_FILENO, buffer_span(&text));
}

enum status salvage_report_print_made(const struct log_salvage *made, bool is_json)
{
    AUTO(buffer_close) struct buffer text = { .limit = TEXT_BYTES_MAX };
    if (is_json)
        return print_json(json_pack("{s:s, s:i, s:I, s:b, s:b, s:b, s:I}", "kind", "salvage_report",
                                    "schema", 1, "salvaged", (json_int_t)made->until, "is_repeat",
                                    true, "needs_person", made->needs_person, "needs_review_all",
                                    made->has_all, "needs_review_count",
                                    (json_int_t)made->listed_count));
    buffer_append_format(&text,
                         "%-11sevents 1 to %" PRIu64 " are the log already, and Solo was not "
                         "started since; the report is the newest DATA/quarantine-events-*.json\n"
                         "Next: `recoveryd --dry-run`, then start Solo.\n",
                         "Salvaged", made->until);
    return text.is_exhausted ? log_failure(STATUS_RESOURCE_EXHAUSTED, "print the report")
                             : fd_write_all(STDOUT_FILENO, buffer_span(&text));
}
