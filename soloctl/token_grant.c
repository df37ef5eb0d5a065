/* token create and token attenuate. The token is drawn here and never sent: tokend gets its
 * SHA-256. With --out it is on disk before the request; otherwise it goes to standard output,
 * alone, once the grant is acknowledged, or into the document with -o json. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/spec/spec_json.h"
#include "common/wire/reader.h"
#include "common/wire/writer.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/token_out.h"
#include "soloctl/token_view.h"

enum { PERMISSIONS_MAX = 32, PERMISSIONS_BYTES = 512, EVENT_MS_MAX = 1000 };

struct grant {
    struct token_out out;
    char permission_text[PERMISSIONS_BYTES];
    const char *permissions[PERMISSIONS_MAX];
    size_t permission_count;
    uint64_t ttl_ms;
    struct buffer metadata;
    struct hash hash;
    char accessor[TOKEN_ACCESSOR_BYTES_MAX + 1];
    const char *tenant; /* "" until it is known */
    uint64_t expires_ns, event_id;
};

static void grant_close(struct grant *grant)
{
    token_out_close(&grant->out);
    buffer_close(&grant->metadata);
}

static enum status read_permissions(struct grant *grant, const char *text, struct problem *problem)
{
    snprintf(grant->permission_text, sizeof grant->permission_text, "%s", text);
    char *rest = grant->permission_text;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        if (permission_parse(word) == PERMISSION_COUNT)
            return permission_refuse(word, problem);
        if (grant->permission_count == PERMISSIONS_MAX)
            return problem_set(problem, STATUS_USAGE, "", "--permission: names too many");
        grant->permissions[grant->permission_count++] = word;
    }
    return STATUS_OK;
}

static enum status read_flags(struct grant *grant, const struct arguments *arguments,
                              struct problem *problem)
{
    grant->metadata.limit = TOKEN_METADATA_BYTES_MAX;
    if (arguments_has(arguments, FLAG_permission))
        TRY(read_permissions(grant, arguments->value[FLAG_permission], problem));
    TRY(arguments_duration(arguments, FLAG_ttl, 0, &grant->ttl_ms, problem));
    if (arguments_has(arguments, FLAG_ttl) && grant->ttl_ms == 0)
        return problem_set(problem, STATUS_USAGE, "", "--ttl: must be longer than 0");
    if (!arguments_has(arguments, FLAG_metadata))
        return STATUS_OK;
    enum status status =
        object_from_json(span_of_text(arguments->value[FLAG_metadata]), &grant->metadata, problem);
    if (status == STATUS_OK)
        return STATUS_OK;
    problem_prefix(problem, "--metadata");
    return problem->code = STATUS_USAGE; /* it was typed, not read */
}

/* -- the number of its event -- */

struct event_wait {
    struct ev_loop *loop;
    uint64_t event_id;
};

static void note_first(struct event_wait *wait, struct span list)
{
    struct reader reader = reader_of(list);
    struct span event;
    uint32_t count;
    if (wait->event_id == 0 && list.size > 0 && reader_array(&reader, &count) == STATUS_OK &&
        count > 0 && reader_any(&reader, &event) == STATUS_OK)
        wait->event_id = map_u64(event, "id", 0);
}

static void on_batch(void *context, const char *method, struct span params)
{
    struct event_wait *wait = context;
    struct reader value;
    struct span list;
    (void)method;
    if (map_find(params, "events", &value) == STATUS_OK && reader_any(&value, &list) == STATUS_OK)
        note_first(wait, list);
    ev_break(wait->loop, EVBREAK_ALL);
}

static void on_end(void *context, enum status status, const struct problem *problem,
                   const void *reply)
{
    (void)status, (void)problem, (void)reply;
    ev_break(((struct event_wait *)context)->loop, EVBREAK_ALL);
}

/* The event reaches eventd a moment after the grant was acknowledged. 0 when it cannot be told:
 * eventd is down, or the caller may not read events. */
