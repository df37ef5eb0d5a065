#ifndef SOLO_VAULTD_PASSPHRASE_H
#define SOLO_VAULTD_PASSPHRASE_H

#include <ev.h>
#include <pthread.h>

#include "common/secret/secret.h"
#include "vaultd/rows.h"

/* Argon2id takes most of a second, so it runs on a thread of its own while the loop goes on; one at
 * a time. The thread touches nothing but this struct. */
struct derivation {
    struct secret kek;   /* KEY_BYTES: the result */
    struct secret input; /* the passphrase */
    size_t input_size;
    struct master_row parameters;
    bool has_failed; /* no memory */

    struct ev_loop *loop;
    struct ev_async done;
    pthread_t thread;
    bool is_running;
    void (*on_done)(void *context);
    void *context;
};

void derivation_open(struct derivation *derivation, struct ev_loop *loop,
                     void (*on_done)(void *context), void *context);
/* Waits for a thread that runs. */
void derivation_close(struct derivation *derivation);

/* Copies the passphrase; on_done runs on the loop when kek is there, or has_failed is set. The
 * owner then calls derivation_forget. */
enum status derivation_start(struct derivation *derivation, struct span passphrase,
                             const struct master_row *parameters);
void derivation_forget(struct derivation *derivation);

/* Parameters for a new passphrase: a salt drawn now. */
struct master_row passphrase_parameters(uint64_t memory_bytes);

#endif
