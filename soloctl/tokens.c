/* The commands about tokens that are there. No command shows a token: nobody holds it but who was
 * given it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/access/token_text.h"
#include "common/api/api.h"
#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/spec/spec_json.h"
#include "common/wire/reader.h"
#include "soloctl/commands.h"
#include "soloctl/listing.h"
#include "soloctl/text.h"
#include "soloctl/token_view.h"

/* -- list -- */

struct token_listing {
    struct listing listing;
    uint64_t now_ns; /* of the page that is read */
    size_t soon;
};

static void take(void *context, const void *row)
{
    struct token_listing *tokens = context;
    const struct token_item *token = row;
    if (!listing_takes(&tokens->listing, token->accessor, NULL))
        return;
    tokens->soon += strcmp(token_state(token, tokens->now_ns), "expires soon") == 0;
    if (tokens->listing.table != NULL) {
        token_table_row(tokens->listing.table, token, tokens->now_ns);
        return;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    token_item_build(token, tokens->now_ns, &item);
    list_add(&tokens->listing.list, &item, token->accessor);
}

static enum status load(struct token_listing *tokens, struct problem *problem)
{
    struct session *session = tokens->listing.session;
    char after[TOKEN_AFTER_BYTES_MAX + 1] = "";
    do {
        const struct token_list_request request = { .tenant = session->tenant,
                                                    .after = after,
                                                    .limit = TOKEN_LIST_MAX };
        struct token_list_reply reply = { 0 };
        struct token_item token;
        TRY(session_call(session, PEER_TOKEND, &method_token_list, &request, READ_TIMEOUT_MS,
                         &reply, problem));
        tokens->now_ns = reply.now_ns;
        TRY(records_each(reply.tokens, &record_token_item, &token, sizeof token, take, tokens,
                         problem));
        snprintf(after, sizeof after, "%s", reply.next);
    } while (after[0] != '\0');
    return STATUS_OK;
}

static void token_listing_close(struct token_listing *tokens)
{
    listing_close(&tokens->listing);
}

int command_get_tokens(struct session *session, const struct arguments *arguments)
{
    AUTO(token_listing_close)
    struct token_listing tokens = { .listing = { .session = session,
                                                 .arguments = arguments,
                                                 .things = "tokens",
                                                 .thing = "token" } };
    struct problem problem = { 0 };
    enum status status =
        listing_begin(&tokens.listing, token_columns, token_column_count, &problem);
    if (status == STATUS_OK)
        status = load(&tokens, &problem);
    if (status == STATUS_OK)
        status = listing_end(&tokens.listing, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    if (tokens.listing.table != NULL && tokens.soon > 0)
        fprintf(stderr, "%zu expire within 7 days: soloctl token renew ACCESSOR\n", tokens.soon);
    return 0;
}

/* -- one -- */

static void print_page(const struct token_item *token, uint64_t now_ns)
{
    char text[PERMISSIONS_TEXT_BYTES], expiry[EXPIRY_TEXT_BYTES], time[TIME_TEXT_BYTES];
    printf("%-13s%s\n%-13s%s\n%-13s%s\n%-13s%s\n", "Accessor", token->accessor, "Tenant",
           token->tenant, "State", token_state(token, now_ns), "Permissions",
           permissions_text(text, token->permissions));
    printf("%-13s%s\n", "Granted", time_text(time, token->granted_ns));
    printf("%-13s%s", "Expires", expiry_text(expiry, token->expires_ns, now_ns));
    if (token->expires_ns != 0)
        printf(" (%s)", time_text(time, token->expires_ns));
    printf("\n");
    if (token->renewed_ns != 0)
        printf("%-13s%s\n", "Renewed", time_text(time, token->renewed_ns));
    printf("%-13s%s\n", "Last used",
           token->last_used_ns == 0 ? "never, as far as is known"
                                    : time_text(time, token->last_used_ns));
    if (token->parent[0] != '\0')
        printf("%-13s%s (depth %" PRIu64 ")\n", "Parent", token->parent, token->depth);
    AUTO(buffer_close) struct buffer json = { .limit = 8 * (size_t)TOKEN_METADATA_BYTES_MAX };
    if (token->metadata.size > 0 && json_from_wire(token->metadata, &json) == STATUS_OK) {
        printf("%-13s", "Metadata");
        text_print_span(stdout, buffer_span(&json), false);
        printf("\n");
    }
}

static enum status read_accessor(const char *text, struct problem *problem)
{
    struct uuid accessor;
    return accessor_parse(text, &accessor) == STATUS_OK
               ? STATUS_OK
               : problem_set(problem, STATUS_USAGE, "",
                             "ACCESSOR: tok_ and 26 characters, not \"%s\"", text);
}

/* The accessor that was named, or "" for the token that the session acts with. */
static enum status named_or_own(const struct session *session, const struct arguments *arguments,
                                const char **accessor, struct problem *problem)
{
    *accessor = arguments->operand_count > 0 ? arguments->operands[0] : "";
    if ((*accessor)[0] != '\0')
        return read_accessor(*accessor, problem);
    if (session->token[0] != '\0')
        return STATUS_OK;
    return problem_set(problem, STATUS_USAGE, "", "needs ACCESSOR, or a token by --token-file");
}

int command_token_describe(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct token_describe_request request = { 0 };
    struct token_describe_reply reply = { 0 };
    struct token_item token = { 0 };
    enum status status = named_or_own(session, arguments, &request.accessor, &problem);
    if (status == STATUS_OK)
        status = session_call(session, PEER_TOKEND, &method_token_describe, &request,
                              READ_TIMEOUT_MS, &reply, &problem);
    if (status == STATUS_OK)
        status = fields_decode(&record_token_item, reply.token, &session->arena, &token, &problem);
    if (status != STATUS_OK)
        return session_fail(session, request.accessor, status, &problem);
    if (!session_is_for_programs(session)) {
        print_page(&token, reply.now_ns);
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "token");
    token_item_build(&token, reply.now_ns, &item);
    document_print(session->format, &item, token.accessor);
    return 0;
}

int command_token_renew(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct token_renew_request request = { .accessor = arguments->operands[0] };
    struct token_renew_reply reply = { 0 };
    char time[TIME_TEXT_BYTES];
    enum status status = read_accessor(request.accessor, &problem);
    if (status == STATUS_OK)
        status = arguments_duration(arguments, FLAG_ttl, 0, &request.ttl_ms, &problem);
    if (status == STATUS_OK)
        status = session_call(session, PEER_TOKEND, &method_token_renew, &request, READ_TIMEOUT_MS,
                              &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, request.accessor, status, &problem);
    if (!session_is_for_programs(session)) {
        printf("%s renewed: %s%s\n", request.accessor,
               reply.expires_ns == 0 ? "never expires" : "expires ",
               reply.expires_ns == 0 ? "" : time_text(time, reply.expires_ns));
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "token_renewal");
    item_text(&item, "accessor", request.accessor);
    item_time(&item, "expires_at", reply.expires_ns);
    document_print(session->format, &item, request.accessor);
    return 0;
}

int command_token_revoke(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct token_revoke_request request = { 0 };
    struct token_revoke_reply reply = { 0 };
    enum status status = named_or_own(session, arguments, &request.accessor, &problem);
    if (status == STATUS_OK)
        status = session_call(session, PEER_TOKEND, &method_token_revoke, &request, READ_TIMEOUT_MS,
                              &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, request.accessor, status, &problem);
    const char *name = request.accessor[0] == '\0' ? "the token" : request.accessor;
    if (!session_is_for_programs(session)) {
        printf("%s revoked", name);
        if (reply.revoked > 1)
            printf(", and %" PRIu64 " attenuated from it", reply.revoked - 1);
        printf("\n");
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "token_revocation");
    item_text_or_null(&item, "accessor", request.accessor);
    item_number(&item, "revoked", reply.revoked);
    document_print(session->format, &item, name);
    return 0;
}

/* -- verify -- */

int command_token_verify(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    struct token_check_request request = { .permission = arguments->value[FLAG_permission] };
    struct token_check_reply reply = { 0 };
    char text[PERMISSIONS_TEXT_BYTES];
    enum status status = STATUS_OK;
    if (request.permission == NULL)
        status = problem_set(&problem, STATUS_USAGE, "", "needs --permission");
    else if (permission_parse(request.permission) == PERMISSION_COUNT)
        status = permission_refuse(request.permission, &problem);
    else if (session->token[0] == '\0')
        status = session_read_token(session, "-", &problem);
    if (status == STATUS_OK)
        status = session_call(session, PEER_DEPLOYD, &method_token_check, &request, READ_TIMEOUT_MS,
                              &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    permissions_text(text, reply.permissions);
    if (!session_is_for_programs(session)) {
        printf("valid: %s of tenant %s allows %s\n", reply.accessor, reply.tenant, text);
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "token_check");
    item_text(&item, "accessor", reply.accessor);
    item_text(&item, "tenant", reply.tenant);
    item_text(&item, "permission", request.permission);
    item_bool(&item, "valid", true);
    document_print(session->format, &item, reply.accessor);
    return 0;
}

int command_token_trust_clock(struct session *session, const struct arguments *arguments)
{
    struct problem problem = { 0 };
    const struct token_trust_clock_request request = {};
    struct token_trust_clock_reply reply = { 0 };
    char time[TIME_TEXT_BYTES];
    (void)arguments;
    enum status status = session_call(session, PEER_TOKEND, &method_token_trust_clock, &request,
                                      READ_TIMEOUT_MS, &reply, &problem);
    if (status != STATUS_OK)
        return session_fail(session, "", status, &problem);
    if (!session_is_for_programs(session)) {
        printf("tokens expire by %s%s\n", time_text(time, reply.now_ns),
               reply.was_suspect ? "" : ", as before: the clock was not suspect");
        return 0;
    }
    AUTO(item_close) struct item item = ITEM_EMPTY;
    item_text(&item, "kind", "token_clock");
    item_time(&item, "now", reply.now_ns);
    item_bool(&item, "was_suspect", reply.was_suspect);
    document_print(session->format, &item, "trusted");
    return 0;
}
