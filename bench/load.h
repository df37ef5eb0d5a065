#ifndef SOLO_BENCH_LOAD_H
#define SOLO_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buffer.h"

/* Many clients of one server in one process: each connection has `outstanding` requests on the way
 * and sends the next when an answer arrives. The same code drives Solo and Redis; only the bytes
 * differ. */
struct load_protocol {
    const char *name;
    /* Appends one request. `number` counts up over all connections. */
    void (*pack)(struct buffer *out, uint64_t number);
    /* Size of the whole answer at the front of `in`, 0 when it is not complete; ends the program
     * when it is a refusal. */
    size_t (*take)(struct span in);
};

struct load {
    const struct load_protocol *protocol;
    const char *path; /* of the socket */
    unsigned connections;
    unsigned outstanding;
    double seconds;
};

/* Answers per second; *answers gets their number. */
double load_run(const struct load *load, uint64_t *answers);

#endif
