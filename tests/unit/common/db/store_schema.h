#ifndef SOLO_TESTS_UNIT_COMMON_DB_STORE_SCHEMA_H
#define SOLO_TESTS_UNIT_COMMON_DB_STORE_SCHEMA_H

#include "common/db/db.h"

/* A store of the tests' own, with a table of each kind. Its probe is answered like that of Solo's
 * stores; a row with the key "crash" in the plain table makes the probe crash, as damage would,
 * "crash-walk" the full walk; "end-walk" has that ended by somebody. */
enum { TEST_PLAIN, TEST_COUNTED, TEST_DERIVED, TEST_UNSEALED };
extern const struct db_schema test_schema;

#endif
