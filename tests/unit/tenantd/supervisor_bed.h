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
/* A guard: for an answer, and for what is waited for. */
enum { BED_WAIT_MS = 60000 };

struct seen_report {
    uint64_t number, generation, since, causation_id;
    char type[40], name[64];
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

enum status bed_call(struct bed *bed, const struct method *method, const void *request,
                     void *reply);

/* Whether the tenant's cgroup has one for it; where no cgroups can be had, `if_there_are_none`. */
bool bed_has_cgroup(const struct bed *bed, const char *service, bool if_there_are_none);
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
