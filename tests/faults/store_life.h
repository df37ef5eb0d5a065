#ifndef SOLO_TESTS_FAULTS_STORE_LIFE_H
#define SOLO_TESTS_FAULTS_STORE_LIFE_H

#include "common/db/db.h"
#include "tests/faults/random.h"

/* The store of one daemon, lived with in this process as the daemon does, without a server around
 * it: token_life.c and vault_life.c. What is written into it is told by store_states.h. */

extern const struct db_schema *const life_schema;

/* Opens DATA/NAME, and makes it when there is none; with a key where it takes one. */
enum status life_open(const char *data_dir, const char *run_dir);
/* One turn with a few changes, by chance. What is refused for lack of space is no failure; a status
 * that is not OK is that of the turn: resource_exhausted, nothing happened; else unknown. */
enum status life_turn(struct random *random);
void life_close(void);
enum status life_close_cleanly(void);

#endif
