#ifndef SOLO_RECOVERYD_TOKEN_CENSUS_H
#define SOLO_RECOVERYD_TOKEN_CENSUS_H

#include "common/base/buffer.h"
#include "common/daemon/settings.h"
#include "common/db/db.h"

/* What stands in the store of tokens, read from the store itself: tokend may be down. */
struct token_census {
    bool is_skipped; /* not looked at */
    bool exists;
    bool is_unreadable; /* damaged as a whole; what is wrong with it is logged */
    bool has_digest;    /* the rows that can be read are those that were written */
    uint64_t valid, expired, damaged;
};

/* Where tokend keeps its tokens, which who calls us by hand need not know: without persistence when
 * the store in RUN is open, or is the only one there. */
enum status token_census_find(struct settings *settings);

/* Opens the store for reading, whichever way leaves no trace; not_found when there is none. The
 * caller closes it with db_close. */
enum status token_census_open(const struct settings *settings, struct db *db,
                              bool *is_without_trace);

/* The same for a verification, which has the time: after a child has read all of it, once.
 * data_loss when a page of it ended the child. */
enum status token_census_open_walked(const struct settings *settings, struct db *db,
                                     bool *is_without_trace);

/* Never fails: services are recovered whatever became of the tokens. Leaves no trace. */
void token_census_take(const struct settings *settings, struct token_census *census);
/* What that child has shown since. */
void token_census_note(struct token_census *census);
bool token_census_needs_person(const struct token_census *census);

/* "Tokens   212 valid, 9 expired" and a line end. */
void token_census_write_text(const struct token_census *census, struct buffer *text);
/* A key and its map. */
void token_census_write_map(const struct token_census *census, struct buffer *map);

#endif