static uint64_t event_of(struct session *session, const char *accessor)
{
    char subject[sizeof "token/" + TOKEN_ACCESSOR_BYTES_MAX];
    struct problem problem;
    struct rpc_client *client;
    struct event_query_reply found = { 0 };
    snprintf(subject, sizeof subject, "token/%s", accessor);
    const struct event_query_request query = {
        .tenant = "", .type = "capability_granted", .subject = subject, .limit = 1
    };
    struct event_watch_request watch = { .tenant = "", .type = query.type, .subject = subject };
    struct event_wait wait = { 0 };
    if (session_call(session, PEER_EVENTD, &method_event_query, &query, EVENT_MS_MAX, &found,
                     &problem) != STATUS_OK)
        return 0;
    note_first(&wait, found.events);
    if (wait.event_id != 0 || session_client(session, PEER_EVENTD, &client, &problem) != STATUS_OK)
        return wait.event_id;
    wait.loop = session->loops[PEER_EVENTD];
    watch.after = found.last_id;
    const struct rpc_call_options options = {
        .timeout_ms = EVENT_MS_MAX, .on_reply = on_end, .on_notify = on_batch, .context = &wait
    };
    uint64_t handle;
    if (rpc_client_call(client, &method_event_watch, &watch, &options, &handle) == STATUS_OK) {
        ev_run(wait.loop, 0);
        rpc_client_cancel(client, handle);
    }
    return wait.event_id;
}

/* -- what both share -- */

/* What was not typed, because it is the parent's or the caller's own, is asked for. When it cannot
 * be had now it is left out: the grant itself is done. */
static void complete(struct session *session, struct grant *grant)
{
    struct problem problem = { 0 };
    struct token_describe_reply reply = { 0 };
    struct token_item token = { 0 };
    const struct token_describe_request request = { .accessor = grant->accessor };
    if (grant->tenant[0] != '\0' && grant->permission_count > 0)
        return;
    if (session_call(session, PEER_TOKEND, &method_token_describe, &request, READ_TIMEOUT_MS,
                     &reply, &problem) != STATUS_OK ||
        fields_decode(&record_token_item, reply.token, &session->arena, &token, &problem) !=
            STATUS_OK)
        return;
    grant->tenant = token.tenant;
    grant->permission_count = 0;
    for (size_t i = 0; i < token.permissions.count && i < PERMISSIONS_MAX; i++)
        grant->permissions[grant->permission_count++] = token.permissions.items[i];
}

static void print_document(const struct session *session, const struct grant *grant)
{
    AUTO(item_close) struct item item = ITEM_EMPTY;
    AUTO(buffer_close) struct buffer permissions = { .limit = ITEM_BYTES_MAX };
    write_array(&permissions, grant->permission_count);
    for (size_t i = 0; i < grant->permission_count; i++)
        write_str(&permissions, grant->permissions[i]);
    item_text(&item, "kind", "token");
    item_text_or_null(&item, "accessor", grant->accessor);
    item_text_or_null(&item, "tenant", grant->tenant);
    item_object(&item, "permissions",
                grant->permission_count == 0 ? (struct span){ 0 } : buffer_span(&permissions));
    item_time(&item, "expires_at", grant->expires_ns);
    item_number_or_null(&item, "event_id", grant->event_id);
    item_text_or_null(&item, "out", grant->out.path);
    if (grant->out.path == NULL)
        item_text(&item, "token", grant->out.text);
    document_print(session->format, &item, grant->accessor);
    sodium_memzero(item.body.data, item.body.size);
}

static void print_words(const struct grant *grant, const char *what)
{
    char time[TIME_TEXT_BYTES];
    fprintf(stderr, "%s %s", grant->accessor, what);
    if (grant->expires_ns != 0)
        fprintf(stderr, ", expires %s", time_text(time, grant->expires_ns));
    if (grant->event_id != 0)
        fprintf(stderr, " (event %" PRIu64 ")", grant->event_id);
    if (grant->out.path != NULL)
        fprintf(stderr, ", written to %s", grant->out.path);
    fprintf(stderr, "\n");
    if (grant->out.path == NULL)
        printf("%s\n", grant->out.text);
}

static int finish(struct session *session, struct grant *grant, const char *what)
{
    grant->event_id = event_of(session, grant->accessor);
    if (!session_is_for_programs(session)) {
        print_words(grant, what);
        return 0;
    }
    complete(session, grant);
    print_document(session, grant);
    return 0;
}

