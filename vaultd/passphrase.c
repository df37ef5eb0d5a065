/* One thread, started for one passphrase and joined by the loop when it says that it is done. */
#include "vaultd/passphrase.h"

#include <signal.h>
#include <string.h>

#include "common/base/ensure.h"
#include "common/base/log.h"

enum { OPERATIONS = crypto_pwhash_OPSLIMIT_MODERATE };

struct master_row passphrase_parameters(uint64_t memory_bytes)
{
    struct master_row row = {
        .source = KEY_SOURCE_PASSPHRASE,
        .operations = OPERATIONS,
        .memory_bytes = memory_bytes,
    };
    random_fill(row.salt, sizeof row.salt);
    return row;
}

static void *derive(void *context)
{
    struct derivation *derivation = context;
    const struct master_row *parameters = &derivation->parameters;
    derivation->has_failed =
        crypto_pwhash(secret_open(&derivation->kek), KEY_BYTES, secret_open(&derivation->input),
                      derivation->input_size, parameters->salt, parameters->operations,
                      (size_t)parameters->memory_bytes, crypto_pwhash_ALG_ARGON2ID13) != 0;
    secret_close(&derivation->kek);
    secret_close(&derivation->input);
    ev_async_send(derivation->loop, &derivation->done);
    return NULL;
}

static void join(struct derivation *derivation)
{
    if (!derivation->is_running)
        return;
    pthread_join(derivation->thread, NULL);
    derivation->is_running = false;
    secret_free(&derivation->input);
}

static void on_async(struct ev_loop *loop, struct ev_async *async, int events)
{
    (void)loop, (void)events;
    struct derivation *derivation = async->data;
    if (!derivation->is_running)
        return;
    join(derivation);
    derivation->on_done(derivation->context);
}

void derivation_open(struct derivation *derivation, struct ev_loop *loop,
                     void (*on_done)(void *context), void *context)
{
    *derivation = (struct derivation){ .loop = loop, .on_done = on_done, .context = context };
    ev_async_init(&derivation->done, on_async);
    derivation->done.data = derivation;
    ev_async_start(loop, &derivation->done);
    ev_unref(loop); /* it alone keeps no loop alive */
}

void derivation_forget(struct derivation *derivation)
{
    ensure(!derivation->is_running);
    secret_free(&derivation->kek);
    secret_free(&derivation->input);
}

void derivation_close(struct derivation *derivation)
{
    if (derivation->loop == NULL)
        return;
    join(derivation);
    derivation_forget(derivation);
    ev_ref(derivation->loop);
    ev_async_stop(derivation->loop, &derivation->done);
    derivation->loop = NULL;
}

/* Signals are the loop's. */
static int start_thread(struct derivation *derivation)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&derivation->thread, NULL, derive, derivation);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

enum status derivation_start(struct derivation *derivation, struct span passphrase,
                             const struct master_row *parameters)
{
    ensure(!derivation->is_running);
    ensure(passphrase.size > 0);
    derivation->parameters = *parameters;
    derivation->input_size = passphrase.size;
    TRY(secret_new(&derivation->kek, KEY_BYTES));
    enum status status = secret_new(&derivation->input, passphrase.size);
    if (status != STATUS_OK) {
        derivation_forget(derivation);
        return status;
    }
    memcpy(secret_open(&derivation->input), passphrase.data, passphrase.size);
    secret_close(&derivation->input);
    int error = start_thread(derivation);
    if (error != 0) {
        derivation_forget(derivation);
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "start the thread for a passphrase", "reason",
                           strerror(error));
    }
    derivation->is_running = true;
    return STATUS_OK;
}
