#ifndef SOLO_SOLOCTL_TOKEN_VIEW_H
#define SOLO_SOLOCTL_TOKEN_VIEW_H

#include "common/api/api.h"
#include "soloctl/item.h"
#include "soloctl/table.h"

/* A token as it is shown; never the token itself. Times are trusted ones: `now_ns` comes with the
 * answer that the token came with. */
void token_item_build(const struct token_item *token, uint64_t now_ns, struct item *item);

extern const struct column token_columns[];
extern const size_t token_column_count;
void token_table_row(struct table *table, const struct token_item *token, uint64_t now_ns);

/* "valid", "expires soon" (within 7 days) or "expired". */
const char *token_state(const struct token_item *token, uint64_t now_ns);

/* "in 3d", "never", "expired". */
enum { EXPIRY_TEXT_BYTES = 32 };
char *expiry_text(char text[EXPIRY_TEXT_BYTES], uint64_t expires_ns, uint64_t now_ns);

/* "deploy,read". */
enum { PERMISSIONS_TEXT_BYTES = 256 };
char *permissions_text(char text[PERMISSIONS_TEXT_BYTES], struct str_list permissions);

/* Says that there is no permission of this name, and which there are: usage. */
enum status permission_refuse(const char *word, struct problem *problem);

#endif
