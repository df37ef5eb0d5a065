/* The counts are taken out of the table when they are sent, in requests of a bounded number. */
#include "common/access/token_report.h"

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/run_folder.h"
#include "common/wire/writer.h"

enum { REPORT_S = 60, ANSWER_MS_MAX = 30 * 1000, REPORT_BYTES_MAX = FRAME_BYTES_SMALL };

static void on_told(void *context, enum status status, const struct problem *problem,
                    const void *reply)
{
    (void)context, (void)status, (void)problem, (void)reply;
}

static void send(struct token_report *report, const struct buffer *items, size_t count)
{
    AUTO(buffer_close) struct buffer list = { .limit = REPORT_BYTES_MAX };
    write_array(&list, count);
    buffer_append(&list, items->data, items->size);
    const struct token_report_use_request request = { .uses = buffer_span(&list) };
    const struct rpc_call_options options = { .timeout_ms = ANSWER_MS_MAX, .on_reply = on_told };
    if (!list.is_exhausted)
        (void)rpc_client_call(report->client, &method_token_report_use, &request, &options, NULL);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct token_report *report = timer->data;
    AUTO(buffer_close) struct buffer items = { .limit = REPORT_BYTES_MAX };
    size_t at = 0, count = 0;
    for (const struct token_use_count *use; (use = token_uses_next(&report->uses, &at)) != NULL;) {
        const struct token_use item = {
            .accessor = use->accessor,
            .minute = use->minute,
            .denied = use->denied,
            .method = use->method,
        };
        fields_encode(&record_token_use, &item, &items);
        if (++count < TOKEN_USES_REPORTED_MAX)
            continue;
        send(report, &items, count);
        buffer_clear(&items);
        count = 0;
    }
    if (count > 0)
        send(report, &items, count);
    if (report->uses.count > 0 || report->uses.unknown.denied > 0)
        token_uses_reset(&report->uses);
}

enum status token_report_open(struct token_report *report, struct ev_loop *loop,
                              const char *run_dir, const char *daemon, struct span key)
{
    char path[4096];
    report->loop = loop;
    if (key.size == 0)
        return STATUS_OK;
    TRY(run_socket_path(path, run_dir, "tokend"));
    const struct rpc_client_options options = { .path = path, .daemon = daemon, .key = key };
    TRY(rpc_client_open(&report->client, loop, &options));
    ev_timer_init(&report->timer, on_timer, REPORT_S, REPORT_S);
    report->timer.data = report;
    ev_timer_start(loop, &report->timer);
    return STATUS_OK;
}

void token_report_close(struct token_report *report)
{
    if (report->client == NULL)
        return;
    ev_timer_stop(report->loop, &report->timer);
    rpc_client_close(&report->client);
}
