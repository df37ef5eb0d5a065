/* Newest first, so that children, whose end is told after their parent's, go before it; what then
 * still descends from a token that goes was attenuated from this copy, and its end is told. */
#include "tokend/catch_up.h"

#include <stdlib.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/api/api.h"
#include "common/api/event_types.h"
#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/reader.h"
#include "tokend/changes.h"
#include "tokend/token_events.h"

enum {
    PAGE_EVENTS = 500,
    ANSWER_MS_MAX = 10 * 1000,
    AFTER_FAILURE_MS = 1000,
    AFTER_TURN_MS = 1,
};

static const enum event_type ends[] = { EVENT_capability_revoked, EVENT_capability_expired };

static void ask(struct catch_up *catch_up);

static void ask_after(struct catch_up *catch_up, unsigned ms)
{
    ev_timer_stop(catch_up->loop, &catch_up->again);
    ev_timer_set(&catch_up->again, ms / 1e3, 0);
    ev_timer_start(catch_up->loop, &catch_up->again);
}

/* --- what a page says --- */

static bool read_accessor(struct span event, struct uuid *accessor)
{
    static const char prefix[] = "token/";
    char subject[EVENT_SUBJECT_BYTES_MAX + 1];
    map_text(event, "subject", subject, sizeof subject);
    return strncmp(subject, prefix, sizeof prefix - 1) == 0 &&
           accessor_parse(subject + sizeof prefix - 1, accessor) == STATUS_OK;
}

static enum status remove_one(struct catch_up *catch_up, const struct uuid *accessor)
{
    struct token_store *store = catch_up->store;
    char text[ACCESSOR_TEXT_BYTES];
    struct token_record record;
    struct hash hash;
    bool is_revoked = ends[catch_up->step] == EVENT_capability_revoked;
    enum status status = token_find_accessor(&store->txn, accessor, &hash, &record);
    /* A damaged token is refused as it is, and no reason to leave the others. */
    if (status == STATUS_NOT_FOUND || status == STATUS_DATA_LOSS)
        return STATUS_OK;
    TRY(status);
    log_warning("a token that has ended by the log was in the store", "accessor",
                accessor_text(text, accessor), "event", event_type_name(ends[catch_up->step]));
    catch_up->removing++;
    if (is_revoked)
        return change_remove_ended(store, &hash, &record);
    return token_remove(store, &hash, &record);
}

static enum status take_events(struct catch_up *catch_up, struct span list)
{
    struct reader reader = reader_of(list);
    uint32_t count;
    TRY(reader_array(&reader, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct span event;
        struct uuid accessor;
        TRY(reader_any(&reader, &event));
        if (read_accessor(event, &accessor))
            TRY(remove_one(catch_up, &accessor));
    }
    return STATUS_OK;
}

static enum status take_page(struct catch_up *catch_up, struct span list)
{
    struct token_store *store = catch_up->store;
    catch_up->removing = 0;
    TRY(token_store_begin(store));
    enum status status = take_events(catch_up, list);
    if (status != STATUS_OK) {
        token_store_abort(store);
        return status;
    }
    TRY(token_store_commit(store));
    catch_up->removed += catch_up->removing;
    return STATUS_OK;
}

/* --- asking --- */

static void finish(struct catch_up *catch_up)
{
    catch_up->is_running = false;
    if (catch_up->removed > 0)
        log_warning("the token store was an older copy: what has ended since is void again", "dir",
                    catch_up->store->db.dir, "removed", NUMBER(catch_up->removed));
    catch_up->on_done(catch_up->context);
}

static void note_out_of_reach(struct catch_up *catch_up, uint64_t first)
{
    if (!catch_up->is_out_of_reach)
        log_error("the token store is older than the log: what was revoked since is archived, and "
                  "no token of this copy is believed",
                  "dir", catch_up->store->db.dir, "known_event", NUMBER(catch_up->known_id),
                  "log_begins", NUMBER(first), "next",
                  "put a newer copy back, or move this one away and grant new tokens");
    catch_up->is_out_of_reach = true;
}

static void on_page(void *context, enum status status, const struct problem *problem,
                    const void *reply_)
{
    struct catch_up *catch_up = context;
    const struct event_query_reply *reply = reply_;
    /* What a turn of others removes is gone when their commit fails, and the page would not be
     * asked for again; nor is the store vouched for while it may still change back. */
    if (status == STATUS_OK && catch_up->store->in_turn) {
        ask_after(catch_up, AFTER_TURN_MS);
        return;
    }
    if (status == STATUS_OK && catch_up->is_older && reply->first_id > catch_up->known_id + 1)
        note_out_of_reach(catch_up, reply->first_id);
    if (status == STATUS_OK && reply->events.size > 0)
        status = take_page(catch_up, reply->events);
    if (status != STATUS_OK) {
        log_warning("what the log tells of the ends of tokens cannot be had yet", "status",
                    status_name(status), "reason", problem == NULL ? "" : problem->message);
        ask_after(catch_up, AFTER_FAILURE_MS);
        return;
    }
    catch_up->before = reply->next;
    if (reply->next == 0 && ++catch_up->step == COUNT_OF(ends))
        finish(catch_up);
    else
        ask(catch_up);
}

static void ask(struct catch_up *catch_up)
{
    const struct event_query_request request = {
        .tenant = "",
        .type = event_type_name(ends[catch_up->step]),
        .subject = "",
        .after = catch_up->known_id,
        .before = catch_up->before,
        .limit = PAGE_EVENTS,
        .newest_first = true,
    };
    const struct rpc_call_options options = {
        .flags = RPC_RETRY,
        .timeout_ms = ANSWER_MS_MAX,
        .on_reply = on_page,
        .context = catch_up,
    };
    if (rpc_client_call(catch_up->client, &method_event_query, &request, &options, NULL) !=
        STATUS_OK)
        ask_after(catch_up, AFTER_FAILURE_MS);
}

static void on_again(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    ask(timer->data);
}

void catch_up_begin(struct catch_up *catch_up, uint64_t known_id, bool is_older)
{
    if (catch_up->is_running)
        return;
    catch_up->known_id = known_id;
    catch_up->is_older = is_older;
    catch_up->is_out_of_reach = false;
    catch_up->before = 0;
    catch_up->step = 0;
    catch_up->is_running = true;
    ask(catch_up);
}

enum status catch_up_open(struct catch_up *catch_up, struct token_store *store,
                          struct ev_loop *loop, const char *eventd_path, struct span run_key)
{
    const struct rpc_client_options options = {
        .path = eventd_path,
        .daemon = run_key.size > 0 ? "tokend" : NULL,
        .key = run_key,
    };
    catch_up->store = store;
    catch_up->loop = loop;
    ev_timer_init(&catch_up->again, on_again, 0, 0);
    catch_up->again.data = catch_up;
    return rpc_client_open(&catch_up->client, loop, &options);
}

void catch_up_close(struct catch_up *catch_up)
{
    if (catch_up->loop == NULL)
        return;
    ev_timer_stop(catch_up->loop, &catch_up->again);
    rpc_client_close(&catch_up->client);
}
