#ifndef SOLO_TESTS_UNIT_TENANTD_SUPERVISOR_BED_H
#define SOLO_TESTS_UNIT_TENANTD_SUPERVISOR_BED_H

#include <ev.h>
#include <limits.h>
#include <sys/types.h>

#include "common/api/api.h"
#include "common/rpc/client.h"
#include "tests/unit/tenantd/scratch.h"

/* The real tenantd for tenant "acme" in a scratch folder, and everything needed to talk to it. What
 * must work and does not fails the test. As root the services run as TEST_UID. */
enum { TEST_UID = 212345, REPORTS_SEEN_MAX = 4096, NAMES_SEEN_MAX = 64 };

struct seen_report {
    uint64_t number, generation, since, causation_id;
    char type[40], name[64];
};

/* A row, kept beyond its reply. */
struct row {
    char limits[257], state[32], reason[REASON_BYTES_MAX + 1], instance[201];
    uint64_t generation, since, pid, restarts, start_ticks, due_ns;
    bool is_trial_over;
    size_t exits;
    char last_exit[REASON_BYTES_MAX + 1], last_output[EXIT_OUTPUT_BYTES_MAX + 1];
};

struct bed {
    struct scratch scratch;
    const char *const *options; /* further arguments of tenantd, ended by NULL; may be NULL */
    pid_t pid;                  /* host pid of the supervisor */
    char isolation[64], stop_method[32];
    struct ev_loop *loop;
    struct ev_timer wake;
    struct rpc_client *client;
    struct arena arena;
    struct problem problem; /* of the last refusal */

    struct rpc_client *watch;
    bool is_watch_over;
    size_t states; /* notifications seen */
    struct seen_report reports[REPORTS_SEEN_MAX];
    size_t report_count;
};

void bed_open(struct bed *bed, const char *const *options);
void bed_close(struct bed *bed);

/* Starts tenantd and returns its exit code, 0 when it listens; then bed->pid is known. */
int bed_supervisor_start(struct bed *bed);
void bed_supervisor_kill(struct bed *bed); /* SIGKILL, and waits until it is gone */
void bed_connect(struct bed *bed);

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
enum status bed_call(struct bed *bed, const struct method *method, const void *request,
                     void *reply);

/* Whether the tenant's cgroup has one for it; where no cgroups can be had, `if_there_are_none`. */
bool bed_has_cgroup(const struct bed *bed, const char *service, bool if_there_are_none);
/* false when it is not held. */
bool bed_row(struct bed *bed, const char *name, struct row *row);
/* Waits until it is in this state. */
void bed_await(struct bed *bed, const char *name, const char *state, struct row *row);

void bed_watch(struct bed *bed);
void bed_unwatch(struct bed *bed);
size_t bed_reports_of(const struct bed *bed, const char *type, const char *name);
void bed_await_report(struct bed *bed, const char *type, const char *name, size_t count);
void bed_turn(struct bed *bed, int milliseconds); /* lets the watch receive */

/* Its log, without times; the caller frees it. */
char *bed_log(const struct bed *bed, const char *name);
/* Waits until its log contains a text. */
void bed_await_log(struct bed *bed, const char *name, const char *text);

bool is_alive(uint64_t pid);
bool is_gone_soon(uint64_t pid);
/* How many processes on this machine carry the mark of this bed. */
size_t bed_marked(const struct bed *bed);

#endif
