#ifndef SOLO_TESTS_SUPPORT_FILES_H
#define SOLO_TESTS_SUPPORT_FILES_H

#include "tests/support/testbed.h"

/* What somebody does to the files of a Solo: `files_change(&bed, "/bin/mv", from, to, NULL)`. What
 * fails fails the test. */
void files_change(const struct testbed *bed, ...) __attribute__((sentinel));
/* In the place of what is at `to`, at once: nobody meets a half of it. */
void files_copy(const struct testbed *bed, const char *from, const char *to);

#endif
