#ifndef SOLO_SOLOCTL_TOKEN_OUT_H
#define SOLO_SOLOCTL_TOKEN_OUT_H

#include "common/access/token_text.h"
#include "common/base/problem.h"

/* Where a token that is being granted goes: into a new file (mode 0600, on disk before the grant is
 * asked for, so that no valid token is ever lost), or to standard output afterwards. */
struct token_out {
    const char *path; /* NULL: standard output */
    bool is_made;     /* the file is ours to remove */
    char text[TOKEN_TEXT_BYTES];
};

/* Draws a token, and writes the file when there is a path. With `is_repeated` an existing file is
 * the one of the earlier request: its token is granted. */
enum status token_out_open(struct token_out *out, const char *path, bool is_repeated,
                           struct problem *problem);
/* The grant was refused: nobody shall keep a token that is none. */
void token_out_discard(struct token_out *out);
/* Wipes the text. */
void token_out_close(struct token_out *out);

#endif