/* The outcome is not known, and the token may be valid: its file is kept, and without one the text
 * is handed out all the same. With it the same request can be made again. */
static void hand_out(const struct session *session, const struct grant *grant)
{
    if (session_is_for_programs(session))
        print_document(session, grant);
    else if (grant->out.path == NULL)
        printf("%s\n", grant->out.text);
    fprintf(stderr,
            grant->out.path == NULL
                ? "  its token was printed nevertheless, and may be valid: keep it in a file of "
                  "mode 0600, and name that with --out in the repeated command\n"
                : "  its token is kept in %s, and may be valid: name the same --out again\n",
            grant->out.path);
    fprintf(stderr, "  `soloctl token list` shows it if it was granted; `soloctl token revoke "
                    "ACCESSOR` makes it void\n");
}

static int fail(struct session *session, struct grant *grant, enum status status,
                const struct problem *problem)
{
    bool is_unknown = rpc_effect_of(status) == RPC_UNKNOWN;
    if (!is_unknown)
        token_out_discard(&grant->out);
    int exit_code = session_fail(session, "", status, problem);
    if (is_unknown)
        hand_out(session, grant);
    return exit_code;
}

int command_token_create(struct session *session, const struct arguments *arguments)
{
    AUTO(grant_close) struct grant grant = { .tenant = session->tenant };
    struct problem problem = { 0 };
    struct token_grant_reply reply = { 0 };
    enum status status = STATUS_OK;
    if (!arguments_has(arguments, FLAG_permission))
        status = problem_set(&problem, STATUS_USAGE, "", "needs --permission");
    else if (session->tenant[0] == '\0' && session->token[0] == '\0')
        status =
            problem_set(&problem, STATUS_USAGE, "", "needs -t TENANT: whose things it may touch");
    if (status == STATUS_OK)
        status = read_flags(&grant, arguments, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    status = token_out_open(&grant.out, arguments->value[FLAG_out], session->is_repeated, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    const struct token_grant_request request = {
        .token_hash = token_text_hash(span_of_text(grant.out.text)),
        .tenant = session->tenant,
        .permissions = { grant.permissions, grant.permission_count },
        .ttl_ms = grant.ttl_ms,
        .metadata = buffer_span(&grant.metadata),
    };
    status = session_call(session, PEER_TOKEND, &method_token_grant, &request, READ_TIMEOUT_MS,
                          &reply, &problem);
    if (status != STATUS_OK)
        return fail(session, &grant, status, &problem);
    snprintf(grant.accessor, sizeof grant.accessor, "%s", reply.accessor);
    grant.expires_ns = reply.expires_ns;
    return finish(session, &grant, "granted");
}

int command_token_attenuate(struct session *session, const struct arguments *arguments)
{
    AUTO(grant_close) struct grant grant = { .tenant = "" };
    struct problem problem = { 0 };
    struct token_attenuate_reply reply = { 0 };
    const char *parent = arguments->value[FLAG_parent];
    enum status status = STATUS_OK;
    if (parent == NULL && session->token[0] == '\0')
        status = problem_set(&problem, STATUS_USAGE, "",
                             "needs --token-file with the parent, or --parent ACCESSOR");
    if (status == STATUS_OK)
        status = read_flags(&grant, arguments, &problem);
    if (status == STATUS_OK)
        status =
            token_out_open(&grant.out, arguments->value[FLAG_out], session->is_repeated, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    const struct token_attenuate_request request = {
        .token_hash = token_text_hash(span_of_text(grant.out.text)),
        .parent = parent == NULL ? "" : parent,
        .permissions = { grant.permissions, grant.permission_count },
        .ttl_ms = grant.ttl_ms,
        .metadata = buffer_span(&grant.metadata),
    };
    status = session_call(session, PEER_TOKEND, &method_token_attenuate, &request, READ_TIMEOUT_MS,
                          &reply, &problem);
    if (status != STATUS_OK)
        return fail(session, &grant, status, &problem);
    snprintf(grant.accessor, sizeof grant.accessor, "%s", reply.accessor);
    grant.expires_ns = reply.expires_ns;
    return finish(session, &grant, "attenuated");
}
