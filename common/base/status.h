#ifndef SOLO_COMMON_BASE_STATUS_H
#define SOLO_COMMON_BASE_STATUS_H

/* What everything that can fail returns. STATUS_OK is 0. */
enum status {
#define STATUS(code, name, exit_code, text) STATUS_##code,
#include "common/base/status.def"
#undef STATUS
    STATUS_COUNT
};

/* The name on the wire ("not_found"), the text for people and the exit code of a program. */
const char *status_name(enum status status);
const char *status_text(enum status status);
int status_exit_code(enum status status);

/* The status that a wire name stands for; STATUS_UNKNOWN for a name we do not know. */
enum status status_from_name(const char *name);

/* The status that an errno value stands for: ENOENT is not_found, ENOSPC and EMFILE are
 * resource_exhausted, EACCES is permission_denied, EIO is io, what has no better name is internal.
 */
enum status status_from_errno(int error);

/* Returns early on failure. The only macro that contains a return. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_status_ = (call);                                                          \
        if (try_status_ != STATUS_OK)                                                              \
            return try_status_;                                                                    \
    } while (0)

#endif
