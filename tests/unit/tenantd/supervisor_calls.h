#ifndef SOLO_TESTS_UNIT_TENANTD_SUPERVISOR_CALLS_H
#define SOLO_TESTS_UNIT_TENANTD_SUPERVISOR_CALLS_H

#include "tests/unit/tenantd/supervisor_bed.h"

/* What a bed's supervisor is asked to do with its services, as deployd asks it, and its rows. */

/* A row, kept beyond its reply. */
struct row {
    char limits[257], state[32], reason[REASON_BYTES_MAX + 1], instance[201];
    uint64_t generation, since, pid, restarts, start_ticks, due_ns;
    bool is_trial_over;
    size_t exits;
    char last_exit[REASON_BYTES_MAX + 1], last_output[EXIT_OUTPUT_BYTES_MAX + 1];
};

/* A spec as JSON: `{"argv": ...}` members after tenant and name. PROGRAMS/ in front of a program
 * means the test's own ones. */
enum status bed_start(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                      const char *cause, const char *members, struct row *row);

/* The deploy of a generation on trial, with an answer when it is ready. */
enum status bed_start_ready(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                            const char *members);

/* A start that nobody waits for. */
struct pending_start {
    bool is_answered;
    enum status status;
    struct problem problem;
};
void bed_begin_start(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                     const char *members, struct pending_start *pending);
/* The same on trial, answered when it is ready. */
void bed_begin_trial(struct bed *bed, const char *name, uint64_t generation, const char *members,
                     struct pending_start *pending);
void bed_await_start(struct bed *bed, struct pending_start *pending);

/* As a kill whose event has this number: everything older is meant. */
enum status bed_stop(struct bed *bed, const char *name, uint64_t event, const char *cause,
                     int64_t grace_ms, bool *was_killed);
enum status bed_stop_generation(struct bed *bed, const char *name, uint64_t generation,
                                uint64_t since);
enum status bed_restart(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                        struct row *row);
/* The same, asked for by an event. */
enum status bed_restart_for(struct bed *bed, const char *name, uint64_t generation, uint64_t since,
                            uint64_t cause_id, struct row *row);

/* false when it is not held. */
bool bed_row(struct bed *bed, const char *name, struct row *row);
/* Waits until it is in this state. */
void bed_await(struct bed *bed, const char *name, const char *state, struct row *row);

#endif
