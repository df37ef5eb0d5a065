#ifndef SOLO_TESTS_UNIT_COMMON_DB_STORE_FIXTURE_H
#define SOLO_TESTS_UNIT_COMMON_DB_STORE_FIXTURE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/db/db.h"
#include "common/db/table.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"
#include "tests/unit/common/db/store_schema.h"

/* A store of the test's schema in a scratch folder, and another process that opens it. */
extern struct db db;
extern char dir[4096], data[4096]; /* the store's folder, and data.mdb in it */

/* Of the store that make_store made: behind it lie only zeros. */
extern uint64_t used_bytes;

/* For TestSuite. */
void store_setup(void);
void store_teardown(void);

enum status open_writer(void);
void put(unsigned table, const char *key, const char *value);
enum status get(const char *key);
/* A row in each table; closed again. */
void make_store(void);

/* Runs store_user and returns the first line it prints. */
const char *other_process(const char *arguments);
const char *other_reads(const char *key);

struct buffer read_file(const char *path);
void overwrite(const char *path, size_t offset, const void *bytes, size_t size);
bool exists(const char *path);
mode_t mode_of(const char *path);

#endif
