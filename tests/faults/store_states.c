/* The call's name is the linker's: --wrap=mdb_txn_commit. LMDB is asked without anything of Solo in
 * between, so that a mistake in common/db is not made here again. */
#include "tests/faults/store_states.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/ensure.h"
#include "tests/faults/disk.h"

enum { TABLES_MAX = 32, STATES_MAX = 4096 };

static struct {
    char below[4096];
    struct hash items[STATES_MAX + 1];
    size_t count;
    bool are_acknowledged, has_failed;
    struct hash failed;
} states;

static void add_table(MDB_txn *txn, MDB_dbi table, struct hash_state *hash)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, table, &cursor);
    ensure(rc == 0);
    for (rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST); rc == 0;
         rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        hash_add(hash, span_of(&key.mv_size, sizeof key.mv_size));
        hash_add(hash, span_of(key.mv_data, key.mv_size));
        hash_add(hash, span_of(&value.mv_size, sizeof value.mv_size));
        hash_add(hash, span_of(value.mv_data, value.mv_size));
    }
    ensure(rc == MDB_NOTFOUND);
    mdb_cursor_close(cursor);
}

/* The main table has a row for each other one: its name. */
static struct hash state_of(MDB_txn *txn)
{
    char names[TABLES_MAX][64];
    size_t count = 0;
    struct hash_state hash;
    MDB_dbi table;
    MDB_cursor *cursor;
    MDB_val key, value;
    hash_begin(&hash);
    int rc = mdb_dbi_open(txn, NULL, 0, &table);
    ensure(rc == 0 && mdb_cursor_open(txn, table, &cursor) == 0);
    while (mdb_cursor_get(cursor, &key, &value, count == 0 ? MDB_FIRST : MDB_NEXT) == 0) {
        ensure(count < TABLES_MAX && key.mv_size < sizeof names[0]);
        memcpy(names[count], key.mv_data, key.mv_size);
        names[count++][key.mv_size] = '\0';
    }
    mdb_cursor_close(cursor);
    for (size_t i = 0; i < count; i++) {
        rc = mdb_dbi_open(txn, names[i], 0, &table);
        ensure(rc == 0);
        hash_add(&hash, span_of(names[i], strlen(names[i]) + 1));
        add_table(txn, table, &hash);
    }
    return hash_end(&hash);
}

static void note(const struct hash *state)
{
    ensure(states.count < STATES_MAX);
    states.items[++states.count] = *state;
    if (states.are_acknowledged)
        disk_record_mark(states.count);
}

void states_begin(const char *below)
{
    memset(&states, 0, sizeof states);
    ensure(realpath(below, states.below) != NULL);
}

void states_acknowledge(void)
{
    states.are_acknowledged = true;
    disk_record_mark(states.count);
}

size_t states_count(void)
{
    return states.count;
}

bool states_have(const struct hash *state, size_t from)
{
    for (size_t i = from < 1 ? 1 : from; i <= states.count; i++)
        if (hash_equal(state, &states.items[i]))
            return true;
    return false;
}

bool states_take_failed(const struct hash *state)
{
    if (!states.has_failed || !hash_equal(state, &states.failed))
        return false;
    states.has_failed = false;
    note(state);
    return true;
}

bool state_read(const char *dir, struct hash *state)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    bool is_open = mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, TABLES_MAX) == 0 &&
                   mdb_env_set_mapsize(env, (size_t)1 << 30) == 0 &&
                   mdb_env_open(env, dir, MDB_RDONLY | MDB_NOLOCK, 0) == 0 &&
                   mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0;
    if (is_open)
        *state = state_of(txn);
    if (txn != NULL)
        mdb_txn_abort(txn);
    mdb_env_close(env);
    return is_open;
}

/* --- the call --- */

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);

/* A writer's, of a store that is being lived with. */
static bool is_noted(MDB_txn *txn)
{
    const char *path;
    char whole[4096];
    unsigned flags;
    MDB_env *env = mdb_txn_env(txn);
    return states.below[0] != '\0' && mdb_env_get_flags(env, &flags) == 0 &&
           !(flags & MDB_RDONLY) && mdb_env_get_path(env, &path) == 0 &&
           realpath(path, whole) != NULL && strncmp(whole, states.below, strlen(states.below)) == 0;
}

int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    if (!is_noted(txn))
        return __real_mdb_txn_commit(txn);
    struct hash state = state_of(txn);
    int rc = __real_mdb_txn_commit(txn);
    states.has_failed = rc != 0;
    if (rc == 0)
        note(&state);
    else
        states.failed = state;
    return rc;
}
