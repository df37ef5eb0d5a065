#ifndef SOLO_TESTS_UNIT_RECOVERYD_LOG_MAKER_H
#define SOLO_TESTS_UNIT_RECOVERYD_LOG_MAKER_H

#include "common/api/records/event_log.h"
#include "common/daemon/settings.h"

/* A scratch DATA and RUN, and an event store written as eventd writes it: numbers, chain, heads,
 * live. */
struct log_maker {
    char folder[64];
    struct settings settings;
    struct db db;
    struct hash previous;
    uint64_t last;
};

void log_maker_open(struct log_maker *maker);
/* Gives the lease back, so that others may read without a trace. */
void log_maker_finish(struct log_maker *maker);
void log_maker_close(struct log_maker *maker);

/* Appends and folds; returns the event's number. `payload` is JSON. */
uint64_t log_append(struct log_maker *maker, const char *type, const char *tenant, const char *name,
                    const char *payload);
/* service_deployed with a spec of this argv[0]. */
uint64_t log_deploy(struct log_maker *maker, const char *tenant, const char *name,
                    const char *program);

/* Writes a live row as it is, or takes it away (NULL). */
void log_put_live(struct log_maker *maker, const char *tenant, const char *name,
                  const struct live_row *row);

/* Changes the stored bytes of a live row behind the back of its seal, as damage would. */
void log_damage_live(struct log_maker *maker, const char *tenant, const char *name);

#endif
