#ifndef SOLO_TESTS_FAULTS_CLIENTS_H
#define SOLO_TESTS_FAULTS_CLIENTS_H

#include <pthread.h>
#include <stdbool.h>

#include "tests/faults/ledger.h"
#include "tests/faults/random.h"
#include "tests/support/testbed.h"

/* Threads that use Solo as its clients do: they deploy, redeploy, kill and append, each request
 * with an id, repeat what was not answered with the same id, and now and then what was answered. A
 * client stops only between two requests, so that at a stop every outcome is known. */
enum { CLIENTS = 8, SERVICES_PER_CLIENT = 5, SHARED_SERVICES = 3, CLIENT_TENANTS = 4 };

struct clients;

/* What a client believes of a service that is its own. */
struct belief {
    char key[SERVICE_KEY_BYTES];
    char token[32]; /* of the newest deploy */
    bool is_wanted;
};

struct client {
    struct clients *clients;
    unsigned number;
    struct random random;
    struct caller eventd, deployd;
    struct belief beliefs[SERVICES_PER_CLIENT];
    uint64_t operations, retries, repeats, refusals;
    uint64_t longest_ms;
    pthread_t thread;
};

struct clients {
    const struct testbed *bed;
    struct ledger *ledger;
    struct client clients[CLIENTS];
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_paused, is_ending;
    unsigned resting; /* clients that wait between two requests */
};

void clients_start(struct clients *clients, const struct testbed *bed, struct ledger *ledger,
                   uint64_t seed);
/* Returns when every client has the answer to its last request and waits. */
void clients_pause(struct clients *clients);
void clients_resume(struct clients *clients);
void clients_end(struct clients *clients);

/* The watcher: a live tail of the whole log from the first event on, across every restart. */
struct watcher {
    const struct testbed *bed;
    pthread_t thread;
    pthread_mutex_t mutex;
    uint64_t seen; /* every number up to this one came once and in order */
    uint64_t reconnects;
    bool is_ending;
    char complaint[256]; /* what was missed or repeated; "" for nothing */
};
void watcher_start(struct watcher *watcher, const struct testbed *bed);
uint64_t watcher_seen(struct watcher *watcher, char complaint[256]);
void watcher_end(struct watcher *watcher);

#endif
