/* vaultd's store, open: secrets that are put, read, deleted and destroyed, new data keys, and their
 * events, which wait for an eventd that is away. */
#include <ev.h>
#include <stdio.h>
#include <string.h>

#include "common/api/records/schemas.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "tests/faults/store_life.h"
#include "vaultd/rotation.h"
#include "vaultd/secrets.h"
#include "vaultd/vault.h"

enum { NAMES = 6, CHANGES_MAX = 5, VALUE_BYTES_MAX = 6000 };

const struct db_schema *const life_schema = &vault_schema;

static struct vault vault;
static struct rotation rotation;
static struct settings settings = { .vault_cipher = "xchacha20poly1305", .vault_unseal = "key" };
static struct ev_loop *loop;
static struct arena arena = { .limit = 1 << 20 };

static enum status unseal(void)
{
    static const struct master_row by_key = { .source = KEY_SOURCE_KEY };
    struct problem problem = { 0 };
    struct secret key = { 0 };
    TRY(secret_new(&key, KEY_BYTES)); /* zeros, each time */
    enum status status = vault_unseal(&vault, &key, &by_key, &problem);
    secret_free(&key);
    return status;
}

enum status life_open(const char *data_dir, const char *run_dir)
{
    char dir[4096], eventd[4096];
    TRY(path_join(dir, data_dir, "vault"));
    TRY(path_join(eventd, run_dir, "eventd.sock"));
    snprintf(settings.run_dir, sizeof settings.run_dir, "%s", run_dir);
    memory_lock_raise_limit();
    if (loop == NULL)
        loop = ev_loop_new(EVFLAG_NOENV);
    vault = (struct vault){ .store.db.lease = FILE_LOCK_NONE };
    TRY(locked_pool_open(&vault.pool, VAULT_LOCKED_BYTES));
    TRY(vault_open(&vault, &settings, dir));
    TRY(vault_store_open_outbox(&vault.store, loop, eventd, (struct span){ 0 }, NULL, NULL));
    TRY(unseal());
    rotation = (struct rotation){ 0 }; /* as in a new process */
    rotation_open(&rotation, &vault, loop);
    return STATUS_OK;
}

void life_close(void)
{
    rotation_close(&rotation);
    vault_close(&vault);
}

enum status life_close_cleanly(void)
{
    enum status status = vault_store_close_cleanly(&vault.store);
    life_close();
    return status;
}

static struct rpc_call call_of(const struct method *method)
{
    arena_reset(&arena);
    return (struct rpc_call){ .caller.kind = CALLER_OPERATOR,
                              .method = method,
                              .arena = &arena,
                              .has_request_id = true,
                              .request_id = uuid_draw() };
}

static enum status put(struct random *random, const char *tenant, const char *name)
{
    static uint8_t value[VALUE_BYTES_MAX];
    struct rpc_call call = call_of(&method_secret_put);
    struct secret_put_reply reply;
    memset(value, (int)random_below(random, 256), sizeof value);
    const struct secret_put_request request = {
        .tenant = tenant,
        .name = name,
        .value = span_of(value, 1 + random_below(random, sizeof value)),
    };
    return secrets_put(&vault, &call, &request, &reply);
}

static enum status change(struct random *random)
{
    char name[16];
    const char *tenant = random_below(random, 2) == 0 ? "acme" : "beta";
    snprintf(name, sizeof name, "secret-%d", (int)random_below(random, NAMES));
    switch (random_below(random, 8)) {
    case 0: {
        struct rpc_call call = call_of(&method_secret_delete);
        struct secret_delete_reply reply;
        const struct secret_delete_request request = { .tenant = tenant, .name = name };
        return secrets_delete(&vault, &call, &request, &reply);
    }
    case 1: {
        struct rpc_call call = call_of(&method_secret_destroy);
        struct secret_destroy_reply reply;
        const struct secret_destroy_request request = { .tenant = tenant, .name = name };
        return secrets_destroy(&vault, &call, &request, &reply);
    }
    case 2: {
        struct rpc_call call = call_of(&method_secret_read);
        struct secret_read_reply reply;
        const struct secret_read_request request = { .tenant = tenant, .name = name };
        return secrets_read(&vault, &call, &request, &reply);
    }
    case 3: {
        struct rpc_call call = call_of(&method_vault_rotate);
        struct vault_rotate_reply reply;
        const struct vault_rotate_request request = { .tenant = tenant };
        return rotation_begin(&rotation, &call, &request, &reply);
    }
    default:
        return put(random, tenant, name);
    }
}

enum status life_turn(struct random *random)
{
    bool is_more;
    if (random_below(random, 4) == 0)
        TRY(rotation_slice(&rotation, &is_more));
    TRY(vault_store_begin(&vault.store));
    /* A refusal has changed nothing; what the store refuses spoils the turn. */
    for (uint64_t i = 1 + random_below(random, CHANGES_MAX); i > 0; i--)
        (void)change(random);
    return vault_store_commit(&vault.store);
}
