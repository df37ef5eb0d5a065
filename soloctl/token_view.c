/* One token, as JSON and as a row. */
#include "soloctl/token_view.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/wire/writer.h"
#include "soloctl/text.h"

/* The first of the warnings that the log holds too. */
static const uint64_t soon_ns = 7 * 86400 * UINT64_C(1000000000);

const struct column token_columns[] = {
    { "ACCESSOR", COLUMN_TEXT, false }, { "TENANT", COLUMN_TEXT, false },
    { "STATE", COLUMN_TEXT, false },    { "PERMISSIONS", COLUMN_LONG_TEXT, false },
    { "EXPIRES", COLUMN_TEXT, false },  { "LAST USED", COLUMN_TEXT, false },
    { "GRANTED", COLUMN_TEXT, true },   { "PARENT", COLUMN_TEXT, true },
};
const size_t token_column_count = COUNT_OF(token_columns);

const char *token_state(const struct token_item *token, uint64_t now_ns)
{
    if (token->is_expired || (token->expires_ns != 0 && token->expires_ns <= now_ns))
        return "expired";
    return token->expires_ns != 0 && token->expires_ns - now_ns <= soon_ns ? "expires soon"
                                                                           : "valid";
}

char *expiry_text(char text[EXPIRY_TEXT_BYTES], uint64_t expires_ns, uint64_t now_ns)
{
    char age[AGE_BYTES];
    if (expires_ns == 0)
        snprintf(text, EXPIRY_TEXT_BYTES, "never");
    else if (expires_ns <= now_ns)
        snprintf(text, EXPIRY_TEXT_BYTES, "expired");
    else
        snprintf(text, EXPIRY_TEXT_BYTES, "in %s", age_text(age, now_ns, expires_ns));
    return text;
}

char *permissions_text(char text[PERMISSIONS_TEXT_BYTES], struct str_list permissions)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < permissions.count && used < PERMISSIONS_TEXT_BYTES; i++)
        used += (size_t)snprintf(text + used, PERMISSIONS_TEXT_BYTES - used, "%s%s",
                                 i == 0 ? "" : ",", permissions.items[i]);
    return text;
}

void token_table_row(struct table *table, const struct token_item *token, uint64_t now_ns)
{
    char permissions[PERMISSIONS_TEXT_BYTES], expiry[EXPIRY_TEXT_BYTES], used[AGE_BYTES + 8];
    char granted[TIME_TEXT_BYTES], age[AGE_BYTES];
    snprintf(used, sizeof used, "%s ago", age_text(age, token->last_used_ns, now_ns));
    table_row(table);
    table_cell(table, token->accessor);
    table_cell(table, token->tenant);
    table_cell(table, token_state(token, now_ns));
    table_cell(table, permissions_text(permissions, token->permissions));
    table_cell(table, expiry_text(expiry, token->expires_ns, now_ns));
    table_cell(table, token->last_used_ns == 0 ? "never" : used);
    table_cell(table, time_text(granted, token->granted_ns));
    table_cell(table, token->parent);
}

void token_item_build(const struct token_item *token, uint64_t now_ns, struct item *item)
{
    AUTO(buffer_close) struct buffer permissions = { .limit = ITEM_BYTES_MAX };
    write_array(&permissions, token->permissions.count);
    for (size_t i = 0; i < token->permissions.count; i++)
        write_str(&permissions, token->permissions.items[i]);
    item_text(item, "accessor", token->accessor);
    item_text(item, "tenant", token->tenant);
    item_text(item, "state", token_state(token, now_ns));
    item_object(item, "permissions", buffer_span(&permissions));
    item_time(item, "granted_at", token->granted_ns);
    item_time(item, "expires_at", token->expires_ns);
    item_time(item, "renewed_at", token->renewed_ns);
    item_time(item, "last_used_at", token->last_used_ns);
    item_number(item, "depth", token->depth);
    item_text_or_null(item, "parent", token->parent);
    item_object(item, "metadata", token->metadata);
}

enum status permission_refuse(const char *word, struct problem *problem)
{
    static const char known[] =
#define PERMISSION(name, wire, meaning) ", " wire
#include "common/rpc/permissions.def"
#undef PERMISSION
        ;
    return problem_set(problem, STATUS_USAGE, "",
                       "--permission: there is none called \"%s\"; there are %s", word,
                       known + strlen(", "));
}
