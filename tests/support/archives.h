#ifndef SOLO_TESTS_SUPPORT_ARCHIVES_H
#define SOLO_TESTS_SUPPORT_ARCHIVES_H

#include <stddef.h>

#include "tests/support/testbed.h"

/* A log with something in it, and how it is archived. What fails fails the test. */

/* So many events app.note about "notes". */
void notes_append(const struct testbed *bed, size_t count);
/* The answer of `soloctl archive --keep KEEP`. */
json_t *log_archive_keep(const struct testbed *bed, const char *keep);

/* The file of DATA/archive whose name ends so; there must be only one. */
enum { ARCHIVE_PATH_BYTES = 600 };
char *archive_only(const struct testbed *bed, char path[ARCHIVE_PATH_BYTES], const char *suffix);

/* How much `recoveryd verify --full` finds; each finding must have this code. */
size_t verify_findings(const struct testbed *bed, const char *code);

#endif
