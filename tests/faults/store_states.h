#ifndef SOLO_TESTS_FAULTS_STORE_STATES_H
#define SOLO_TESTS_FAULTS_STORE_STATES_H

#include "common/base/hash.h"

/* The ledger of a store: a hash of every row of every table after each commit, taken before LMDB
 * writes it (mdb_txn_commit is wrapped, see CMakeLists.txt). Numbered from 1 on. */

/* Forgets them; from now on the commits of stores below this folder are noted. */
void states_begin(const char *below);
/* What was committed by now, and every commit from now on as soon as it returns, is acknowledged:
 * each is marked in the recording of the disk (disk.h) by its number. */
void states_acknowledge(void);
size_t states_count(void);

/* Whether this is state `from` or a later one. */
bool states_have(const struct hash *state, size_t from);
/* Whether it is what the last commit, which failed, would have made. Then it is noted. */
bool states_take_failed(const struct hash *state);

/* Of the store in this folder, as it lies there; false: it cannot be opened. */
bool state_read(const char *dir, struct hash *state);

#endif
